"""SGLang's own load generator, `sglang.bench_serving`, as a benchmark."""

import json
from collections.abc import Sequence
from pathlib import Path

from packaging.version import Version
from playbook_bench_tool import ToolBenchmark, ToolOptions, collect, latencies
from playbook_kernel.api import Endpoint, Load, Measurement, frozen

_OURS = {"ttft": "ttft", "tpot": "tpot", "itl": "itl", "e2e_latency": "e2el"}
_RATES = {
    "request_throughput": ("request_throughput", "req/s"),
    "request_goodput": ("request_goodput", "req/s"),
    "output_throughput": ("output_throughput", "tok/s"),
    "total_token_throughput": ("total_throughput", "tok/s"),
}
_ASK = "import importlib.metadata as m; print(m.version('sglang'))"
DEFINITIONS = {
    "ttft": "ttft.first_text: first chunk with text; a connection is opened for each request, and counted",
    "tpot": "tpot.last_line: last line read, [DONE] included, minus ttft, over output tokens - 1",
    "itl": "itl.gap.pooled: between received chunks with text",
    "e2el": "e2el.last_line: to the last line read, [DONE] included",
    "output_throughput": "throughput.output: tokens that were asked for, unless the chunks tell usage; over the whole run",
}


@frozen
class Options(ToolOptions):
    """``backend``: ``sglang-oai`` (completions), ``sglang-oai-chat``, ``vllm``, or any other of its ``--backend``."""

    backend: str = "sglang-oai"


class SglangBenchmark(ToolBenchmark[Options]):
    """Runs `python3 -m sglang.bench_serving` and keeps its throughput and the percentiles of TTFT, TPOT, ITL and E2EL."""

    tool, versions = "sglang", ">=0.5,<0.6"
    program, asks_version = ("python3", "-m", "sglang.bench_serving"), ("python3", "-c", _ASK)

    def arguments(self, endpoint: Endpoint, load: Load, folder: str, version: Version) -> Sequence[object]:
        o = self.options
        told: list[object] = ["--backend", o.backend, "--base-url", endpoint.url, "--model", endpoint.model]
        told += ["--tokenizer", o.tokenizer] if o.tokenizer else []
        if "--dataset-name" not in o.args:  # `random` would fetch ShareGPT to cut its prompts from
            told += ["--dataset-name", "random-ids", "--random-range-ratio", 1]
            told += ["--random-input-len", o.input_len, "--random-output-len", o.output_len]
        told += ["--num-prompts", load.requests or 10 * (load.concurrency or 10), "--request-rate", load.rate or "inf"]
        told += ["--max-concurrency", load.concurrency] if load.concurrency else []
        # only the details tell which requests failed
        return [*told, "--output-details", "--output-file", f"{folder}/report.jsonl"]

    def read(self, folder: Path) -> Measurement:
        report = json.loads((folder / "report.jsonl").read_text(encoding="utf-8").splitlines()[-1])
        done, errors = report["completed"], sum(map(bool, report["errors"]))
        rates = {ours: (report.get(theirs), unit) for ours, (theirs, unit) in _RATES.items()}
        found = latencies(report, _OURS, done)
        return collect(found, rates, done + errors, errors, DEFINITIONS, report)
