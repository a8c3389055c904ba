"""The adapter of AIPerf, on reports that its versions 0.9.0 and 0.13.0 wrote (without the repetition of its options)."""

from __future__ import annotations

import json
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from playbook_bench_tool.testing import answering, check_tool, command_of, measure_simulator, told
from playbook_kernel.api import Deployment, Endpoint, Load, PhaseFailed
from playbook_kernel.testing import check_driver

from playbook_bench_aiperf import DEFINITIONS, AiperfBenchmark

REPORTS = Path(__file__).parent / "reports"


def report(name: str) -> dict[str, Path]:
    return {"profile_export_aiperf.json": REPORTS / f"{name}.json"}


def test_it_is_found_by_its_name() -> None:
    [point] = entry_points(group="playbook_kernel.benchmark", name="aiperf")
    assert point.load() is AiperfBenchmark


@pytest.mark.parametrize("version", ["0.13.0", "0.9.0"])
def test_a_real_report(version: str, tmp_path: Path) -> None:
    measured = check_tool(AiperfBenchmark, tmp_path, version, report(version))
    said = json.loads((REPORTS / f"{version}.json").read_text())
    got = {name: metric.value for name, metric in measured.metrics.items()}
    assert got["ttft_p99_ms"] == said["time_to_first_token"]["p99"]
    assert got["tpot_mean_ms"] == said["inter_token_latency"]["avg"], "its inter-token latency is one value a request"
    assert got["itl_p99_ms"] == said["inter_chunk_latency"]["p99"]
    assert got["e2el_mean_ms"] == said["request_latency"]["avg"]
    assert got["output_throughput"] == said["output_token_throughput"]["avg"]
    assert (measured.requests, measured.errors, measured.method) == (20, 0, f"aiperf {version}")
    assert measured.raw["definitions"] == DEFINITIONS


def test_failed_requests_are_counted(tmp_path: Path) -> None:
    measured = check_tool(AiperfBenchmark, tmp_path, "0.13.0", report("0.13.0-failures"))
    assert (measured.requests, measured.errors) == (20, 4)


@pytest.mark.parametrize(
    "change, words",
    [
        ({"was_cancelled": True}, "it was cancelled"),
        ({"time_to_first_token": {"unit": "sec", "avg": 1.0}}, "a latency is in sec, not in ms"),
        ({"request_count": None, "error_summary": []}, "it counted no request"),
    ],
)
def test_a_report_that_is_not_as_it_should_be(change: dict[str, object], words: str, tmp_path: Path) -> None:
    changed = tmp_path / "changed.json"
    changed.write_text(json.dumps({**json.loads((REPORTS / "0.13.0.json").read_text()), **change}))
    trial = answering(AiperfBenchmark, tmp_path / "t", "0.13.0", {"profile_export_aiperf.json": changed})
    target = Deployment(endpoints={"engine": Endpoint("http://10.0.0.1:8000", "m")})
    with pytest.raises(PhaseFailed, match=words):
        check_driver(AiperfBenchmark).run(trial.ctx, target, Load())


def test_what_it_is_told(tmp_path: Path) -> None:
    words = told(AiperfBenchmark, tmp_path, "0.13.0", Load(concurrency=8, requests=50), tokenizer="/models/t")
    assert " ".join(words) == (
        "aiperf profile --url http://10.0.0.1:8000 --model sim-model --endpoint-type chat --streaming --tokenizer /models/t "
        "--synthetic-input-tokens-mean 512 --output-tokens-mean 128 --extra-inputs ignore_eos:true --concurrency 8 "
        "--request-count 50 --use-server-token-count --ui-type none --artifact-dir FOLDER"
    )


def test_a_rate_and_a_time(tmp_path: Path) -> None:
    line = " ".join(told(AiperfBenchmark, tmp_path, "0.13.0", Load(rate=2.5, duration=30.0)))
    assert "--request-rate 2.5 --benchmark-duration 30.0 --use-server" in line
    assert "--concurrency" not in line


def test_the_real_tool(tmp_path: Path) -> None:
    if not command_of(AiperfBenchmark):
        pytest.skip("AIPerf is not installed: PLAYBOOK_TOOL_AIPERF names its `aiperf profile`")
    measured = measure_simulator(AiperfBenchmark, tmp_path)
    assert (measured.requests, measured.errors) == (20, 0)
    assert 30 < measured.metrics["ttft_mean_ms"].value < measured.metrics["e2el_mean_ms"].value
