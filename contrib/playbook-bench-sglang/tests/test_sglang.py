"""The adapter of `sglang.bench_serving`, on reports that its versions 0.5.15 and 0.5.23 wrote."""

from __future__ import annotations

import json
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from playbook_bench_tool.testing import check_tool, command_of, measure_simulator, told
from playbook_kernel.api import Load

from playbook_bench_sglang import DEFINITIONS, SglangBenchmark

REPORTS = Path(__file__).parent / "reports"


def report(name: str) -> dict[str, Path]:
    return {"report.jsonl": REPORTS / f"{name}.jsonl"}


def test_it_is_found_by_its_name() -> None:
    [point] = entry_points(group="playbook_kernel.benchmark", name="sglang")
    assert point.load() is SglangBenchmark


@pytest.mark.parametrize("version", ["0.5.23", "0.5.15"])
def test_a_real_report(version: str, tmp_path: Path) -> None:
    measured = check_tool(SglangBenchmark, tmp_path, version, report(version))
    said = json.loads((REPORTS / f"{version}.jsonl").read_text())
    got = {name: metric.value for name, metric in measured.metrics.items()}
    assert got["ttft_p99_ms"] == said["p99_ttft_ms"]
    assert got["e2el_p95_ms"] == said["p95_e2e_latency_ms"]
    assert got["total_token_throughput"] == said["total_throughput"]
    assert (measured.requests, measured.errors, measured.method) == (20, 0, f"sglang {version}")
    assert measured.raw["report"]["request_rate"] is None, "its Infinity is no JSON"
    assert measured.raw["definitions"] == DEFINITIONS


def test_failed_requests_are_counted(tmp_path: Path) -> None:
    measured = check_tool(SglangBenchmark, tmp_path, "0.5.23", report("0.5.23-failures"))
    assert (measured.requests, measured.errors) == (20, 4)


def test_the_last_of_several_lines_counts(tmp_path: Path) -> None:
    """It appends to its file."""
    both = tmp_path / "both.jsonl"
    both.write_text("".join((REPORTS / f"{name}.jsonl").read_text() for name in ("0.5.23-failures", "0.5.23")))
    measured = check_tool(SglangBenchmark, tmp_path, "0.5.23", {"report.jsonl": both})
    assert measured.errors == 0


def test_what_it_is_told(tmp_path: Path) -> None:
    words = told(SglangBenchmark, tmp_path, "0.5.23", Load(concurrency=8, rate=4.0), tokenizer="/models/t")
    assert " ".join(words) == (
        "python3 -m sglang.bench_serving --backend sglang-oai --base-url http://10.0.0.1:8000 --model sim-model "
        "--tokenizer /models/t --dataset-name random-ids --random-range-ratio 1 --random-input-len 512 "
        "--random-output-len 128 --num-prompts 80 --request-rate 4.0 --max-concurrency 8 "
        "--output-details --output-file FOLDER/report.jsonl"
    )


def test_the_real_tool(tmp_path: Path) -> None:
    if not command_of(SglangBenchmark):
        pytest.skip("SGLang is not installed: PLAYBOOK_TOOL_SGLANG names its `python3 -m sglang.bench_serving`")
    measured = measure_simulator(SglangBenchmark, tmp_path, HF_HUB_OFFLINE="1")
    assert (measured.requests, measured.errors) == (20, 0)
    assert 30 < measured.metrics["ttft_mean_ms"].value < measured.metrics["e2el_mean_ms"].value
