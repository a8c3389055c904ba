"""The adapter of `vllm bench serve`, on reports that its versions 0.27.0 and 0.33.0 wrote."""

from __future__ import annotations

import json
import re
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from playbook_bench_tool.testing import check_tool, command_of, measure_simulator, told
from playbook_kernel.api import Load

import playbook_bench_vllm
from playbook_bench_vllm import DEFINITIONS, VllmBenchmark

REPORTS = Path(__file__).parent / "reports"


def report(name: str) -> dict[str, Path]:
    return {"report.json": REPORTS / f"{name}.json"}


def test_it_is_found_by_its_name() -> None:
    [point] = entry_points(group="playbook_kernel.benchmark", name="vllm")
    assert point.load() is VllmBenchmark


@pytest.mark.parametrize("version", ["0.33.0", "0.27.0"])
def test_a_real_report(version: str, tmp_path: Path) -> None:
    measured = check_tool(VllmBenchmark, tmp_path, version, report(version))
    said = json.loads((REPORTS / f"{version}.json").read_text())
    got = {name: metric.value for name, metric in measured.metrics.items()}
    assert got["ttft_p99_ms"] == said["p99_ttft_ms"]
    assert got["e2el_p50_ms"] == said["median_e2el_ms"]
    assert got["output_throughput"] == said["output_throughput"]
    assert {n.partition("_")[0] for n in got if n.endswith("_p99_ms")} == {"ttft", "tpot", "itl", "e2el"}
    assert "request_goodput" not in got, "without --goodput it is null"
    assert (measured.requests, measured.errors, measured.method) == (20, 0, f"vllm {version}")
    assert measured.metrics["ttft_p99_ms"].samples == 20
    assert measured.metrics["itl_p99_ms"].samples is None, "so many gaps, not requests"
    assert measured.raw["definitions"] == DEFINITIONS


def test_failed_requests_are_counted(tmp_path: Path) -> None:
    measured = check_tool(VllmBenchmark, tmp_path, "0.33.0", report("0.33.0-failures"))
    assert (measured.requests, measured.errors) == (20, 3)
    assert measured.metrics["ttft_mean_ms"].samples == 17


def test_what_it_is_told(tmp_path: Path) -> None:
    words = told(
        VllmBenchmark, tmp_path, "0.33.0", Load(concurrency=8, requests=200), tokenizer="/models/t", input_len=1024
    )
    assert " ".join(words) == (
        "vllm bench serve --backend openai --base-url http://10.0.0.1:8000 --endpoint /v1/completions --model sim-model "
        "--tokenizer /models/t --dataset-name random --ignore-eos --random-input-len 1024 --random-output-len 128 "
        "--num-prompts 200 --request-rate inf --max-concurrency 8 --percentile-metrics ttft,tpot,itl,e2el "
        "--metric-percentiles 50,90,95,99 --save-result --result-dir FOLDER --result-filename report.json"
    )


def test_chat_a_rate_and_other_data(tmp_path: Path) -> None:
    data = ["--dataset-name", "sharegpt", "--dataset-path", "/data/s.json"]
    words = told(VllmBenchmark, tmp_path, "0.33.0", Load(rate=2.5), backend="openai-chat", args=data)
    line = " ".join(words)
    assert "--backend openai-chat" in line
    assert "--endpoint /v1/chat/completions" in line
    assert "--num-prompts 100 --request-rate 2.5 --percentile" in line
    assert "random" not in line
    assert words[-4:] == data


def test_the_adapter_is_short() -> None:
    """All of its module, but for the imports, the docstrings and the words of DEFINITIONS."""
    source = Path(playbook_bench_vllm.__file__).read_text()
    source = re.sub(
        r'"""[^"]*"""|^DEFINITIONS = {.*?^}|^(?:import|from) .*?$', "", source, flags=re.DOTALL | re.MULTILINE
    )
    code = [line for line in source.splitlines() if line.strip() and not line.strip().startswith("#")]
    assert 20 <= len(code) <= 25, len(code)


def test_the_real_tool(tmp_path: Path) -> None:
    if not command_of(VllmBenchmark):
        pytest.skip("vLLM is not installed: PLAYBOOK_TOOL_VLLM names its `vllm bench serve`")
    measured = measure_simulator(VllmBenchmark, tmp_path, HF_HUB_OFFLINE="1")
    assert (measured.requests, measured.errors) == (20, 0)
    assert 30 < measured.metrics["ttft_mean_ms"].value < measured.metrics["e2el_mean_ms"].value
