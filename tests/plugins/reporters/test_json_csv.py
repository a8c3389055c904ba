from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from attrs import evolve
from playbook_kernel.api import CampaignResult, Measurement, Metric, NoOptions, Secret, decode
from playbook_plugins.reporters.csv_ import CsvReporter
from playbook_plugins.reporters.json_ import JsonReporter
from playbook_plugins.stats.runs import load

from tests.plugins.reporters.samples import FORMULA, campaign, good, hostile


def rows(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def test_json_comes_back_as_the_same_result(tmp_path: Path):
    for result in (good(), hostile()):
        [path] = JsonReporter(NoOptions()).write(result, tmp_path)
        assert decode(json.loads(path.read_text()), CampaignResult) == result


def test_json_counts_and_names_its_version(tmp_path: Path):
    [path] = JsonReporter(NoOptions()).write(good(), tmp_path)
    data = json.loads(path.read_text())
    assert data["counts"] == {"completed": 2, "failed": 1, "skipped": 1, "cancelled": 0}
    assert data["schema"] == 1


def test_json_has_no_words_that_json_lacks(tmp_path: Path):
    result = good()
    odd = Measurement({"x": Metric(float("nan"), "1"), "y": Metric(float("inf"), "1")})
    trial = evolve(result.scenarios[0].trials[0], measurement=odd)
    result = evolve(result, scenarios=(evolve(result.scenarios[0], trials=(trial,)),))
    [path] = JsonReporter(NoOptions()).write(result, tmp_path)
    json.loads(path.read_text(), parse_constant=pytest.fail)


def test_secrets_are_in_neither(tmp_path: Path):
    secret = Secret("hunter2-elsewhere")
    result = evolve(good(), warnings=(f"said {secret.reveal()}",))
    broken = evolve(result.scenarios[3], reason=secret.reveal())
    result = evolve(result, scenarios=(broken,))
    for path in [*JsonReporter(NoOptions()).write(result, tmp_path), *CsvReporter(NoOptions()).write(result, tmp_path)]:
        assert "hunter2" not in path.read_text()


def test_csv_has_a_row_a_scenario_and_a_column_a_metric(tmp_path: Path):
    wide, long = CsvReporter(NoOptions()).write(good(), tmp_path)
    head, *body = rows(wide)
    found = [dict(zip(head, row, strict=True)) for row in body]
    assert [(f["scenario"], f["status"], f["attempts"], f["ttft_p99_ms"]) for f in found] == [
        ("001_pd", "completed", "1", "150.25"),
        ("002_retry", "completed", "2", "150.25"),
        ("003_bad", "failed", "1", ""),
        ("004_off", "skipped", "0", ""),
    ]
    assert found[2]["error"] == "it broke"
    both = good().scenarios[1].trials
    assert float(found[1]["seconds"]) == pytest.approx(sum(t.seconds for t in both)), "of all attempts"
    assert both[0].seconds > 0
    assert ["002_retry", "pk-1-2", "2", "ttft_p99_ms", "150.25", "ms", "40"] in rows(long)


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n=", " ="])
def test_no_cell_is_a_formula(tmp_path: Path, start: str):
    result = hostile()
    evil = evolve(
        result.scenarios[0], scenario=f"{start}1+1", reason=f"{start}cmd|'/c calc'!A1", status="failed", trials=()
    )
    metric = Measurement({f"{start}m": Metric(1.0, f"{start}u")})
    named = evolve(result.scenarios[0], trials=(evolve(result.scenarios[0].trials[0], measurement=metric),))
    for path in CsvReporter(NoOptions()).write(campaign(evil, named, result.scenarios[1]), tmp_path):
        for row in rows(path):
            for cell in row:
                lead = cell.lstrip(" \n")[:1]
                assert lead not in ("=", "+", "@", "\t", "\r") or cell.startswith("'"), cell
                assert lead != "-" or cell.startswith("'") or float(cell) < 0, cell
    assert any(f"'{FORMULA}" in cell for row in rows(tmp_path / "scenarios.csv") for cell in row)


def test_a_result_of_an_older_and_of_a_newer_version_can_be_read(tmp_path: Path):
    old = {
        "id": "20250101_000000_old", "started": "2025-01-01T00:00:00Z", "ended": "", "seconds": 1, "status": "completed",
        "scenarios": [{"scenario": "a", "status": "completed", "trials": [
            {"trial": "t", "scenario": "a", "status": "completed", "measurement": {"metrics": {"m": {"value": 1, "unit": "s"}}}}
        ]}],
    }  # fmt: skip
    (tmp_path / "summary.json").write_text(json.dumps(old))
    found = load(tmp_path)
    assert found.schema == 1
    assert found.scenarios[0].trials[0].measurement == Measurement({"m": Metric(1.0, "s")})

    (tmp_path / "summary.json").write_text(json.dumps({**old, "schema": 99, "weather": {"rain": True}}))
    assert load(tmp_path) == evolve(found, schema=99)
