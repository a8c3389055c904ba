"""The docker probe: what it makes of each state."""

from __future__ import annotations

import pytest
from playbook_kernel.api import State
from playbook_plugins.probes.docker import DockerProbe, Options

from .conftest import Targets


@pytest.mark.parametrize(
    "state, health, ok, detail",
    [
        (State("engine", "running"), False, True, "running"),
        (State("engine", "running", health="starting"), False, True, "running (starting)"),
        (State("engine", "running", health="unhealthy"), False, False, "running (unhealthy)"),
        (State("engine", "running", health="healthy"), True, True, "running (healthy)"),
        (State("engine", "running", health="starting"), True, False, "running (starting)"),
        (State("engine", "running"), True, False, "running, but it has no health check of its own"),
        (State("engine", "created"), False, False, "created"),
        (State("engine", "absent"), False, False, "absent"),
        (State("engine", "exited", 1, detail="no such model"), False, False, "no such model"),
    ],
)
def test_a_state(target: Targets, state: State, health: bool, ok: bool, detail: str) -> None:
    seen = DockerProbe(Options(health=health)).check(target(state=state))
    assert (seen.ok, seen.detail) == (ok, detail)


@pytest.mark.parametrize("code, ok", [(0, True), (2, False)])
def test_one_that_runs_to_its_end(target: Targets, code: int, ok: bool) -> None:
    seen = DockerProbe(Options()).check(target(state=State("engine", "exited", code), one_shot=True))
    assert (seen.ok, seen.detail) == (ok, f"exited with {code}")
