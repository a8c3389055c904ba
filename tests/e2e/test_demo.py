"""The embedded default: the shipped scenarios on this machine, without Docker and without SSH."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .helpers import copy, marked_processes, playbook


@pytest.fixture
def project(tmp_path: Path) -> Path:
    copy("config", tmp_path / "config")
    copy("scenarios", tmp_path / "scenarios")
    return tmp_path


def test_the_shipped_scenarios_run_twice_and_leave_nothing(project: Path) -> None:
    for _ in range(2):
        done = playbook("run", "--all", cwd=project)
        assert done.returncode == 0, done.stdout + done.stderr
        report = project / done.stdout.splitlines()[-1]
        assert report.name == "report.md"
        assert "**3 of 3 scenarios completed**" in report.read_text()
        assert marked_processes(report.parent) == []
    runs = json.loads(playbook("results", "--json", cwd=project).stdout)
    assert [r["status"] for r in runs] == ["completed", "completed"]
    result = json.loads((report.parent / "summary.json").read_text())
    measured = result["scenarios"][1]["trials"][-1]["measurement"]
    assert measured["errors"] == 0
    assert measured["metrics"]["ttft_p50_ms"]["value"] > 0
    assert all(s["trials"][-1]["clean"] for s in result["scenarios"])


def test_a_failing_script_fails_its_scenario_and_no_other(project: Path) -> None:
    script = project / "scenarios/001_unified_smoke/run_test.sh"
    script.write_text("#!/bin/sh\necho going wrong\nexit 7\n")
    done = playbook("run", "--all", "--json", cwd=project)
    assert done.returncode == 1
    answer = json.loads(done.stdout)
    scenarios = answer["result"]["scenarios"]
    assert [s["status"] for s in scenarios] == ["failed", "completed", "completed"]
    assert "exited with 7" in scenarios[0]["reason"]
    assert scenarios[0]["trials"][-1]["clean"]
    kept = [a["path"] for a in scenarios[0]["trials"][-1]["artifacts"]]
    assert "logs/local/engine.log" in kept, "logs are kept after a failure too"
    assert marked_processes(project / answer["run"]) == []


def test_dry_run_touches_nothing(project: Path) -> None:
    done = playbook("run", "--dry-run", cwd=project)
    assert done.returncode == 0
    assert "critical path: prefill -> router" in done.stdout
    assert not (project / "results").exists()
    assert not (project / "logs").exists()
