"""The campaign's process killed in each phase, on real nodes: cleaned up and gone on with, by later processes."""

from __future__ import annotations

import fcntl
import json
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.core import Lab

from .nodes import background, end, listing, running, sh
from .runs import NODES, Campaign

pytestmark = pytest.mark.lab


@pytest.fixture
def one(lab: Lab, tmp_path: Path) -> Iterator[Campaign]:
    """A campaign on clean nodes, which are clean again afterwards."""
    made = Campaign.make(lab, tmp_path / "one")
    assert left(lab) == {}
    yield made
    assert left(lab) == {}


def left(lab: Lab) -> dict[str, dict[str, list[str]]]:
    return {node: found for node in NODES if (found := listing(lab, node))}


def killed(one: Campaign, moment: str) -> Path:
    """Run the campaign until it is killed; returns its run, of which no process lives any more."""
    done = one.call("run", "--all", at={f"001_victim {moment}": ["kill"]})
    assert done.returncode == -signal.SIGKILL, done.stderr
    with (one.run / "lock").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
    return one.run


@pytest.mark.parametrize("moment", ["ServiceChanged", "PhaseStarted benchmark", "PhaseStarted cleanup"])
def test_resumed_it_ends_as_if_nothing_had_happened(lab: Lab, one: Campaign, moment: str) -> None:
    run = killed(one, moment)
    if moment == "PhaseStarted benchmark":
        there = left(lab)
        assert all(there[node]["containers"] for node in NODES), "it was killed while something was there"
    done = one.call("run", "--resume", "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert Path(answer["run"]) == run
    assert [(s["scenario"], s["status"], len(s["trials"])) for s in answer["result"]["scenarios"]] == [
        ("001_victim", "completed", 1), ("002_next", "completed", 1),
    ]  # fmt: skip
    assert all(t["clean"] and t["measurement"] for s in answer["result"]["scenarios"] for t in s["trials"])
    assert (run / "interrupted").exists(), "what the interrupted trial had kept is kept"
    assert (run / "summary.json").exists()


@pytest.mark.parametrize("moment", ["PhaseStarted healthcheck", "PhaseEnded collect"])
def test_cleaned_up_from_another_folder_with_a_copy_of_the_run(
    lab: Lab, one: Campaign, tmp_path: Path, moment: str
) -> None:
    run = killed(one, moment)
    other = Campaign.make(lab, tmp_path / "other")
    (other.folder / "results").mkdir()
    shutil.move(run, other.folder / "results" / run.name)
    dry = other.call("cleanup", "--dry-run")
    assert "stack on n1" in dry.stdout
    done = other.call("cleanup")
    assert done.returncode == 0, done.stdout + done.stderr
    assert left(lab) == {}
    assert "there is nothing to clean up" in other.call("cleanup").stdout
    assert "planted-7f3a" not in (other.run / "journal.jsonl").read_text()


def test_orphans_are_found_by_their_labels_and_nothing_else_is_touched(lab: Lab, one: Campaign) -> None:
    shutil.rmtree(killed(one, "PhaseStarted benchmark"))  # nobody knows of it any more
    foreign = sh(lab, "n1", "docker run -d --name foreign lab/busybox:1 sleep 600")
    background(lab, "n1", ["sleep", "601"])
    sh(lab, "n1", "touch /tmp/foreign")
    try:
        dry = one.call("cleanup", "--all-orphans", "--dry-run")
        assert "-001-victim-1 on n1, n2" in dry.stdout
        assert len(left(lab)["n2"]["containers"]) == 1
        done = one.call("cleanup", "--all-orphans", "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        assert [r["result"]["clean"] for r in json.loads(done.stdout)] == [True]
        # files that the user named have no mark: only the lost journal knew of them
        assert left(lab)["n2"] == {"files": ["/opt/inference/.env", "/opt/inference/docker-compose.yml"]}
        assert sh(lab, "n1", "docker ps -q --no-trunc") == foreign
        assert running(lab, "n1", "sleep 601")
        assert "/tmp/foreign" in left(lab)["n1"]["files"]
    finally:
        sh(lab, "n1", "docker rm -f foreign; rm -f /tmp/foreign")
        end(lab, "n1", "sleep 601")
        for node in NODES:
            sh(lab, node, "rm -f /opt/inference/.env /opt/inference/docker-compose.yml")


def test_a_node_that_is_away_is_remembered_and_cleaned_up_when_it_is_back(lab: Lab, one: Campaign) -> None:
    killed(one, "PhaseStarted benchmark")
    lab.poweroff("n2")
    try:
        first = one.call("cleanup")
        assert first.returncode == 1
        assert "n2" in first.stdout
        assert listing(lab, "n1") == {}, "the other node is cleaned up all the same"
        remembered = one.call("cleanup", "--dry-run").stdout
        assert "on n2" in remembered
        assert "on n1" not in remembered
    finally:
        lab.poweron("n2")
    assert listing(lab, "n2")["containers"], "its engine remembers"
    second = one.call("cleanup")
    assert second.returncode == 0, second.stdout + second.stderr
