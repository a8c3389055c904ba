"""How the client itself fared while it made the load."""

from __future__ import annotations

import resource
from typing import Any

_SLOW = 5_000_000


class Load:
    """Counted by an engine: CPU, turns of its loop, what was in flight. Times are nanoseconds."""

    def __init__(self) -> None:
        self.turns = 0
        self.slow_turns = 0
        self.longest_turn = 0
        self.peak = 0
        self.timestamp_source = "user"
        self._began = self._ended = 0
        self._cpu = 0.0
        self._cpu_used = 0.0
        self._flights: list[int] = []

    def begin(self, at: int) -> None:
        self._began, self._cpu = at, _cpu()

    def turn(self, took: int) -> None:
        """One round of the loop that did something."""
        self.turns += 1
        if took > self.longest_turn:
            self.longest_turn = took
        if took > _SLOW:
            self.slow_turns += 1

    def tick(self, in_flight: int) -> None:
        """Now and then: how much is in flight."""
        self.peak = max(self.peak, in_flight)

    def end(self, at: int, source: str) -> None:
        self._ended, self.timestamp_source = at, source
        self._cpu_used = _cpu() - self._cpu

    def summary(self) -> dict[str, Any]:
        """All of it, JSON."""
        seconds = max(1e-9, (self._ended - self._began) / 1e9)
        return {
            "seconds": seconds,
            "cpu_seconds": self._cpu_used,
            "cpu_share": self._cpu_used / seconds,
            "turns": self.turns,
            "slow_turns": self.slow_turns,
            "longest_turn_ms": self.longest_turn / 1e6,
            "timestamp_source": self.timestamp_source,
            "max_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
