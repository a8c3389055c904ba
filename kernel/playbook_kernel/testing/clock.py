"""A clock that a test controls: deadlines pass and waits end without a second going by."""

from __future__ import annotations

import contextlib
import threading
from types import TracebackType
from typing import Self
from unittest import mock

from playbook_kernel import scope
from playbook_kernel.scope import Cancel


class FakeClock:
    """Within the block, time is what this clock says: for :class:`Deadline`, :class:`Scope`, and fakes that hang.

    A wait of the scope (``current().sleep(60)``, ``cancel.wait(60)``) takes no time and moves the clock on by what it would have
    taken, unless it is cancelled. Code that asks :mod:`time` itself, or waits for threads, is not concerned.

    >>> from playbook_kernel.api import current, within
    >>> with FakeClock() as clock, within(90.0) as bounds:
    ...     current().sleep(60.0)
    ...     clock.now, bounds.deadline.remaining()
    (1060.0, 30.0)
    """

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now
        self._lock = threading.Lock()
        self._patched = contextlib.ExitStack()

    def advance(self, seconds: float) -> None:
        """Let time go by."""
        with self._lock:
            self.now += seconds

    def monotonic(self) -> float:
        """What :func:`time.monotonic` would say."""
        return self.now

    def _wait(self, cancel: Cancel, seconds: float) -> bool:
        if not cancel.requested:
            self.advance(seconds)
        return cancel.requested

    def __enter__(self) -> Self:
        self._patched.enter_context(mock.patch.object(scope, "time", self))
        self._patched.enter_context(
            mock.patch.object(Cancel, "wait", lambda cancel, seconds: self._wait(cancel, seconds))
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._patched.close()
