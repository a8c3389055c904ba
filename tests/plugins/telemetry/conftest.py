from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog
from playbook_kernel.api import DriverRef, Edge, Node, NoOptions, Scenario, Service, Session, Trial, TrialContext
from playbook_plugins.transports.local import LocalTransport

OWNER = "pk-telemetry-test-1"


def eventually(check: Callable[[], object], what: str) -> None:
    """Wait until it is so; it must come within a minute."""
    until = time.monotonic() + 60
    while not check():
        assert time.monotonic() < until, f"never: {what}"
        time.sleep(0.02)


@pytest.fixture
def session() -> Iterator[Session]:
    with LocalTransport(NoOptions()).connect(Node("here", DriverRef("local")), owner=OWNER) as opened:
        yield opened


@pytest.fixture
def ctx(session: Session, tmp_path: Path) -> TrialContext:
    """A trial with one service on this machine."""
    node = session.node
    scenario = Scenario(
        "s", tmp_path, DriverRef("noop"), (Service("engine", (node.name,), tmp_path, (Edge("x"),)[:0]),)
    )
    folder = tmp_path / "trial"
    folder.mkdir()

    def nothing(*_: object) -> None:
        raise AssertionError("nothing is built here")

    return TrialContext(
        "run", Trial(OWNER, scenario), {node.name: node}, folder, lambda name: session, None, lambda e: None, nothing,
        structlog.get_logger(), {node.name: {"clock_offset": 0.0}},
    )  # fmt: skip


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[str]:
    """The address of a simulated engine."""
    log = tmp_path / "engine.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "playbook_sim_engine", "--host=127.0.0.1", "--port=0"], stdout=out, stderr=out
        )
    try:
        eventually(lambda: "listening on" in log.read_text(), "the engine listens")
        found = re.search(r"listening on ([\d.]+:\d+)", log.read_text())
        assert found is not None
        yield f"http://{found[1]}"
    finally:
        process.terminate()
        process.wait()
