"""NVIDIA's AIPerf as a benchmark."""

import json
from collections.abc import Sequence
from pathlib import Path

from packaging.version import Version
from playbook_bench_tool import ToolBenchmark, ToolOptions, collect
from playbook_kernel.api import Endpoint, Load, Measurement, Metric, frozen

_LATENCIES = {
    "ttft": "time_to_first_token",
    "ttft_content": "time_to_first_output_token",
    "tpot": "inter_token_latency",
    "itl": "inter_chunk_latency",
    "e2el": "request_latency",
}
_RATES = {
    "request_throughput": ("request_throughput", "req/s"),
    "request_goodput": ("goodput", "req/s"),
    "output_throughput": ("output_token_throughput", "tok/s"),
    "total_token_throughput": ("total_token_throughput", "tok/s"),
}
_STATISTICS = {"avg": "mean", "p50": "p50", "p90": "p90", "p95": "p95", "p99": "p99"}
DEFINITIONS = {
    "ttft": "ttft.first_token: first chunk with reasoning or content",
    "ttft_content": "ttft.first_content",
    "tpot": "tpot.per_request.excl_first: what it calls inter-token latency",
    "itl": "itl.gap.pooled: what it calls inter-chunk latency; its percentiles are approximate (t-digest)",
    "e2el": "e2el.request_end",
    "output_throughput": "throughput.output: tokens by usage; over the time from the first request to the last answer",
}


@frozen
class Options(ToolOptions):
    """``endpoint_type``: ``chat`` or ``completions``."""

    endpoint_type: str = "chat"


class AiperfBenchmark(ToolBenchmark[Options]):
    """Runs `aiperf profile` and keeps its throughput and the percentiles of TTFT, TPOT, ITL and E2EL."""

    tool, program, asks_version, versions = "aiperf", ("aiperf", "profile"), ("aiperf", "--version"), ">=0.9,<0.14"
    takes = frozenset({"concurrency", "rate", "requests", "duration"})

    def arguments(self, endpoint: Endpoint, load: Load, folder: str, version: Version) -> Sequence[object]:
        o = self.options
        told: list[object] = [
            "--url",
            endpoint.url,
            "--model",
            endpoint.model,
            "--endpoint-type",
            o.endpoint_type,
            "--streaming",
        ]
        told += ["--tokenizer", o.tokenizer] if o.tokenizer else []
        if not {"--input-file", "--public-dataset"} & set(o.args):
            told += ["--synthetic-input-tokens-mean", o.input_len, "--output-tokens-mean", o.output_len]
            told += ["--extra-inputs", "ignore_eos:true"]
        told += ["--concurrency", load.concurrency] if load.concurrency or not load.rate else []
        told += ["--request-rate", load.rate] if load.rate else []
        told += ["--benchmark-duration", load.duration] if load.duration else []
        told += (
            ["--request-count", load.requests or 10 * (load.concurrency or 10)]
            if load.requests or not load.duration
            else []
        )
        return [*told, "--use-server-token-count", "--ui-type", "none", "--artifact-dir", folder]

    def read(self, folder: Path) -> Measurement:
        report = json.loads((folder / "profile_export_aiperf.json").read_text(encoding="utf-8"))
        done = int((report.get("request_count") or {"avg": 0})["avg"])
        errors = sum(int(e["count"]) for e in report.get("error_summary") or ())
        found = {
            f"{ours}_{name}_ms": Metric(
                float(report[theirs][key]), report[theirs]["unit"], None if ours == "itl" else done
            )
            for ours, theirs in _LATENCIES.items()
            for key, name in _STATISTICS.items()
            if key in (report.get(theirs) or {})
        }
        if alien := {m.unit for m in found.values()} - {"ms"}:
            raise ValueError(f"a latency is in {', '.join(alien)}, not in ms")
        rates = {ours: ((report.get(theirs) or {}).get("avg"), unit) for ours, (theirs, unit) in _RATES.items()}
        if report.get("was_cancelled"):
            raise ValueError("it was cancelled")
        kept = {key: value["avg"] for key, value in report.items() if isinstance(value, dict) and "avg" in value}
        return collect(
            found, rates, done + errors, errors, DEFINITIONS, {"aiperf_version": report.get("aiperf_version"), **kept}
        )
