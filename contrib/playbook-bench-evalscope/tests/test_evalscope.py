"""The adapter of `evalscope perf`, on reports that its versions 1.4.2 and 1.14.1 wrote."""

from __future__ import annotations

import json
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from playbook_bench_tool.testing import check_tool, command_of, measure_simulator, told
from playbook_kernel.api import Load

from playbook_bench_evalscope import DEFINITIONS, EvalscopeBenchmark

REPORTS = Path(__file__).parent / "reports"


def report(name: str) -> dict[str, Path]:
    """The newer one has a folder for each point."""
    folder = "sim-model/" if name == "1.4.2" else "sim-model/parallel_4_number_20/"
    return {folder + file: REPORTS / name / file for file in ("benchmark_summary.json", "benchmark_percentile.json")}


def test_it_is_found_by_its_name() -> None:
    [point] = entry_points(group="playbook_kernel.benchmark", name="evalscope")
    assert point.load() is EvalscopeBenchmark


@pytest.mark.parametrize(
    "version, unit, means",
    [
        ("1.14.1", "ms", {"ttft": "Avg TTFT (ms)", "e2el": "Avg Latency (s)"}),
        ("1.4.2", "s", {"ttft": "Average time to first token (s)", "e2el": "Average latency (s)"}),
    ],
)
def test_a_real_report(version: str, unit: str, means: dict[str, str], tmp_path: Path) -> None:
    measured = check_tool(EvalscopeBenchmark, tmp_path, version, report(version))
    said = json.loads((REPORTS / version / "benchmark_summary.json").read_text())
    rows = {r["Percentiles"]: r for r in json.loads((REPORTS / version / "benchmark_percentile.json").read_text())}
    got = {name: metric.value for name, metric in measured.metrics.items()}
    scale = {"s": 1000.0, "ms": 1.0}
    assert got["ttft_mean_ms"] == pytest.approx(said[means["ttft"]] * scale[unit])
    assert got["e2el_mean_ms"] == pytest.approx(said[means["e2el"]] * 1000)
    for name in ("TTFT", "TPOT", "ITL"):
        assert got[f"{name.lower()}_p99_ms"] == pytest.approx(rows["99%"][f"{name} ({unit})"] * scale[unit])
    assert {
        f"{m}_{p}_ms" for m in ("ttft", "tpot", "itl", "e2el") for p in ("mean", "p50", "p90", "p95", "p99")
    } <= set(got)
    assert got["request_throughput"] > 10
    assert got["output_throughput"] > 100
    assert (measured.requests, measured.errors, measured.method) == (20, 0, f"evalscope {version}")
    assert measured.raw["definitions"] == DEFINITIONS


def test_failed_requests_are_counted(tmp_path: Path) -> None:
    measured = check_tool(EvalscopeBenchmark, tmp_path, "1.14.1", report("1.14.1-failures"))
    assert (measured.requests, measured.errors) == (20, 2)
    assert measured.metrics["ttft_p99_ms"].samples == 18


def test_what_it_is_told(tmp_path: Path) -> None:
    words = told(EvalscopeBenchmark, tmp_path, "1.14.1", Load(concurrency=8, rate=4.0), tokenizer="/models/t")
    assert " ".join(words) == (
        "evalscope perf --url http://10.0.0.1:8000/v1/chat/completions --api openai --stream --model sim-model "
        "--tokenizer-path /models/t --dataset random --min-prompt-length 512 --max-prompt-length 512 --min-tokens 128 "
        '--max-tokens 128 --extra-args {"ignore_eos": true} --parallel 8 --number 80 --rate 4.0 --no-timestamp '
        "--outputs-dir FOLDER"
    )


def test_the_real_tool(tmp_path: Path) -> None:
    if not command_of(EvalscopeBenchmark):
        pytest.skip("EvalScope is not installed: PLAYBOOK_TOOL_EVALSCOPE names its `evalscope perf`")
    measured = measure_simulator(EvalscopeBenchmark, tmp_path, HF_HUB_OFFLINE="1")
    assert (measured.requests, measured.errors) == (20, 0)
    assert 30 < measured.metrics["ttft_mean_ms"].value < measured.metrics["e2el_mean_ms"].value
