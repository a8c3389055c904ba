"""vLLM's own load generator, `vllm bench serve`, as a benchmark."""

import json
from collections.abc import Sequence
from pathlib import Path

from packaging.version import Version
from playbook_bench_tool import ToolBenchmark, ToolOptions, collect, latencies
from playbook_kernel.api import Endpoint, Load, Measurement, frozen

_OURS = {name: name for name in ("ttft", "tpot", "itl", "e2el")}
_RATES = ("request_throughput", "request_goodput", "output_throughput", "total_token_throughput")
_DATA = ("--dataset-name", "random", "--ignore-eos")
DEFINITIONS = {
    "ttft": "ttft.first_choices: first chunk that has `choices`, even an empty one; from before the request is encoded",
    "tpot": "tpot.per_request.excl_first: last chunk with content minus ttft, over output tokens - 1",
    "itl": "itl.gap.pooled: between received events; several tokens in one are one sample",
    "e2el": "e2el.last_content: to the last chunk with content, not to the end of the answer",
    "output_throughput": "throughput.output: tokens by usage, else re-tokenized; over the time from the first task to the last",
}


@frozen
class Options(ToolOptions):
    """``backend``: ``openai`` (completions), ``openai-chat``, or any other of its ``--backend``."""

    backend: str = "openai"


class VllmBenchmark(ToolBenchmark[Options]):
    """Runs `vllm bench serve` and keeps its throughput and the percentiles of TTFT, TPOT, ITL and E2EL."""

    tool, program, asks_version, versions = "vllm", ("vllm", "bench", "serve"), ("vllm", "--version"), ">=0.10,<0.34"

    def arguments(self, endpoint: Endpoint, load: Load, folder: str, version: Version) -> Sequence[object]:
        o, path = self.options, "/v1/chat/completions" if "chat" in self.options.backend else "/v1/completions"
        told: list[object] = ["--backend", o.backend, "--base-url", endpoint.url, "--endpoint", path]
        told += ["--model", endpoint.model, *(["--tokenizer", o.tokenizer] if o.tokenizer else [])]
        if "--dataset-name" not in o.args:
            told += [*_DATA, "--random-input-len", o.input_len, "--random-output-len", o.output_len]
        told += ["--num-prompts", load.requests or 10 * (load.concurrency or 10), "--request-rate", load.rate or "inf"]
        told += ["--max-concurrency", load.concurrency] if load.concurrency else []
        told += ["--percentile-metrics", ",".join(_OURS), "--metric-percentiles", "50,90,95,99"]
        return [*told, "--save-result", "--result-dir", folder, "--result-filename", "report.json"]

    def read(self, folder: Path) -> Measurement:
        report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        rates = {n: (report.get(n), "req/s" if n.startswith("request") else "tok/s") for n in _RATES}
        done = report["completed"]
        asked = done + report["failed"] if "failed" in report else report["num_prompts"]
        return collect(latencies(report, _OURS, done), rates, asked, asked - done, DEFINITIONS, report)
