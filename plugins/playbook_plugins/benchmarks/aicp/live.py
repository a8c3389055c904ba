"""How a load goes, while it goes: one live line on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import time
from typing import TextIO

from attrs import define

from .point import Status

_EVERY = 10.0
_RECENT = 2000


def line(status: Status) -> str:
    """One line about a run.

    >>> line(Status(total=100, done=50, failed=1, seconds=5.0, in_flight=8, ttft=[50_000_000] * 10))
    '50/100 done, 1 failed, 8 in flight, 10.0 req/s, TTFT p50 50.0 p99 50.0 ms, 5 s left'
    """
    parts = [f"{status.done}/{status.total} done"]
    if status.failed:
        parts.append(f"{status.failed} failed")
    parts.append(f"{max(0, status.in_flight)} in flight")
    if status.seconds > 0:
        rate = status.done / status.seconds
        parts.append(f"{rate:.1f} req/s")
    recent = sorted(status.ttft[-_RECENT:])
    if recent:
        tail = recent[min(len(recent) - 1, len(recent) * 99 // 100)]
        parts.append(f"TTFT p50 {recent[len(recent) // 2] / 1e6:.1f} p99 {tail / 1e6:.1f} ms")
    if status.done and status.seconds > 0 and status.total > status.done:
        parts.append(f"{status.seconds / status.done * (status.total - status.done):.0f} s left")
    return ", ".join(parts)


@define
class Live:
    """Shows what it is given; ``close`` ends the live line."""

    out: TextIO
    _last: float = 0.0
    _shown: bool = False

    def __call__(self, status: Status) -> None:
        now = time.monotonic()
        if self.out.isatty():
            self.out.write("\r\x1b[2K" + line(status)[:160])
            self.out.flush()
            self._shown = True
        elif now - self._last >= _EVERY and self._last:
            self.out.write(line(status) + "\n")
            self.out.flush()
            self._last = now
        elif not self._last:
            self._last = now

    def close(self) -> None:
        """Leave the terminal clean."""
        if self._shown:
            self.out.write("\r\x1b[2K")
            self.out.flush()
            self._shown = False
