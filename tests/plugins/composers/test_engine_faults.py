"""What an engine and its containers can do to a deploy: each is told as what it is, with the node and the evidence."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from attrs import evolve
from playbook_kernel.api import HealthPolicy, NodeError, PlaybookError, RetryPolicy, ServiceFailed, within
from playbook_plugins.composers import compose, engine, v1
from playbook_plugins.composers.compose import engine_of
from playbook_plugins.deployment import deploy, discover, readiness

from tests.lab.core import Lab

from .helpers import NODE_OF
from .test_lifecycle import BOTH, IMAGE, SLEEP, Make, answering, clean, docker, make, up, when

__all__ = ["make"]  # the fixture

pytestmark = pytest.mark.lab
ONCE = RetryPolicy(other=0, delay=0)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deadlines that a test can wait for."""
    for name in ("LOOK_SECONDS", "BRIEF_SECONDS", "_LOOK_AGAIN_SECONDS"):
        monkeypatch.setattr(engine, name, 3.0)
    monkeypatch.setattr(engine, "ACT_SECONDS", 8.0)
    monkeypatch.setattr(v1, "LOOK_SECONDS", 3.0)


@contextmanager
def frozen(lab: Lab, node: str) -> Iterator[None]:
    """Its engine is there, and does nothing."""
    lab.run(node, ["sh", "-c", "kill -STOP $(cat /run/docker.pid)"])
    try:
        yield
    finally:
        lab.run(node, ["sh", "-c", "kill -CONT $(cat /run/docker.pid)"])


@pytest.mark.usefixtures("quick")
@BOTH
def test_a_frozen_engine_is_named_wherever_it_is_met(lab: Lab, make: Make, generation: str) -> None:
    """In discover, while Compose creates, when a container is started, and in cleanup: never the phase's own time."""
    one = make(generation, {"a": SLEEP}, retry=ONCE)
    [node] = one.ctx.nodes.values()
    session = one.ctx.session(node.name)
    said = rf"{node.name}: its engine did not answer .*within 3 s"
    with frozen(lab, node.name):
        with pytest.raises(NodeError, match=rf"{node.name}: its engine did not answer") as failed:
            discover(one.ctx, node, session)
        assert failed.value.error_class == "engine"
        with pytest.raises(NodeError, match=said) as failed:
            up(one)
        assert (failed.value.error_class, failed.value.node) == ("engine", node.name)
        assert [r.kind for r in clean(one) if r.node == node.name][:1] == ["unverified"]
    assert clean(one) == []


@pytest.mark.usefixtures("quick")
def test_an_engine_that_freezes_under_a_start_is_tried_again(lab: Lab, make: Make) -> None:
    one = make("v2", {"a": {**SLEEP}, "b": {**SLEEP, "depends_on": ["a"]}}, retry=RetryPolicy(other=9, delay=0))
    thawed: list[Any] = []

    def freeze() -> None:
        with frozen(lab, "n2"), within(60):
            while not any(getattr(e, "status", "") == "retrying" for e in list(one.events)):
                one.ctx.session("n2").run(["true"])
            thawed.append(True)

    freezer = when(one, "b", "starting", freeze)
    deployment = deploy(one.ctx, one.ctx.trial.scenario)
    freezer.join()
    assert {i.status for i in deployment.instances} == {"ready"}
    details = [e.detail for e in one.events if getattr(e, "status", "") == "retrying"]
    assert thawed
    assert all(re.match(r"n2: its engine did not answer", d) for d in details), details


@BOTH
def test_an_engine_that_is_dead_is_told_so_and_cleaned_up_when_it_is_back(
    lab: Lab, make: Make, generation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compose, "_PAUSE", 0.1)
    node = NODE_OF[generation]
    one = make(generation, {"a": SLEEP}, retry=ONCE)
    lab.svc(node, "dockerd", "kill")
    try:
        with pytest.raises(PlaybookError, match=node) as failed:
            up(one)
        assert failed.value.error_class == "engine", str(failed.value)
        assert "dockerd" in (failed.value.hint or "")
    finally:
        lab.svc(node, "dockerd", "start")
        lab.run(node, ["sh", "-c", "while ! docker ps >/dev/null 2>&1; do sleep 0.2; done"])
    assert clean(one) == []


def test_a_full_disk_is_the_nodes_fault(lab: Lab, make: Make) -> None:
    one = make("v2", {"a": SLEEP}, retry=ONCE)
    lab.run(
        "n2", ["sh", "-c", "dd if=/dev/zero of=/fill bs=1M 2>/dev/null; dd if=/dev/zero of=/fill2 bs=1 2>/dev/null; :"]
    )
    try:
        with pytest.raises(PlaybookError, match=r"n2.*(?i:no space left)") as failed:
            up(one)
        assert failed.value.error_class == "node"
    finally:
        lab.run("n2", ["rm", "-f", "/fill", "/fill2"])
    assert clean(one) == []


@BOTH
def test_one_that_ends_at_once_is_told_with_what_it_said(make: Make, generation: str) -> None:
    bad = {"image": IMAGE, "command": "sh -c 'echo loading; echo no such model: /m >&2; exit 3'"}
    one = make(generation, {"bad": bad, "good": SLEEP}, retry=ONCE)
    one.ctx.trial = evolve(one.ctx.trial, scenario=answering(one.ctx.trial.scenario, 18484, grace=60.0))
    with pytest.raises(ServiceFailed) as failed:
        up(one)
    assert failed.value.error_class == "start"
    message = str(failed.value)
    assert message.startswith("bad on n")
    for part in (
        "exited with 3",
        f"image {IMAGE}, docker-compose.yml:",
        "it said last: ",
        "loading",
        "no such model: /m",
    ):
        assert part in message, message


def test_one_that_takes_too_much_memory_is_told_so(make: Make) -> None:
    greedy = {"image": IMAGE, "command": "sh -c 'x=x; while :; do x=$$x$$x; done'", "mem_limit": "12m"}
    one = make("v2", {"greedy": greedy}, retry=ONCE)
    with pytest.raises(ServiceFailed, match=r"killed for want of memory: it exited with 137 \(SIGKILL\)") as failed:
        up(one)
    assert "mem_limit" in (failed.value.hint or "")


def test_a_crash_loop_is_not_waited_for(make: Make) -> None:
    looping = {"image": IMAGE, "command": "sh -c 'echo bad flag; exit 2'", "restart": "always"}
    one = make("v2", {"looping": looping}, retry=ONCE)
    one.ctx.trial = evolve(one.ctx.trial, scenario=answering(one.ctx.trial.scenario, 18480, grace=60.0))
    with pytest.raises(ServiceFailed, match=r"restarts again and again .*last with 2.*bad flag"):
        up(one)


def test_one_that_somebody_pauses_is_told_with_how_to_go_on(lab: Lab, make: Make) -> None:
    one = make("v2", {"a": SLEEP}, retry=ONCE)
    one.ctx.trial = evolve(one.ctx.trial, scenario=answering(one.ctx.trial.scenario, 18481, grace=60.0))

    def pause() -> None:
        while not docker(lab, "n2", "pause", "pk-life-a-1"):
            pass

    pauser = when(one, "a", "starting", pause)
    with pytest.raises(ServiceFailed, match="is paused") as failed:
        up(one)
    pauser.join()
    assert "docker unpause" in (failed.value.hint or "")


def test_one_that_ends_right_after_it_was_well_fails_the_measurement(lab: Lab, make: Make) -> None:
    port = 18482
    brief = {"image": IMAGE, "command": f"httpd -f -p {port}", "network_mode": "host"}
    one = make("v2", {"a": brief}, retry=ONCE)
    one.ctx.trial = evolve(one.ctx.trial, scenario=answering(one.ctx.trial.scenario, port))
    up(one)
    docker(lab, "n2", "kill", "pk-life-a-1")
    engine_of(one.ctx.session("n2")).close()  # nothing that was seen before counts any more
    with pytest.raises(ServiceFailed, match=r"a on n2: was gone when the benchmark ended: .*137"):
        readiness.still_there(one.ctx)


_USE_UP = "for i in $(seq 64); do docker network create x$i >/dev/null 2>&1 || break; done; docker network ls -q --filter name=^x"


def test_networks_that_are_used_up_are_the_nodes_fault(lab: Lab, make: Make) -> None:
    assert len(lab.run("n2", ["sh", "-c", _USE_UP]).stdout.split()) < 64
    try:
        with pytest.raises(ServiceFailed, match="address pool") as failed:
            up(make("v2", {"a": SLEEP}, retry=ONCE))
        assert failed.value.error_class == "node"
        assert "docker network prune" in (failed.value.hint or "")
    finally:
        lab.run("n2", ["sh", "-c", "docker network ls -q --filter name=^x | xargs docker network rm"])


def test_a_healthy_wait_of_a_slow_service_ends_with_its_last_words(make: Make) -> None:
    slow = {"image": IMAGE, "command": "sh -c 'echo loading shard 1 of 9; sleep 600'"}
    one = make("v2", {"a": slow}, retry=ONCE)
    scenario = answering(one.ctx.trial.scenario, 18483)
    service = evolve(scenario.services[0], health=HealthPolicy(grace=0, interval=0.2, retries=1))
    one.ctx.trial = evolve(one.ctx.trial, scenario=evolve(scenario, services=(service,)))
    with pytest.raises(ServiceFailed, match=r"not ready within .*loading shard 1 of 9") as failed:
        up(one)
    assert failed.value.error_class == "health"
