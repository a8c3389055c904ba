"""GuideLLM as a benchmark."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from packaging.version import Version
from playbook_bench_tool import ToolBenchmark, ToolOptions, collect
from playbook_kernel.api import Endpoint, Load, Measurement, Metric, frozen

_LATENCIES = {
    "ttft": ("time_to_first_token_ms", 1.0),
    "ttft_content": ("time_to_first_output_token_ms", 1.0),
    "tpot": ("inter_token_latency_ms", 1.0),
    "tpot_incl_first": ("time_per_output_token_ms", 1.0),
    "e2el": ("request_latency", 1000.0),
}
_RATES = {
    "request_throughput": ("requests_per_second", "req/s"),
    "output_throughput": ("output_tokens_per_second", "tok/s"),
    "total_token_throughput": ("tokens_per_second", "tok/s"),
}
_PERCENTILES = ("p50", "p90", "p95", "p99")
DEFINITIONS = {
    "ttft": "ttft.first_token: of reasoning or content; by the wall clock, which a correction of the time moves",
    "ttft_content": "ttft.first_content, by the wall clock",
    "tpot": "tpot.per_request.excl_first: what it calls inter-token latency: one mean for each request, weighted by its tokens",
    "tpot_incl_first": "tpot.per_request.incl_first: what it calls time per output token, weighted by tokens",
    "e2el": "e2el.request_end, by the wall clock",
    "output_throughput": "throughput.output: mean of its distribution over the run without warm-up and cool-down",
}


@frozen
class Options(ToolOptions):
    """``profile``: of a load with a rate, ``constant`` or ``poisson``."""

    profile: str = "poisson"


class GuidellmBenchmark(ToolBenchmark[Options]):
    """Runs `guidellm run` (0.6: `guidellm benchmark run`) and keeps throughput and the percentiles of each request's times."""

    tool, program, asks_version, versions = "guidellm", ("guidellm",), ("guidellm", "--version"), ">=0.6,<0.9,!=0.7.*"
    takes = frozenset({"concurrency", "rate", "requests", "duration"})

    def arguments(self, endpoint: Endpoint, load: Load, folder: str, version: Version) -> Sequence[object]:
        requests = load.requests or (None if load.duration else 10 * (load.concurrency or 10))
        told = self._older if version < Version("0.7") else self._newer
        return [*told(endpoint, load, folder, requests), "--disable-console-interactive"]

    def _newer(self, endpoint: Endpoint, load: Load, folder: str, requests: int | None) -> list[object]:
        o = self.options
        told: list[object] = ["run", "--backend", f"kind=openai_http,target={endpoint.url},model={endpoint.model}"]
        way = f"kind={o.profile},rate={load.rate}" if load.rate else f"kind=concurrent,streams={load.concurrency or 1}"
        told += ["--profile", way]
        told += ["--constraint", f"kind=max_requests,count={requests}"] if requests else []
        told += ["--constraint", f"kind=max_duration,seconds={load.duration}"] if load.duration else []
        told += ["--tokenizer", f"kind=hf_auto,model={o.tokenizer}"] if o.tokenizer else []
        if "--data" not in o.args:
            told += ["--data", f"kind=synthetic_text,prompt_tokens={o.input_len},output_tokens={o.output_len}"]
        return [*told, "--output", f"kind=json,path={folder}/report.json"]

    def _older(self, endpoint: Endpoint, load: Load, folder: str, requests: int | None) -> list[object]:
        o = self.options
        told: list[object] = ["benchmark", "run", "--target", endpoint.url, "--model", endpoint.model]
        told += ["--rate-type", o.profile if load.rate else "concurrent", "--rate", load.rate or load.concurrency or 1]
        told += ["--max-requests", requests] if requests else []
        told += ["--max-seconds", load.duration] if load.duration else []
        told += ["--processor", o.tokenizer] if o.tokenizer else []
        if "--data" not in o.args:
            told += ["--data", f"prompt_tokens={o.input_len},output_tokens={o.output_len}"]
        return [*told, "--output-dir", folder, "--outputs", "report.json"]

    def read(self, folder: Path) -> Measurement:
        """The last of its benchmarks, if it made several; the others are in the file."""
        report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        last = report["benchmarks"][-1]
        metrics, totals = last["metrics"], last["metrics"]["request_totals"]
        found = {
            f"{ours}_{name}_ms": metric
            for ours, (theirs, scale) in _LATENCIES.items()
            for name, metric in _distribution(metrics.get(theirs), scale).items()
        }
        rates = {ours: (metrics[theirs]["successful"]["mean"], unit) for ours, (theirs, unit) in _RATES.items()}
        raw = {"guidellm_version": report["metadata"].get("guidellm_version"), "duration": last["duration"], **totals}
        ended = totals["successful"] + totals["errored"]
        return collect(found, rates, ended, totals["errored"], DEFINITIONS, raw)


def _distribution(metric: Mapping[str, Any] | None, scale: float) -> dict[str, Metric]:
    """The mean and percentiles of successful requests; nothing where it measured none."""
    said = (metric or {}).get("successful") or {}
    if not said.get("count"):
        return {}
    values = {"mean": said["mean"], **{p: said["percentiles"][p] for p in _PERCENTILES}}
    return {name: Metric(float(value) * scale, "ms", said["count"]) for name, value in values.items()}
