"""Time: monotonic nanoseconds, waits that are exact to some tens of microseconds, and the kernel's own stamps."""

from __future__ import annotations

import ctypes
import select
import struct
import time

SECOND = 1_000_000_000
SO_TIMESTAMPNS = 35
STAMP = struct.Struct("qq")
_PR_SET_TIMERSLACK = 29
_COARSE = 2_000_000

now = time.monotonic_ns


def sharpen_timers() -> bool:
    """Ask the kernel not to batch this thread's timers; say whether it agreed."""
    try:
        return bool(ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0) == 0)
    except (OSError, AttributeError):
        return False


def realtime_offset() -> int:
    """What to take off CLOCK_REALTIME nanoseconds (the kernel's stamps) to get monotonic ones.

    The reading with the least time between its two monotonic readings is kept.
    """
    best, offset = 1 << 62, 0
    for _ in range(5):
        before = time.monotonic_ns()
        real = time.time_ns()
        after = time.monotonic_ns()
        if after - before < best:
            best, offset = after - before, real - (before + after) // 2
    return offset


class Waiter:
    """epoll with a timeout in nanoseconds: epoll itself rounds up to a whole millisecond."""

    def __init__(self) -> None:
        self.epoll = select.epoll()
        self._fd = [self.epoll.fileno()]

    def wait(self, nanoseconds: int | None) -> list[tuple[int, int]]:
        """The descriptors that are ready, at the latest after so long (or a little sooner); None: whenever one is."""
        if nanoseconds is None:
            return self.epoll.poll(-1, 4096)
        if nanoseconds >= _COARSE:
            return self.epoll.poll((nanoseconds - _COARSE // 2) / SECOND, 4096)
        if nanoseconds > 0:
            select.select(self._fd, [], [], nanoseconds / SECOND)
        return self.epoll.poll(0, 4096)

    def close(self) -> None:
        self.epoll.close()
