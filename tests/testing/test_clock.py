"""Time in tests: deadlines pass and commands hang for as long as they like, and no second goes by."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from playbook_kernel.api import Cancel, Cancelled, CommandTimeout, Deadline, PhaseTimeout, current, within
from playbook_kernel.testing import FakeClock, FakeSession, Hang


def test_a_wait_moves_the_clock_and_nothing_else(fake_clock: FakeClock) -> None:
    began = fake_clock.now
    with within(86400.0):
        current().sleep(3600.0)
        assert fake_clock.now == began + 3600.0
        assert current().deadline.remaining() == 82800.0
        with pytest.raises(PhaseTimeout):
            current().sleep(86400.0)
    assert fake_clock.now == began + 86400.0


def test_a_deadline_passes_when_the_test_says_so(fake_clock: FakeClock) -> None:
    deadline = Deadline.after(60.0)
    fake_clock.advance(59.0)
    deadline.check()
    fake_clock.advance(1.0)
    with pytest.raises(PhaseTimeout):
        deadline.check()


def test_a_command_that_hangs_does_so_on_that_clock(fake_clock: FakeClock) -> None:
    began = fake_clock.now
    with pytest.raises(CommandTimeout):
        FakeSession({"*": Hang()}).run(["sleep", "forever"], timeout=600.0)
    assert fake_clock.now == pytest.approx(began + 600.0)


def test_a_cancelled_wait_takes_no_time(fake_clock: FakeClock) -> None:
    began, cancel = fake_clock.now, Cancel()
    cancel.set("enough")
    with within(cancel=cancel), pytest.raises(Cancelled):
        current().sleep(60.0)
    assert fake_clock.now == began


def polls(ready: Callable[[], bool]) -> int:
    """What a plugin does: look again and again, with longer and longer pauses, until its scope ends."""
    tries, pause = 1, 0.05
    while not ready():
        current().sleep(pause)
        tries, pause = tries + 1, min(2 * pause, 30.0)
    return tries


def test_a_loop_that_polls_for_an_hour_is_tested_at_once(fake_clock: FakeClock) -> None:
    began = fake_clock.now
    with within(7200.0):
        assert polls(lambda: fake_clock.now - began >= 3600.0) == 130
    with within(60.0), pytest.raises(PhaseTimeout):
        polls(lambda: False)


def test_afterwards_time_is_what_it_was() -> None:
    before = Cancel.wait
    with pytest.raises(ValueError, match="the test fails"), FakeClock():
        raise ValueError("the test fails")
    assert Cancel.wait is before
    assert Deadline.after(0.0).at == pytest.approx(time.monotonic(), abs=60)
