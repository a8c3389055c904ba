"""The lab keeps its promises: nodes are apart, power comes and goes, and nothing is left behind."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from .core import CGROUP, Lab, LabError, cannot

pytestmark = pytest.mark.skipif(bool(cannot()), reason=f"no lab: {cannot()}")


@pytest.fixture
def own() -> Iterator[Lab]:
    lab = Lab(f"own-{os.getpid()}")
    try:
        yield lab
    finally:
        lab.down()


def traces(lab: Lab) -> list[str]:
    """What of a lab is on this machine."""
    found = [str(p) for p in CGROUP.glob(f"*/{lab.cgroup}")]
    found += [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(lab.folder) in line]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if lab.cgroup in (process / "cgroup").read_text():
                found.append((process / "cmdline").read_text())
        except OSError:
            continue
    return found + ([str(lab.folder)] if lab.folder.exists() else [])


def test_nodes_are_apart_and_their_power_comes_and_goes(own: Lab) -> None:
    own.up(["v2", "bare"])
    assert traces(own)
    own.run("n1", ["touch", "/tmp/here", "/opt/here"])
    assert "here" not in own.run("n2", ["ls", "/tmp", "/opt"]).stdout
    assert own.run("n1", ["cat", "/proc/1/comm"]).stdout.strip() == "tini"
    assert own.run("n2", ["docker", "version"], check=False).returncode != 0, "a bare node has no Docker"
    assert "busybox" in own.run("n1", ["docker", "images"]).stdout
    own.poweroff("n1")
    assert own.pid("n1") is None
    assert own.pid("n2") is not None
    with pytest.raises(LabError, match="n1 is off"):
        own.run("n1", ["true"])
    own.poweron("n1")
    assert own.run("n1", ["ls", "/tmp"]).stdout == "", "what was in memory is gone"
    own.down()
    assert traces(own) == []
    own.down()


def test_a_killed_lab_is_swept_up(own: Lab) -> None:
    own.up(["bare"])
    os.kill(own.root, signal.SIGKILL)
    again = Lab.load(own.name)
    again.down()
    assert traces(own) == []


def test_unknown_flavours_are_told(own: Lab) -> None:
    with pytest.raises(LabError, match="unknown flavours: v3; there are v1, v2"):
        own.up(["v3"])
