"""A whole campaign whose scenario has a test_config.json and no script."""

from __future__ import annotations

import json
import socket

import pytest

from tests.e2e.helpers import copy, marked_processes, playbook


@pytest.fixture
def project(tmp_path):
    copy("config", tmp_path / "config")
    copy("scenarios/001_unified_smoke", tmp_path / "scenarios/001_unified_smoke")
    scenario = tmp_path / "scenarios/001_unified_smoke"
    (scenario / "run_test.sh").unlink()
    metadata = (scenario / "metadata.yaml").read_text()
    (scenario / "metadata.yaml").write_text(metadata.partition("test_execution:")[0])
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    for name in ("metadata.yaml", "docker-compose.yml", "test_config.json"):
        (scenario / name).write_text((scenario / name).read_text().replace("18000", port))
    return tmp_path


@pytest.mark.parametrize("node", ["", "test_execution: {node: local, timeout: 120}\n"])
def test_a_test_config_is_enough(project, node):
    scenario = project / "scenarios/001_unified_smoke"
    with (scenario / "metadata.yaml").open("a") as file:
        file.write(node)
    done = playbook("run", "--all", "--json", cwd=project)
    assert done.returncode == 0, done.stdout + done.stderr
    answer = json.loads(done.stdout)
    (trial,) = answer["result"]["scenarios"][0]["trials"]
    measured = trial["measurement"]
    assert (measured["requests"], measured["errors"]) == (40, 0)
    assert measured["metrics"]["ttft_p50_ms"]["value"] >= 20  # the engine's own prefill takes as long
    assert measured["raw"]["points"][0]["concurrency"] == 8
    assert trial["clean"]
    assert marked_processes(project / answer["run"]) == []


def test_a_wrong_test_config_is_found_before_anything_starts(project):
    config = project / "scenarios/001_unified_smoke/test_config.json"
    config.write_text('{"base_url": "http://localhost:18000", "model": "m", "max_concurency": 8}')
    done = playbook("run", "--all", cwd=project)
    assert done.returncode == 2
    assert "max_concurency: unknown; did you mean max_concurrency?" in done.stderr + done.stdout
    assert not (project / "results").exists()
