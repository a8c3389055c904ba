"""How loads go, while they go: a live picture on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, TextIO

from attrs import define, field

from .point import Status

_EVERY = 10.0
_RECENT = 2000
_BETWEEN = ", "


def facts(status: Status) -> list[str]:
    """What is known about a run, in the order in which it matters.

    >>> facts(Status(total=100, done=50, failed=1, seconds=5.0, in_flight=8, ttft=[50_000_000] * 10))
    ['1 failed', '8 in flight', '10.0 req/s', 'TTFT p50 50.0 p99 50.0 ms', '5 s left']
    """
    parts = [f"{status.failed} failed"] if status.failed else []
    parts.append(f"{max(0, status.in_flight)} in flight")
    if status.seconds > 0:
        parts.append(f"{status.done / status.seconds:.1f} req/s")
    recent = sorted(status.ttft[-_RECENT:])
    if recent:
        tail = recent[min(len(recent) - 1, len(recent) * 99 // 100)]
        parts.append(f"TTFT p50 {recent[len(recent) // 2] / 1e6:.1f} p99 {tail / 1e6:.1f} ms")
    left = status.left
    if left is not None:
        parts.append(f"{left:.0f} s left")
    return parts


def line(status: Status) -> str:
    """One line about a run.

    >>> line(Status(total=100, done=50, seconds=5.0, in_flight=8))
    '50/100 done, 8 in flight, 10.0 req/s, 5 s left'
    >>> line(Status(total=100, done=250, seconds=5.0, in_flight=8, duration=20.0))
    '250 done, 8 in flight, 50.0 req/s, 15 s left'
    """
    total = "" if status.duration else f"/{status.total}"
    return _BETWEEN.join([f"{status.done}{total} done", *facts(status)])


@define
class Live:
    """Shows several loads, each by its name; ``close`` leaves the terminal clean until the next one is shown."""

    out: TextIO
    _last: float = 0.0
    _picture: Any = None
    _rows: dict[str, Any] = field(factory=dict)
    _lock: threading.Lock = field(factory=threading.Lock)

    def of(self, name: str) -> Callable[[Status], None]:
        """What shows the load of a name."""

        def show(status: Status) -> None:
            with self._lock:
                if self.out.isatty():
                    self._draw(name, status)
                else:
                    self._tell(name, status)

        return show

    def close(self) -> None:
        """Take the picture away."""
        with self._lock:
            if self._picture is not None:
                self._picture.stop()
                self._picture = None
                self._rows.clear()

    def _tell(self, name: str, status: Status) -> None:
        now = time.monotonic()
        if not self._last:
            self._last = now
        elif now - self._last >= _EVERY:
            self._last = now
            self.out.write((f"{name}: " if name else "") + line(status) + "\n")
            self.out.flush()

    def _draw(self, name: str, status: Status) -> None:
        # Only a terminal pays for the import; and nothing is drawn but when there is something new, by this thread.
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        if self._picture is None:
            self._picture = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(24),
                TextColumn("{task.fields[facts]}", markup=False),
                console=Console(file=self.out, highlight=False),
                auto_refresh=False,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._picture.start()
        if name not in self._rows:
            self._rows[name] = self._picture.add_task("", facts="")
        share = status.seconds / status.duration if status.duration else status.done / max(1, status.total)
        what, *rest = line(status).split(_BETWEEN)
        self._picture.update(
            self._rows[name],
            total=1.0,
            completed=min(1.0, share),
            description=" ".join(filter(None, [name, what])),
            facts=_BETWEEN.join(rest),
            refresh=True,
        )
