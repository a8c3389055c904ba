"""Ready-first order, retries and what is said of it; the services are fakes that do what the test says."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from attrs import evolve
from playbook_kernel.api import (
    Cancel,
    Cancelled,
    CommandFailed,
    HealthPolicy,
    PhaseTimeout,
    PlaybookError,
    RetryPolicy,
    ServiceChanged,
    ServiceFailed,
    State,
    Timeouts,
    Unreachable,
    within,
)
from playbook_kernel.testing import FakeTrial
from playbook_plugins.deployment import deploy

from .world import World, service, statuses


def run(trial: FakeTrial, seconds: float = 30) -> object:
    with within(seconds):
        return deploy(trial.ctx, trial.ctx.trial.scenario)


def failing(service: str, error_class: str, times: int = 99) -> object:
    left = [times]

    def action() -> None:
        if left[0] > 0:
            left[0] -= 1
            raise ServiceFailed(service, "n1", "it broke", error_class=error_class)

    return action


@pytest.mark.parametrize(
    ("said", "tries", "error_class"),
    [
        ("usage: vllm [-h]\nvllm: error: unrecognized arguments: --tp 8\n", 1, "config"),
        ("Error: unknown flag: --modle\n", 1, "config"),
        ("serve: error: argument --role: invalid choice: 'prefil' (choose from 'prefill', 'decode')\n", 1, "config"),
        ("RuntimeError: CUDA out of memory\n", 3, "start"),
    ],
)
def test_a_command_line_that_is_refused_is_refused_the_next_time_too(
    tmp_path: Path, said: str, tries: int, error_class: str
) -> None:
    world = World()
    world.said["a"] = said
    world.on_start["a@n1"] = failing("a", "start")  # type: ignore[assignment]
    trial = world.trial(tmp_path, [service("a")], retry=RetryPolicy(other=2, delay=0))
    with pytest.raises(ServiceFailed) as caught:
        run(trial)
    assert (len(world.starts), caught.value.error_class) == (tries, error_class)


def test_a_service_starts_as_soon_as_its_own_needs_are_ready(tmp_path: Path) -> None:
    """``slow`` is ready only once ``late`` is; in batches ``late`` would wait for ``slow``."""
    world, done = World(), threading.Event()
    world.ready["slow@n1"] = done.is_set
    world.on_start["late@n1"] = done.set
    trial = world.trial(tmp_path, [service("late", ["quick"]), service("slow"), service("quick")])
    run(trial)
    assert world.starts.index("quick@n1") < world.starts.index("late@n1")
    order = [(e.service, e.status) for e in trial.of(ServiceChanged)]
    assert order.index(("late", "starting")) < order.index(("slow", "ready"))


def test_a_need_may_be_no_more_than_a_start(tmp_path: Path) -> None:
    world, done = World(), threading.Event()
    world.ready["engine@n1"] = done.is_set
    world.on_start["sidecar@n1"] = done.set
    run(world.trial(tmp_path, [service("engine"), service("sidecar", {"engine": "started"})]))
    assert world.starts == ["engine@n1", "sidecar@n1"]


def test_no_more_at_once_than_allowed_and_no_fewer(tmp_path: Path) -> None:
    world, pair = World(), threading.Barrier(2, timeout=20)
    names = [f"s{n}" for n in range(6)]
    for name in names:
        world.on_start[f"{name}@n1"] = lambda: pair.wait() and None
    run(world.trial(tmp_path, [service(n) for n in names], max_concurrent_services=2))
    assert world.most == 2


def test_the_longest_chain_goes_first_when_slots_are_short(tmp_path: Path) -> None:
    world = World()
    chain = [service("c", ["b"]), service("b", ["a"]), service("a")]
    run(world.trial(tmp_path, [service("alone"), *chain], max_concurrent_services=1))
    assert world.starts == ["a@n1", "b@n1", "alone@n1", "c@n1"]


def test_one_service_on_several_nodes(tmp_path: Path) -> None:
    world, done = World(), threading.Event()
    both = evolve(service("engine"), nodes=("n1", "n2"))
    world.ready["engine@n2"] = done.is_set
    router = service("router", ["engine"])
    other = service("other", {"engine": "started"})
    world.on_start["other@n1"] = done.set
    deployment = run(world.trial(tmp_path, [both, router, other], nodes=("n1", "n2")))
    assert set(world.starts[:2]) == {"engine@n1", "engine@n2"}
    assert world.starts[2:] == ["other@n1", "router@n1"], "all of its instances are waited for"
    found = {(i.service, i.node, i.status) for i in deployment.instances}  # type: ignore[attr-defined]
    assert {("engine", "n1", "ready"), ("engine", "n2", "ready")} < found
    endpoints = {name: e.url for name, e in deployment.endpoints.items()}  # type: ignore[attr-defined]
    assert endpoints["engine"] == "http://n1/engine"
    assert endpoints["engine@n2"] == "http://n2/engine"


@pytest.mark.parametrize(
    "error_class, tries",
    [("image", 3), ("network", 1), ("start", 2), ("health", 2), ("config", 1), ("cancelled", 1)],
)
def test_tries_by_error_class(tmp_path: Path, error_class: str, tries: int) -> None:
    world = World()
    world.on_start["bad@n1"] = failing("bad", error_class)  # type: ignore[assignment]
    retry = RetryPolicy(other=1, attempts={"image": 2, "network": 0, "config": 5}, delay=0)
    trial = world.trial(tmp_path, [service("bad"), service("good")], retry=retry)
    with pytest.raises(ServiceFailed) as failed:
        run(trial)
    assert failed.value.error_class == error_class
    assert world.starts.count("bad@n1") == tries
    assert world.resets == ["bad@n1"] * (tries - 1), "afresh before each further try"
    assert world.starts.count("good@n1") == 1
    assert statuses(trial, "bad") == [*["starting", "retrying"] * (tries - 1), "starting", "failed"]


def test_a_further_try_that_succeeds_counts(tmp_path: Path) -> None:
    world = World()
    world.on_start["a@n1"] = failing("a", "start", times=2)  # type: ignore[assignment]
    retry = RetryPolicy(other=2, delay=0)
    deployment = run(world.trial(tmp_path, [service("a"), service("b", ["a"])], retry=retry))
    attempts = {i.service: i.attempts for i in deployment.instances}  # type: ignore[attr-defined]
    assert attempts == {"a": 3, "b": 1}


@pytest.mark.parametrize(
    "error, kind, error_class",
    [
        (CommandFailed("n1", ["docker"], 1, "no"), ServiceFailed, "start"),
        (PlaybookError("odd"), ServiceFailed, "internal"),
        (Unreachable("n1", "gone"), Unreachable, "network"),
    ],
)
def test_whatever_goes_wrong_is_blamed(
    tmp_path: Path, error: PlaybookError, kind: type[PlaybookError], error_class: str
) -> None:
    world = World()

    def action() -> None:
        raise error

    world.on_start["a@n1"] = action
    with pytest.raises(kind) as failed:
        run(world.trial(tmp_path, [service("a")]))
    assert failed.value.error_class == error_class


def test_who_waits_in_vain_is_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    world = World()
    world.on_start["a@n1"] = failing("a", "start")  # type: ignore[assignment]
    world.on_start["x@n1"] = failing("x", "image")  # type: ignore[assignment]
    services = [service("a"), service("b", ["a"]), service("c", ["b"]), service("d"), service("x")]
    trial = world.trial(tmp_path, services)
    with pytest.raises(ServiceFailed, match=r"a on n1: it broke; and 1 more: x on n1"):
        run(trial)
    assert {n: statuses(trial, n)[-1] for n in "abcdx"} == {
        "a": "failed", "b": "blocked", "c": "blocked", "d": "ready", "x": "failed",
    }  # fmt: skip
    details = {e.service: e.detail for e in trial.of(ServiceChanged) if e.status == "blocked"}
    assert details == {"b": "a@n1 is not ready", "c": "a@n1 is not ready"}
    assert "b@n1" not in world.starts


def test_cancelled_while_it_starts(tmp_path: Path) -> None:
    world, cancel = World(), Cancel()
    world.ready["a@n1"] = lambda: False
    world.on_start["a@n1"] = lambda: cancel.set("enough")
    trial = world.trial(tmp_path, [service("a"), service("b", ["a"])])
    with within(cancel=cancel), pytest.raises(Cancelled, match="enough"):
        run(trial)
    assert world.starts == ["a@n1"]
    assert "failed" not in statuses(trial, "a"), "nobody is blamed"


def test_the_phase_ends_before_a_service_is_ready(tmp_path: Path) -> None:
    world = World()
    world.ready["a@n1"] = lambda: False
    trial = world.trial(tmp_path, [service("a")], retry=RetryPolicy(other=9, delay=0))
    with pytest.raises(PhaseTimeout):
        run(trial, seconds=0.3)
    assert world.starts == ["a@n1"]


def test_a_service_has_its_own_time(tmp_path: Path) -> None:
    world = World()
    world.ready["a@n1"] = lambda: False
    retry = RetryPolicy(other=0, attempts={"timeout": 1}, delay=0)
    trial = world.trial(tmp_path, [service("a")], retry=retry, timeouts=Timeouts(service=0.2))
    with pytest.raises(ServiceFailed, match="a on n1: the deadline passed") as failed:
        run(trial)
    assert failed.value.error_class == "timeout"
    assert world.starts == ["a@n1", "a@n1"]


def test_the_next_try_has_the_time_and_the_number_that_the_users_words_give_the_error(tmp_path: Path) -> None:
    world = World()
    world.ready["a@n1"] = lambda: False
    world.on_start["a@n1"] = failing("a", "start", times=1)  # type: ignore[assignment]
    retry = RetryPolicy(
        other=0, attempts={"network": 1}, delay=0, timeouts={"network": 0.2}, patterns={"network": ("It BROKE",)}
    )
    trial = world.trial(tmp_path, [service("a")], retry=retry, timeouts=Timeouts(service=60))
    with pytest.raises(ServiceFailed, match="the deadline passed") as failed:
        run(trial, seconds=20)
    assert failed.value.error_class == "timeout"
    assert world.starts == ["a@n1", "a@n1"]


@pytest.mark.parametrize(
    "policy",
    [
        HealthPolicy(grace=0, interval=0.1, retries=1),
        HealthPolicy(grace=60, timeout=0.2),
        HealthPolicy(grace=0, interval=60, retries=60, abort=True),
    ],
    ids=["retries", "timeout", "abort"],
)
def test_patience_ends(tmp_path: Path, policy: HealthPolicy) -> None:
    world = World()
    world.ready["a@n1"] = lambda: False
    with pytest.raises(ServiceFailed, match=r"not ready .*gate: the gate is shut") as failed:
        run(world.trial(tmp_path, [service("a", health=policy)]))
    assert failed.value.error_class == "health"


@pytest.mark.parametrize(
    "state, said",
    [
        (State("a", "exited", 3, detail="no such model"), "exited with 3: no such model"),
        (State("a", "exited", 137, oom_killed=True), "was killed for want of memory"),
        (State("a", "restarting", 1, restarts=3, detail="again"), "restarts again and again"),
        (State("a", "paused"), "is paused"),
    ],
)
def test_what_can_never_be_ready_is_not_waited_for(tmp_path: Path, state: State, said: str) -> None:
    world = World()
    world.ready["a@n1"] = lambda: False
    world.states["a@n1"] = state
    with pytest.raises(ServiceFailed, match=said) as failed:
        run(world.trial(tmp_path, [service("a")]))
    assert failed.value.error_class == "start"


def test_without_a_check_it_must_keep_running(tmp_path: Path) -> None:
    """A service that exits right after its start was running when it was looked at first."""
    world = World()
    looks: list[int] = []

    class Fading(dict[str, State]):
        def get(self, key: str, default: State | None = None) -> State | None:  # type: ignore[override]
            looks.append(1)
            return State("a", "running") if len(looks) < 3 else State("a", "exited", 1)

    world.states = Fading()
    with pytest.raises(ServiceFailed, match="exited with 1"):
        run(world.trial(tmp_path, [service("a", checks=())]))


def test_one_that_runs_to_its_end_is_ready_then(tmp_path: Path) -> None:
    world = World()
    world.states["convert@n1"] = State("convert", "exited", 0)
    services = [service("convert", one_shot=True, checks=()), service("engine", {"convert": "completed"})]
    run(world.trial(tmp_path, services))
    assert world.starts == ["convert@n1", "engine@n1"]
