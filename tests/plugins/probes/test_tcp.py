"""The tcp probe against real ports."""

from __future__ import annotations

import socket

import pytest
from playbook_plugins.probes.tcp import Options, TcpProbe

from .conftest import Targets


@pytest.mark.parametrize("via", ["controller", "node"])
def test_a_port_that_listens_and_one_that_does_not(target: Targets, via: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        good = TcpProbe(Options(port, via=via)).check(target())
    bad = TcpProbe(Options(port, via=via)).check(target())
    assert (good.ok, good.detail) == (True, f"127.0.0.1:{port} accepts connections")
    assert not bad.ok
    assert bad.detail.startswith(f"127.0.0.1:{port}: ")


def test_the_host_is_the_node_unless_another_is_named(target: Targets) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        there = target(host="127.0.0.9")
        assert not TcpProbe(Options(port)).check(there).ok
        assert TcpProbe(Options(port, host="127.0.0.1")).check(there).ok
        assert TcpProbe(Options(port, via="node")).check(there).ok


def test_where_to_ask_from_is_one_of_two() -> None:
    with pytest.raises(ValueError, match="expected controller or node"):
        Options(1, via="moon")
