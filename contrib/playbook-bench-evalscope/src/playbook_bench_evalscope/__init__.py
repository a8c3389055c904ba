"""EvalScope's load generator, `evalscope perf`, as a benchmark."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from packaging.version import Version
from playbook_bench_tool import ToolBenchmark, ToolOptions, collect
from playbook_kernel.api import Endpoint, Load, Measurement, Metric

# Its keys were renamed with 1.5, and latencies went from seconds to milliseconds: the unit in the key is what counts.
_KEY = re.compile(r"(.*?) \((s|ms|req/s|tok/s)\)")
_MEANS = {
    "ttft": ("avg ttft", "average time to first token"),
    "tpot": ("avg tpot", "average time per output token"),
    "itl": ("avg itl", "average inter-token latency"),
    "e2el": ("avg latency", "average latency"),
}
_COLUMNS = {"ttft": "ttft", "tpot": "tpot", "itl": "itl", "latency": "e2el"}
_RATES = {
    "request_throughput": ("req throughput", "request throughput"),
    "output_throughput": ("output throughput", "output token throughput"),
    "total_token_throughput": ("total throughput", "total token throughput"),
}
_PERCENTILES = {"50%": "p50", "90%": "p90", "95%": "p95", "99%": "p99"}
DEFINITIONS = {
    "ttft": "ttft.first_token: first chunk, of content or reasoning",
    "tpot": "tpot.per_request.excl_first",
    "itl": "itl.gap.pooled; but its mean is the mean of the requests' means",
    "e2el": "e2el.answer_end",
    "output_throughput": "throughput.output: tokens by usage, else by its tokenizer; over the whole test",
}


class EvalscopeBenchmark(ToolBenchmark[ToolOptions]):
    """Runs `evalscope perf` and keeps its throughput and the percentiles of TTFT, TPOT, ITL and E2EL."""

    tool, program, asks_version = "evalscope", ("evalscope", "perf"), ("evalscope", "--version")
    versions = ">=1.4,<1.15"

    def arguments(self, endpoint: Endpoint, load: Load, folder: str, version: Version) -> Sequence[object]:
        o = self.options
        told: list[object] = ["--url", f"{endpoint.url}/v1/chat/completions", "--api", "openai", "--stream"]
        told += ["--model", endpoint.model, *(["--tokenizer-path", o.tokenizer] if o.tokenizer else [])]
        if "--dataset" not in o.args:
            told += ["--dataset", "random", "--min-prompt-length", o.input_len, "--max-prompt-length", o.input_len]
            told += ["--min-tokens", o.output_len, "--max-tokens", o.output_len, "--extra-args", '{"ignore_eos": true}']
        told += ["--parallel", load.concurrency or 10, "--number", load.requests or 10 * (load.concurrency or 10)]
        told += ["--rate", load.rate] if load.rate else []
        return [*told, "--no-timestamp", "--outputs-dir", folder]

    def read(self, folder: Path) -> Measurement:
        [path] = folder.rglob("benchmark_summary.json")
        summary = json.loads(path.read_text(encoding="utf-8"))
        rows = json.loads(path.with_name("benchmark_percentile.json").read_text(encoding="utf-8"))
        plain = {key.lower(): value for key, value in summary.items()}
        asked, errors = plain["total requests"], plain["failed requests"]
        said = _by_name(summary)
        found = {
            f"{ours}_mean_ms": _ms(said, names, None if ours == "itl" else asked - errors)
            for ours, names in _MEANS.items()
        }
        for row in rows:
            if statistic := _PERCENTILES.get(row["Percentiles"]):
                columns = _by_name(row)
                for column, ours in _COLUMNS.items():
                    found[f"{ours}_{statistic}_ms"] = _ms(columns, (column,), None if ours == "itl" else asked - errors)
        rates = {ours: next((said[n] for n in names if n in said), (None, "")) for ours, names in _RATES.items()}
        return collect({k: m for k, m in found.items() if m is not None}, rates, asked, errors, DEFINITIONS, summary)


def _by_name(row: Mapping[str, Any]) -> dict[str, tuple[Any, str]]:
    """Value and unit, by the name in lower case, of every key that has a unit."""
    matches = ((_KEY.fullmatch(key), value) for key, value in row.items())
    return {match[1].lower(): (value, match[2]) for match, value in matches if match}


def _ms(said: Mapping[str, tuple[Any, str]], names: Sequence[str], samples: int | None) -> Metric | None:
    value, unit = next((said[n] for n in names if n in said), (None, ""))
    return None if value is None else Metric(float(value) * {"s": 1000.0, "ms": 1.0}[unit], "ms", samples)
