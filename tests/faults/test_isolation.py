"""Before and after a trial, on a real node: ours goes, foreign stays and is told, what was not seen is remembered."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playbook_kernel.api import DriverRef, Residue, Scenario, Service, Warned, within
from playbook_plugins import isolation

from tests.lab.core import Lab
from tests.plugins.composers.helpers import LabTrial, lab_node, opened, trial

from .nodes import background, end, listing, running, sh

pytestmark = pytest.mark.lab
ID, OTHER = "pk-0123abcd-iso-1", "pk-0123abcd-iso-11"
MAPS = (
    "import mmap, sys, time; f = open(sys.argv[1], 'w+b'); f.write(b'x' * 4096); f.flush(); "
    "m = mmap.mmap(f.fileno(), 4096); time.sleep(600)"
)
LISTENS = "import socket, sys, time; s = socket.create_server(('', int(sys.argv[1]))); time.sleep(600)"


@pytest.fixture
def one(lab: Lab, tmp_path: Path) -> Iterator[LabTrial]:
    """A trial on n2, which was looked at before anything was done."""
    scenario = Scenario("iso", tmp_path, DriverRef("noop"), (Service("s", ("n2",), tmp_path / "compose.yml"),))
    with opened(trial(scenario, [lab_node(lab, "n2")], tmp_path, ident=ID)) as made, within(120):
        yield made


def before(made: LabTrial) -> Any:
    return isolation.playbook_discover(made.ctx, made.ctx.nodes["n2"], made.ctx.session("n2"))


def after(made: LabTrial) -> list[Residue]:
    return list(isolation.playbook_cleanup(made.ctx, None))


def test_ours_goes_and_foreign_stays_and_is_told(lab: Lab, one: LabTrial) -> None:
    assert before(one) == {}
    for who, mark in ((ID, f"--label com.docker.compose.project={ID} --label playbook.trial={ID}"), ("foreign", "")):
        sh(lab, "n2", f"docker create --name c-{who} {mark} -v /data lab/busybox:1 sleep 9")
        for kind in ("network", "volume"):
            label = f"--label com.docker.compose.project={ID}" if mark else ""
            sh(lab, "n2", f"docker {kind} create {label} {kind[0]}-{who}")
    sh(lab, "n2", f"docker create --name c-other --label com.docker.compose.project={OTHER} lab/busybox:1 sleep 9")
    background(lab, "n2", ["sleep", "601"], owner=ID)
    background(lab, "n2", ["python3", "-c", MAPS, "/dev/shm/of-ours"], owner=ID)
    background(lab, "n2", ["sleep", "602"], owner=OTHER)
    background(lab, "n2", ["python3", "-c", LISTENS, "7123"])
    sh(lab, "n2", f"mkdir /tmp/playbook-{ID}; touch /tmp/playbook-{ID}/x /opt/inference/.playbook-{ID}-a.yml.json")
    sh(lab, "n2", f"echo user >/opt/inference/kept.playbook-{ID}; echo ours >/opt/inference/kept")
    sh(lab, "n2", "touch /tmp/foreign /dev/shm/foreign; mkdir /tmp/uploaded; touch /opt/inference/uploaded")
    sh(lab, "n2", "touch /opt/inference/.uploaded.0123456789ab.part")  # whoever received it was killed
    one.ctx.effects.intend("file", "n2", path="/tmp/uploaded", tree=True)
    one.ctx.effects.intend("file", "n2", path="/opt/inference/uploaded")
    while not (running(lab, "n2", "time.sleep(600) 7123") and sh(lab, "n2", "ls /dev/shm").count("of-ours")):
        pass
    try:
        assert isolation.playbook_collect(one.ctx, None) == ()
        left = after(one)
        there = listing(lab, "n2")
        assert all(r.foreign for r in left), left
        told = {(r.kind, r.name) for r in left}
        assert told == {
            ("container", "c-foreign"), ("container", "c-other"), ("network", "n-foreign"), ("volume", "v-foreign"),
            ("port", "7123"), ("files", "/tmp"), ("files", "/opt/inference"), ("shared memory", "/dev/shm"),
        } | {("volume", r.name) for r in left if r.kind == "volume"}, left  # fmt: skip
        assert "python3" in next(r.detail for r in left if r.kind == "port")
        assert there["containers"] == ["c-foreign", "c-other"]
        assert there["networks"] == ["n-foreign"]
        assert "v-foreign" in there["volumes"]
        assert [f for f in there["files"] if ID in f] == []
        assert {"/tmp/foreign", "/dev/shm/foreign"} <= set(there["files"])
        assert sh(lab, "n2", "cat /opt/inference/kept") == "user", "what a file replaced is put back"
        assert "/dev/shm/of-ours" not in there["files"]
        assert not running(lab, "n2", "sleep 601")
        assert running(lab, "n2", "sleep 602")
        assert running(lab, "n2", "7123")
        assert not one.ctx.effects.open()
    finally:
        sh(lab, "n2", "docker rm -fv c-foreign c-other; docker network rm n-foreign; :")
        sh(lab, "n2", "docker volume ls -q | xargs -r docker volume rm")
        sh(lab, "n2", "rm -rf /tmp/foreign /dev/shm/foreign /opt/inference/*")
        end(lab, "n2", "7123", "sleep 602")
    assert listing(lab, "n2") == {}


def test_what_is_left_of_other_trials_is_told_at_the_first_look(lab: Lab, one: LabTrial) -> None:
    background(lab, "n2", ["sleep", "603"], owner=OTHER)
    try:
        assert before(one) == {"left_behind": [OTHER]}
        [warned] = [e for e in one.events if isinstance(e, Warned)]
        assert OTHER in warned.message
        assert "cleanup --all-orphans" in warned.message
        assert after(one) == []
    finally:
        end(lab, "n2", "sleep 603")


def test_an_engine_that_does_not_answer_is_no_proof_of_anything(lab: Lab, one: LabTrial) -> None:
    before(one)
    sh(lab, "n2", f"docker create --name c-ours --label com.docker.compose.project={ID} lab/busybox:1 sleep 9")
    sh(lab, "n2", "kill -STOP $(cat /run/docker.pid)")
    try:
        [left] = after(one)
        assert (left.kind, left.name, left.foreign) == ("unverified", "docker", False)
        assert [e.kind for e in one.ctx.effects.open()] == ["isolation"], "the node is remembered"
    finally:
        sh(lab, "n2", "kill -CONT $(cat /run/docker.pid)")
    with opened(one.later()) as later, within(120):
        assert after(later) == []
        assert not later.ctx.effects.open()
    assert listing(lab, "n2") == {}


GPU = """#!/bin/sh
case "$*" in *compute-apps*) cat /run/gpu-apps 2>/dev/null;; *) echo "0, $(cat /run/gpu-used)";; esac
"""


@pytest.fixture
def gpu(lab: Lab) -> Iterator[None]:
    """A node's accelerator, whose memory in use is what a file says."""
    sh(
        lab,
        "n2",
        'printf %s "$1" >/usr/local/bin/nvidia-smi; chmod 755 /usr/local/bin/nvidia-smi; echo 100 >/run/gpu-used',
        GPU,
    )
    yield
    sh(lab, "n2", "rm -f /usr/local/bin/nvidia-smi /run/gpu-used /run/gpu-apps")


@pytest.mark.parametrize(
    ("at_the_end", "apps", "expected"),
    [
        ("echo 130 >/run/gpu-used", "", []),
        ("(sleep 1; echo 100 >/run/gpu-used) >/dev/null 2>&1 &", "", []),
        (":", "", [(False, "400 MiB more than before")]),
        (":", "77, python3", [(True, "400 MiB more than before, in use by 77, python3")]),
    ],
    ids=["back", "back a little later", "not back", "somebody else's"],
)
def test_memory_of_an_accelerator_must_come_back(
    lab: Lab, one: LabTrial, gpu: None, monkeypatch: pytest.MonkeyPatch, at_the_end: str, apps: str, expected: Any
) -> None:
    if expected:
        monkeypatch.setattr(isolation, "_MEMORY_SECONDS", 1)
    before(one)
    sh(lab, "n2", 'echo 500 >/run/gpu-used; printf %s "$1" >/run/gpu-apps', apps)
    sh(lab, "n2", at_the_end)
    left = after(one)
    assert [(r.foreign, r.detail) for r in left] == expected
    assert bool(one.ctx.effects.open()) == any(not foreign for foreign, _ in expected)
