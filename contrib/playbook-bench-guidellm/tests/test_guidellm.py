"""The adapter of GuideLLM, on reports that its versions 0.6.1 and 0.8.1 wrote (cut to what is read)."""

from __future__ import annotations

import json
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from playbook_bench_tool.testing import answering, check_tool, command_of, measure_simulator, told
from playbook_kernel.api import Load
from playbook_kernel.testing import check_driver

from playbook_bench_guidellm import DEFINITIONS, GuidellmBenchmark

REPORTS = Path(__file__).parent / "reports"


def report(name: str) -> dict[str, Path]:
    return {"report.json": REPORTS / f"{name}.json"}


def test_it_is_found_by_its_name() -> None:
    [point] = entry_points(group="playbook_kernel.benchmark", name="guidellm")
    assert point.load() is GuidellmBenchmark


@pytest.mark.parametrize("version", ["0.8.1", "0.6.1"])
def test_a_real_report(version: str, tmp_path: Path) -> None:
    measured = check_tool(GuidellmBenchmark, tmp_path, version, report(version))
    said = json.loads((REPORTS / f"{version}.json").read_text())["benchmarks"][0]["metrics"]
    got = {name: metric.value for name, metric in measured.metrics.items()}
    assert got["ttft_p99_ms"] == said["time_to_first_token_ms"]["successful"]["percentiles"]["p99"]
    assert got["tpot_mean_ms"] == said["inter_token_latency_ms"]["successful"]["mean"]
    assert got["tpot_incl_first_mean_ms"] == said["time_per_output_token_ms"]["successful"]["mean"]
    assert got["e2el_p50_ms"] == pytest.approx(1000 * said["request_latency"]["successful"]["median"])
    assert not [name for name in got if name.startswith("itl")], "it keeps no gaps between tokens"
    assert ("ttft_content_mean_ms" in got) == (version == "0.8.1")
    assert (measured.requests, measured.errors, measured.method) == (20, 0, f"guidellm {version}")
    assert measured.raw["definitions"] == DEFINITIONS


def test_failed_requests_are_counted(tmp_path: Path) -> None:
    measured = check_tool(GuidellmBenchmark, tmp_path, "0.8.1", report("0.8.1-failures"))
    assert (measured.requests, measured.errors) == (20, 5)
    assert measured.metrics["e2el_mean_ms"].samples == 15


def test_what_the_newer_one_is_told(tmp_path: Path) -> None:
    words = told(GuidellmBenchmark, tmp_path, "0.8.1", Load(concurrency=8, duration=30.0), tokenizer="/models/t")
    assert " ".join(words) == (
        "guidellm run --backend kind=openai_http,target=http://10.0.0.1:8000,model=sim-model "
        "--profile kind=concurrent,streams=8 --constraint kind=max_duration,seconds=30.0 "
        "--tokenizer kind=hf_auto,model=/models/t --data kind=synthetic_text,prompt_tokens=512,output_tokens=128 "
        "--output kind=json,path=FOLDER/report.json --disable-console-interactive"
    )


def test_what_the_older_one_is_told(tmp_path: Path) -> None:
    words = told(GuidellmBenchmark, tmp_path, "0.6.1", Load(rate=2.5, requests=50), tokenizer="/models/t")
    assert " ".join(words) == (
        "guidellm benchmark run --target http://10.0.0.1:8000 --model sim-model --rate-type poisson --rate 2.5 "
        "--max-requests 50 --processor /models/t --data prompt_tokens=512,output_tokens=128 --output-dir FOLDER "
        "--outputs report.json --disable-console-interactive"
    )


def test_a_version_between_them_is_not_known(tmp_path: Path) -> None:
    why = check_driver(GuidellmBenchmark).fit(answering(GuidellmBenchmark, tmp_path, "guidellm version: 0.7.4", {}).ctx)
    assert "guidellm 0.7.4 is on local, and what it writes is known of >=0.6,<0.9,!=0.7.*" in (why or "")


def test_the_real_tool(tmp_path: Path) -> None:
    if not command_of(GuidellmBenchmark):
        pytest.skip("GuideLLM is not installed: PLAYBOOK_TOOL_GUIDELLM names its `guidellm`")
    measured = measure_simulator(GuidellmBenchmark, tmp_path, HF_HUB_OFFLINE="1")
    assert (measured.requests, measured.errors) == (20, 0)
    assert 30 < measured.metrics["ttft_mean_ms"].value < measured.metrics["e2el_mean_ms"].value
