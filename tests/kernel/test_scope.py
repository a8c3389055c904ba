"""Deadlines and cancellation: the earlier end wins, and every waiter wakes."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from playbook_kernel.errors import Cancelled, PhaseTimeout, PluginError, PluginTimeout
from playbook_kernel.scope import Cancel, Deadline, Scope, bounded, current, replaced, run_all, within

NEVER = 1e6


def test_outside_of_a_campaign_nothing_is_bounded() -> None:
    scope = current()
    assert scope.deadline.remaining() is None
    assert scope.timeout(None) is None
    assert scope.timeout(5.0) == 5.0
    scope.check()


def test_the_inner_scope_can_only_be_tighter() -> None:
    with within(NEVER) as outer, within(2 * NEVER) as inner:
        assert inner.deadline == outer.deadline
        with within(1.0) as tightest:
            assert tightest.deadline.at is not None
            assert outer.deadline.at is not None
            assert tightest.deadline.at < outer.deadline.at
            assert tightest.timeout(NEVER) != NEVER
            assert tightest.timeout(0.0) == 0.0
        assert current() is inner
        with within() as same:
            assert same == inner


def test_cleaning_up_replaces_a_scope_that_has_ended() -> None:
    cancel = Cancel()
    cancel.set("stop")
    with within(0.0, cancel):
        with pytest.raises(Cancelled, match="stop"):
            current().check()
        with replaced(Scope()):
            current().check()
        with pytest.raises(Cancelled):
            current().check()


def test_a_deadline_that_has_passed_is_told_and_is_never_negative() -> None:
    deadline = Deadline.after(-5.0)
    assert deadline.remaining() == 0.0
    with pytest.raises(PhaseTimeout):
        deadline.check()
    Deadline.after(None).check()


def test_of_two_deadlines_the_earlier_one_counts() -> None:
    with within(-5.0), within(60.0) as inner:
        assert inner.deadline.remaining() == 0.0
    with within(60.0), within(-5.0) as inner:
        assert inner.deadline.remaining() == 0.0
    with within(60.0), within() as inner:
        assert 0.0 < (inner.deadline.remaining() or 0.0) <= 60.0
    with within(), within() as inner:
        assert inner.deadline.remaining() is None


def test_sleep_ends_with_the_deadline_and_at_once_when_cancelled() -> None:
    with within(0.01), pytest.raises(PhaseTimeout):
        current().sleep(NEVER)
    cancel = Cancel()
    with within(cancel=cancel):
        current().sleep(0.0)
        timer = threading.Timer(0.01, cancel.set, ["enough"])
        timer.start()
        with pytest.raises(Cancelled, match="enough"):
            current().sleep(NEVER)
        timer.join()


def test_the_flag_goes_up_once_and_wakes_every_watcher_once() -> None:
    cancel = Cancel()
    calls: list[str] = []
    with cancel.watching(lambda: calls.append("inside")):
        with cancel.watching(lambda: calls.append("left")):
            pass
        cancel.set("first")
        cancel.set("second")
    assert calls == ["inside"], "who no longer watches is not called"
    assert (cancel.requested, cancel.reason) == (True, "first")
    with cancel.watching(lambda: calls.append("late")):
        assert calls[-1] == "late", "a flag that is up is told at once"
    with pytest.raises(Cancelled, match="first"):
        cancel.check()


def test_run_all_keeps_order_results_and_exceptions_and_passes_the_scope_on() -> None:
    meet = threading.Barrier(3)

    def deadline() -> float | None:
        meet.wait()
        return current().deadline.at

    def fails() -> float | None:
        meet.wait()
        raise ValueError("no")

    with within(NEVER) as scope:
        first, second, third = run_all([deadline, fails, deadline])
    assert first == third == scope.deadline.at
    assert isinstance(second, ValueError)
    assert run_all([]) == []


def test_run_all_runs_no_more_than_its_limit_at_once() -> None:
    lock = threading.Lock()
    running, most = 0, 0
    pairs = threading.Barrier(2)

    def call() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        pairs.wait()
        with lock:
            running -= 1

    assert run_all([call] * 8, limit=2) == [None] * 8
    assert most == 2


def test_a_bounded_call_gives_back_what_it_returns_or_raises() -> None:
    assert bounded(lambda: 5, grace=0.0) == 5
    with pytest.raises(ValueError, match="no"):
        bounded(raising(ValueError("no")), grace=0.0)
    for error in (SystemExit(0), KeyboardInterrupt()):
        with pytest.raises(PluginError, match=type(error).__name__):
            bounded(raising(error), grace=0.0)
    with within(NEVER) as scope:
        assert bounded(current, grace=0.0) is scope


def raising(error: BaseException) -> Callable[[], None]:
    def call() -> None:
        raise error

    return call


@pytest.fixture
def stuck() -> Callable[[], None]:
    return threading.Event().wait  # type: ignore[return-value]


def test_a_call_that_does_not_come_back_is_left_behind(stuck: Callable[[], None]) -> None:
    with within(0.0), pytest.raises(PluginTimeout, match="did not come back"):
        bounded(stuck, grace=0.01)
    cancel = Cancel()
    cancel.set("stop")
    with within(cancel=cancel), pytest.raises(Cancelled, match="stop"):
        bounded(stuck, grace=0.01)


def test_a_call_that_heeds_its_end_within_the_grace_says_itself_how_it_ended() -> None:
    def heeds() -> str:
        with pytest.raises(PhaseTimeout):
            current().sleep(NEVER)
        return "tidied up"

    with within(0.01):
        assert bounded(heeds, grace=60.0) == "tidied up"
