"""The main job on four real nodes: Compose V1 and V2, three scenarios in a row, one of which fails."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.lab.core import Lab

from .helpers import copy, playbook

pytestmark = pytest.mark.lab

PLANTED = "planted-token-1f2e3d"


@pytest.fixture
def campaign(lab: Lab, tmp_path: Path) -> Path:
    folder = copy("tests/e2e/campaign", tmp_path / "campaign")
    (folder / "config/nodes.yaml").write_text(lab.nodes_yaml())
    return folder


def left_on(lab: Lab, node: str) -> dict[str, str]:
    """What a trial could have left, looked at without the tool."""
    docker = {
        "containers": ["docker", "ps", "-aq"],
        "networks": ["docker", "network", "ls", "-q", "--filter", "type=custom"],
        "volumes": ["docker", "volume", "ls", "-q"],
        "files": ["find", "/opt/inference", "/tmp", "-mindepth", "1"],
    }
    found = {what: lab.run(node, argv).stdout.strip() for what, argv in docker.items()}
    marked = (
        'for d in /proc/[0-9]*; do tr "\\0" "\\n" <$d/environ 2>/dev/null '
        "| grep -q ^PLAYBOOK_OWNER=. && cat $d/cmdline; done; :"
    )
    found["processes"] = lab.run(node, ["sh", "-c", marked]).stdout.replace("\0", " ").strip()
    return {what: seen for what, seen in found.items() if seen}


def test_three_scenarios_over_v1_and_v2(lab: Lab, campaign: Path) -> None:
    foreign = lab.run(
        "n2", ["docker", "run", "-d", "--name", "foreign", "lab/busybox:1", "sleep", "600"]
    ).stdout.strip()
    try:
        done = playbook("run", "--all", "--json", cwd=campaign)
        assert done.returncode == 1, done.stderr
        answer = json.loads(done.stdout)
        by_name: dict[str, Any] = {s["scenario"]: s for s in answer["result"]["scenarios"]}
        assert {n: s["status"] for n, s in by_name.items()} == {
            "001_pd": "completed", "002_broken": "failed", "003_again": "completed",
        }  # fmt: skip

        pd = by_name["001_pd"]["trials"][-1]
        assert pd["deployment"]["composers"] == {"n1": "v1", "n2": "v2", "n3": "v2"}
        assert {(i["service"], i["node"], i["status"]) for i in pd["deployment"]["instances"]} == {
            ("prefill", "n1", "ready"), ("decode", "n2", "ready"), ("router", "n3", "ready"),
        }  # fmt: skip
        assert pd["measurement"]["requests"] == 20
        assert pd["measurement"]["errors"] == 0
        kept = {a["path"] for a in pd["artifacts"]}
        assert {"artifacts/results/summary.json", "logs/n1/prefill.log", "logs/n2/decode.log"} <= kept

        broken = by_name["002_broken"]
        assert "exited with 3" in broken["reason"]
        assert len(broken["trials"]) == 1
        log = Path(answer["run"]) / "002_broken/logs/n2/crashing.log"
        assert "no such model" in log.read_text()

        again = by_name["003_again"]["trials"][-1]
        assert {i["node"] for i in again["deployment"]["instances"]} == {"n1", "n2"}
        assert again["measurement"]["metrics"]["answer"]["value"] == 42
        text = (Path(answer["run"]) / "003_again/artifacts/out/answer.txt").read_text()
        assert text == "003_again on n4\n"

        assert all(t["clean"] for s in by_name.values() for t in s["trials"])
        assert lab.run("n2", ["docker", "ps", "-q", "--no-trunc"]).stdout.split() == [foreign], "what is not ours stays"
    finally:
        lab.run("n2", ["docker", "rm", "-f", "foreign"])
    for node in lab.nodes:
        leftover = left_on(lab, node)
        leftover.pop("files", None) if node == "n4" else None  # the script's own result stays on its node
        assert leftover == {}, node
    lab.run("n4", ["rm", "-rf", "/opt/inference/out"])
    for file in (*campaign.rglob("results/**/*"), *campaign.rglob("logs/**/*")):
        assert not file.is_file() or PLANTED not in file.read_text(errors="replace"), file


def test_a_replaced_file_comes_back(lab: Lab, campaign: Path) -> None:
    lab.run(
        "n1",
        [
            "sh",
            "-c",
            "echo mine >/opt/inference/docker-compose.yml; echo MINE=1 >/opt/inference/.env; chmod 640 /opt/inference/.env",
        ],
    )
    done = playbook("run", "003_again", cwd=campaign)
    assert done.returncode == 0, done.stderr
    assert lab.run("n1", ["cat", "/opt/inference/docker-compose.yml", "/opt/inference/.env"]).stdout == "mine\nMINE=1\n"
    assert lab.run("n1", ["stat", "-c", "%a", "/opt/inference/.env"]).stdout.strip() == "640"
    lab.run("n1", ["sh", "-c", "rm -f /opt/inference/docker-compose.yml /opt/inference/.env"])
    lab.run("n4", ["rm", "-rf", "/opt/inference/out"])
    assert left_on(lab, "n1") == {}


def test_a_node_that_is_off_is_named_before_anything_is_deployed(lab: Lab, campaign: Path) -> None:
    lab.poweroff("n2")
    try:
        done = playbook("run", "003_again", "--json", cwd=campaign)
    finally:
        lab.poweron("n2")
    assert done.returncode == 1
    [scenario] = json.loads(done.stdout)["result"]["scenarios"]
    assert scenario["reason"].startswith("node n2 cannot be used: connectivity: ")
    assert scenario["trials"] == []
    assert left_on(lab, "n1") == {}
