"""The ``lab`` fixture: four nodes for the tests that are marked ``lab``, up once, in whose network the tests then run."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from .core import Lab, cannot

_CLONE_NEWNET = 0x40000000
FLAVOURS = ("v1", "v2", "both", "none")


_networks: dict[str, int] = {}
"""Open namespaces: ``home``, where we were, and ``lab``, once there is one."""


def enter_network(pid: int) -> None:
    """Move this thread, and those that it starts, into the network of a process."""
    _networks.setdefault("home", os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC))
    _networks["lab"] = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    go("lab")


def go(where: str) -> None:
    """Be in the network of the lab, or at home again, if there is more than one."""
    if where in _networks and ctypes.CDLL(None, use_errno=True).setns(_networks[where], _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def remove_stale() -> None:
    """Take down the labs of test runs that were killed."""
    for folder in Path("/var/tmp/playbook-lab").glob("test-*"):
        pid = folder.name.removeprefix("test-")
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            Lab.load(folder.name).down()


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """Four nodes: n1 Compose V1, n2 V2, n3 both, n4 neither. Tests may stop what is on them, and must start it again."""
    why = cannot()
    if why and os.environ.get("CI") and os.geteuid() == 0:
        pytest.fail(f"CI must not skip the lab: {why}")
    if why:
        pytest.skip(f"no lab: {why}")
    remove_stale()
    made = Lab(f"test-{os.getpid()}")
    try:
        made.up(FLAVOURS)
        enter_network(made.root)
        yield made
    finally:
        made.down()
