from pathlib import Path

import pytest
from openpyxl import load_workbook
from playbook_kernel.api import (
    CampaignResult,
    DriverRef,
    Measurement,
    Metric,
    NoOptions,
    Reporter,
    ScenarioResult,
    Secret,
    TrialResult,
)
from playbook_kernel.loading import Loader
from playbook_kernel.testing import check_driver, check_reporter

from playbook_report_xlsx import XlsxReporter
from playbook_report_xlsx.table import COLUMNS

OLDER = [
    "other_params", "gpu", "model", "gpu_num", "replicas", "batch", "mean_input_tokens", "mean_output_tokens", "num_prompts",
    "TTFT_P90", "TPOT_P90", "ITL_P90", "TTFT_P95", "TPOT_P95", "ITL_P95", "TTFT_P99", "TPOT_P99", "ITL_P99", "mean_TTFT",
    "mean_TPOT", "mean_ITL", "goodput_percentage", "request_rate", "prefill_throughput_per_gpu",
    "decode_throughput_per_gpu", "mean_prefill_throughput", "mean_decode_throughput", "mean_output_throughput",
    "output_throughput", "mean_E2EL", "request_throughput", "arch", "case_id", "completed", "question_label", "backend",
]  # fmt: skip


def campaign(*scenarios: ScenarioResult) -> CampaignResult:
    return CampaignResult(
        "run-1", "2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z", 3600.0, "completed", scenarios, "tool"
    )


def measured(name: str, measurement: Measurement, **more) -> ScenarioResult:
    return ScenarioResult(
        name, "completed", trials=(TrialResult("t-1", name, "completed", measurement=measurement),), **more
    )


def sheet(result: CampaignResult, into: Path, name: str):
    [path] = XlsxReporter(NoOptions()).write(result, into)
    return load_workbook(path)[name]


def table(result: CampaignResult, into: Path, name: str) -> list[dict]:
    head, *lines = sheet(result, into, name).iter_rows(values_only=True)
    return [dict(zip(head, line, strict=True)) for line in lines]


def test_it_shows_every_result_the_same_way_twice_and_no_secret(tmp_path: Path):
    check_reporter(check_driver(XlsxReporter), tmp_path)


def test_the_columns_of_the_earlier_workbook_stand_in_its_order():
    assert [c for c in COLUMNS if c not in ("scenario", "trial")] == OLDER


def test_metrics_find_their_columns_whatever_the_tool_calls_them(tmp_path: Path):
    metrics = {
        "ttft_p90_ms": Metric(101.234, "ms"), "TPOT_P99": Metric(9.5, "ms"), "e2el_mean": Metric(1.5, "s"),
        "output_tokens_per_s": Metric(700.0, "tok/s"), "throughput": Metric(20.0, "req/s"),
    }  # fmt: skip
    raw = {"model": "m", "gpu_num": 8, "goodput": {"TTFT_P90": 200, "TPOT_P99": 10}}
    [row] = table(campaign(measured("a", Measurement(metrics, 50, 2, raw=raw))), tmp_path, "Results")
    expected = {
        "scenario": "a", "TTFT_P90": 101.23, "TPOT_P99": 9.5, "mean_E2EL": 1500, "output_throughput": 700,
        "request_throughput": 20, "num_prompts": 50, "completed": 48, "model": "m", "gpu_num": 8, "TTFT_P99": None,
    }  # fmt: skip
    assert {k: row[k] for k in expected} == expected


def point(batch: int, ttft: float) -> dict:
    return {
        "concurrency": batch, "request_rate": "inf", "requests": 10, "succeeded": 10, "input_tokens": 1000,
        "output_tokens": 500, "rates": {"output_tokens_per_second": 10.0 * batch, "requests_per_second": 1.0},
        "metrics": {"ttft": {"mean": ttft, "p90": ttft * 2}},
        "goodput": {"attainment": 0.5, "slos": [{"metric": "TTFT_P90", "limit": 100.0}]},
    }  # fmt: skip


def test_the_largest_batch_within_its_limits_is_bold(tmp_path: Path):
    levels = Measurement({"x": Metric(1.0, "1")}, raw={"points": [point(8, 60.0), point(4, 40.0), point(2, 20.0)]})
    plain = Measurement({"ttft_p90_ms": Metric(1.0, "ms")})
    results = sheet(campaign(measured("a", levels), measured("b", plain)), tmp_path, "Results")
    head = [c.value for c in results[1]]
    assert [results.cell(n, head.index("batch") + 1).value for n in range(2, 6)] == [2, 4, 8, None]
    assert [results.cell(n, 1).font.bold for n in range(2, 6)] == [False, True, False, False]
    assert results.cell(1, 1).fill.fgColor.rgb.endswith("FFFF00")
    assert len({results.cell(n, 1).fill.fgColor.rgb for n in range(2, 6)}) == 2
    assert results.cell(2, head.index("mean_input_tokens") + 1).value == 100
    assert results.cell(2, head.index("goodput_percentage") + 1).value == 50


@pytest.mark.parametrize("evil", ['=HYPERLINK("http://x")', "+1", "-1+1", "@SUM(A1)", "\x00\x1b bell", "x" * 50_000])
def test_text_stays_text(tmp_path: Path, evil: str):
    result = campaign(ScenarioResult(evil, "failed", evil, evil))
    scenarios = sheet(result, tmp_path, "Scenarios")
    cell = scenarios.cell(2, 3)
    assert cell.data_type == "s"
    assert cell.value == evil.replace("\x00", "\ufffd").replace("\x1b", "\ufffd")[:32_000]


def test_no_secret_and_no_number_that_is_none(tmp_path: Path):
    secret = Secret("hunter2-xlsx")
    odd = Measurement({"x": Metric(float("nan"), "1")})
    result = campaign(measured("a", odd, reason=f"with {secret.reveal()}"), ScenarioResult("b", "skipped", "off"))
    assert table(result, tmp_path, "Scenarios")[0]["reason"] == "with ***"
    assert table(result, tmp_path, "Metrics")[0]["value"] == "nan"


def test_it_is_found_by_its_name():
    assert isinstance(Loader().build(Reporter, DriverRef("xlsx")), XlsxReporter)
