"""What a load point is, how a run of it goes, and what came of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from attrs import define, field, frozen

from .summary import Summary


class BenchmarkError(Exception):
    """The load cannot be made, or nothing came of it."""


@frozen
class Point:
    """``label`` is ``in:out`` or ``dynamic``; ``concurrency`` 0: no cap; ``rate`` inf: closed loop."""

    label: str
    concurrency: int
    rate: float = math.inf
    asked: int = 0

    def __str__(self) -> str:
        rate = f", {self.rate:g} requests/s" if math.isfinite(self.rate) else ""
        return f"{self.label}: {self.concurrency or 'any number'} at once{rate}"


@frozen
class Outcome:
    """``client`` says how the client fared.

    ``partial``: it was stopped before its end; ``died``: why it was, if not on purpose.
    """

    point: Point
    summary: Summary
    client: Mapping[str, Any]
    records: Path | None
    partial: bool = False
    died: str = ""


@define
class Status:
    """How a run goes, for whoever shows it. ``duration``: seconds after which it ends, 0 if its requests end it."""

    total: int
    done: int = 0
    failed: int = 0
    seconds: float = 0.0
    in_flight: int = 0
    ttft: list[int] = field(factory=list)
    duration: float = 0.0

    @property
    def left(self) -> float | None:
        """Seconds that are left, as far as that can be told."""
        if self.duration:
            return max(0.0, self.duration - self.seconds)
        if not self.done or self.seconds <= 0 or self.done >= self.total:
            return None
        return self.seconds / self.done * (self.total - self.done)


Watch = Callable[[Status], None]
