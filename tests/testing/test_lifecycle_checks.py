"""The checks of composers and faults, on one that keeps what it promises, and on each way of not keeping it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from playbook_kernel.api import (
    Composer,
    Deployment,
    Endpoint,
    Fault,
    NoOptions,
    Residue,
    Service,
    Session,
    Share,
    State,
    TrialContext,
    Wound,
)
from playbook_kernel.testing import (
    PLANTED,
    FakeSession,
    FakeTrial,
    check_composer,
    check_driver,
    check_fault,
    fake_trial,
    node,
)

THERE: dict[str, str] = {}
"""What is on the node: services and their states. It outlives the driver, as a node does."""


class Box(Composer[NoOptions]):
    """Keeps services in a dictionary."""

    def fit(self, session: Session) -> str | None:
        return None

    def prepare(self, ctx: TrialContext, session: Session, share: Share) -> None:
        effect = ctx.effects.intend("stack", share.node.name, project=share.project)
        THERE.update({s.name: "created" for s in share.services})
        ctx.effects.done(effect)

    def start(self, ctx: TrialContext, session: Session, share: Share, service: str) -> Mapping[str, Any]:
        THERE[service] = "running"
        return {"id": service}

    def reset(self, ctx: TrialContext, session: Session, share: Share, service: str) -> None:
        THERE[service] = "created"

    def states(self, session: Session, share: Share) -> Mapping[str, State]:
        return {n: State(n, s) for n, s in THERE.items()}  # type: ignore[arg-type]

    def endpoint(self, share: Share, service: str) -> Endpoint | None:
        return None

    def logs(self, session: Session, share: Share, service: str, into: Path, *, limit: int) -> Path | None:
        path = into / f"{service}.log"
        path.write_text("up" * 10)
        return path

    def stop(self, ctx: TrialContext, session: Session, share: Share, service: str) -> None:
        THERE[service] = "exited"

    def down(self, ctx: TrialContext, session: Session, project: str) -> None:
        THERE.clear()
        for effect in ctx.effects.open("stack"):
            ctx.effects.undone(effect)

    def residue(self, session: Session, project: str) -> Sequence[Residue]:
        return [Residue("n1", "service", n) for n in THERE]


@pytest.fixture
def one(tmp_path: Path) -> FakeTrial:
    THERE.clear()
    services = [Service(n, ("n1",), tmp_path / "c.yml") for n in ("a", "b")]
    return fake_trial(tmp_path, {"n1": FakeSession(node=node("n1"))}, services=services)


@pytest.fixture
def none(tmp_path: Path) -> FakeTrial:
    THERE.clear()
    return fake_trial(tmp_path, {"n1": FakeSession(node=node("n1"))})


def live(trial: FakeTrial, composer: type[Composer[NoOptions]]) -> None:
    scenario = trial.ctx.trial.scenario
    share = Share(trial.ctx.nodes["n1"], trial.ctx.trial.id, scenario.directory, scenario.services)
    check_composer(check_driver(composer), trial, trial.ctx.session("n1"), share)


def changed(method: str, body: Callable[..., Any]) -> type[Box]:
    return type("Changed", (Box,), {"__doc__": "Breaks a promise.", method: body})


def test_a_composer_that_keeps_its_promises(one: FakeTrial) -> None:
    live(one, Box)


def _silently(self: Any, ctx: Any, session: Any, share: Share) -> None:
    THERE.update({s.name: "created" for s in share.services})


def _eagerly(self: Any, ctx: TrialContext, session: Any, share: Share) -> None:
    Box.prepare(self, ctx, session, share)
    THERE["a"] = "running"


def _chatty(self: Any, ctx: TrialContext, session: Any, share: Any, service: str) -> Mapping[str, Any]:
    ctx.warn(f"started with {PLANTED}")
    THERE[service] = "running"
    return {}


def _long_log(self: Any, session: Any, share: Any, service: str, into: Path, *, limit: int) -> Path:
    path = into / "long.log"
    path.write_text("x" * (limit + 1))
    return path


def _log_elsewhere(self: Any, session: Any, share: Any, service: str, into: Path, *, limit: int) -> Path:
    path = into.parent / "elsewhere.log"
    path.write_text("x")
    return path


def _forgets(self: Any, ctx: TrialContext, session: Any, project: str) -> None:
    THERE.pop("a", None)


def _one_at_a_time(self: Any, ctx: Any, session: Any, share: Share, service: str) -> Mapping[str, Any]:
    global THERE
    mine = {**THERE, service: "running"}
    if all(s == "created" for s in THERE.values()):
        with contextlib.suppress(threading.BrokenBarrierError):
            MEET.wait(10)
    THERE = mine
    return {}


def _fails(self: Any, *_: Any) -> Mapping[str, Any]:
    raise OSError("no space left")


def _only_once(self: Any, *_: Any) -> None:
    THERE["a"] = "gone for good"


def _not_again(self: Any, ctx: Any, session: Any, share: Any, service: str) -> Mapping[str, Any]:
    if THERE[service] == "created":
        THERE[service] = "running"
    return {}


MEET = threading.Barrier(2)


@pytest.mark.parametrize(
    ("method", "body", "words"),
    [
        ("start", _one_at_a_time, r"not all run after start\(\)"),
        ("start", _fails, r"start\(\) raised OSError: no space left"),
        ("fit", lambda self, session: "no engine", "does not fit the node: no engine"),
        ("check", lambda self, share: ["c.yml:1: bad"], "objects to the definition"),
        ("prepare", _silently, "announced no effect"),
        ("prepare", _eagerly, r"prepare\(\) started something"),
        ("states", lambda self, session, share: {"a": State("a", "created")}, r"states\(\) speaks of \['a'\]"),
        ("start", lambda self, *_: {"id": "x"}, r"not all run after start\(\)"),
        ("start", lambda self, *_: {"id": object()}, "not JSON serializable"),
        ("start", _chatty, "secret"),
        ("logs", _long_log, "ignores its limit"),
        ("logs", _log_elsewhere, "outside of its folder"),
        ("stop", lambda self, *_: None, r"stop\(\) did not stop it"),
        ("residue", lambda self, *_: [], "services run, and residue"),
        ("residue", lambda self, *_: [Residue("n1", "service", "old")], "is there before the check"),
        ("down", _forgets, r"down\(\) left"),
    ],
)
def test_a_composer_that_breaks_one_is_told(one: FakeTrial, method: str, body: Callable[..., Any], words: str) -> None:
    with pytest.raises((AssertionError, TypeError), match=words):
        live(one, changed(method, body))


def test_a_composer_whose_services_run_only_once_is_told(one: FakeTrial) -> None:
    only_once = type("Once", (changed("start", _not_again),), {"__doc__": "Runs once.", "reset": _only_once})
    with pytest.raises(AssertionError, match=r"does not run again after reset\(\) and start\(\)"):
        live(one, only_once)


def test_a_share_of_nothing_is_told(none: FakeTrial) -> None:
    with pytest.raises(AssertionError, match="at least one service"):
        live(none, Box)


class Break(Fault[NoOptions]):
    """Breaks a thing on the node."""

    def plan(self, ctx: TrialContext, deployment: Deployment) -> Sequence[Wound]:
        return [Wound("n1", "breaks the thing", data={"thing": "t"})]

    def strike(self, ctx: TrialContext, wound: Wound) -> None:
        THERE["t"] = "broken"

    def heal(self, ctx: TrialContext, wound: Wound) -> None:
        THERE.pop("t", None)


def hurt(trial: FakeTrial, fault: type[Fault[NoOptions]]) -> Sequence[Wound]:
    return check_fault(check_driver(fault), trial, lambda: "t" in THERE)


def test_a_fault_that_keeps_its_promises(one: FakeTrial) -> None:
    assert [w.what for w in hurt(one, Break)] == ["breaks the thing"]


def _plans_and_breaks(self: Any, ctx: Any, deployment: Any) -> Sequence[Wound]:
    THERE["t"] = "broken"
    return [Wound("n1", "x")]


def _heals_by_breaking(self: Any, ctx: Any, wound: Any) -> None:
    THERE["t"] = "broken"


@pytest.mark.parametrize(
    ("method", "body", "words"),
    [
        ("fit", lambda self, ctx: "no tc", "does not fit the nodes: no tc"),
        ("check", lambda self, scenario: ["there is no such service"], "objects to the scenario"),
        ("plan", lambda self, *_: [], "will do nothing"),
        ("plan", lambda self, *_: [Wound("n9", "x")], "which the trial does not use"),
        ("plan", lambda self, *_: [Wound("n1", " ")], "does not say in words"),
        ("plan", _plans_and_breaks, r"plan\(\) has broken something"),
        ("strike", lambda self, *_: None, "nothing is broken"),
        ("heal", lambda self, *_: None, "still broken"),
        ("heal", _heals_by_breaking, "of what was only planned has broken something"),
        ("undo", _heals_by_breaking, "of what was only planned has broken something"),
    ],
)
def test_a_fault_that_breaks_one_is_told(one: FakeTrial, method: str, body: Callable[..., Any], words: str) -> None:
    broken = type("Changed", (Break,), {"__doc__": "Breaks a promise.", method: body})
    with pytest.raises(AssertionError, match=words):
        hurt(one, broken)


def test_what_is_broken_before_is_told(one: FakeTrial) -> None:
    THERE["t"] = "broken"
    with pytest.raises(AssertionError, match="it is broken before the check"):
        hurt(one, Break)
