"""The embedded default: the shipped scenarios on this machine, without Docker and without SSH."""

from __future__ import annotations

import json
import socket
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


DEADLY = """\
#!/bin/bash
python3 - <<'END'
import urllib.request as u
for n in range(5):
    try:
        body = b'{"model": "sim-model", "prompt": "a", "max_tokens": 1}'
        u.urlopen(u.Request("http://localhost:18000/v1/completions", body)).read()
    except OSError:
        pass
END
sleep 1
echo METRIC:throughput=1
"""


def test_an_engine_that_dies_while_it_is_measured_fails_its_scenario(project: Path) -> None:
    folder = project / "scenarios/001_unified_smoke"
    compose = folder / "docker-compose.yml"
    compose.write_text(compose.read_text().replace("SIM_ROLE:", 'SIM_FAULT_EXIT_AFTER_REQUESTS: "3"\n      SIM_ROLE:'))
    (folder / "run_test.sh").write_text(DEADLY)
    done = playbook("run", "001_unified_smoke", "--json", cwd=project)
    assert done.returncode == 1, done.stdout
    [scenario] = json.loads(done.stdout)["result"]["scenarios"]
    assert "engine on local: was gone when the benchmark ended" in scenario["reason"]


def test_a_port_that_somebody_else_holds_is_no_service(project: Path) -> None:
    with socket.create_server(("127.0.0.1", 18000)):
        done = playbook("run", "001_unified_smoke", "--json", cwd=project)
    assert done.returncode == 1
    [scenario] = json.loads(done.stdout)["result"]["scenarios"]
    assert "port 18000, which its check asks, is taken already" in scenario["reason"]
