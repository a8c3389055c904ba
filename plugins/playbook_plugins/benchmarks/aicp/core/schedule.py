"""When requests are to leave: made before the run from a seed, in nanoseconds after its start."""

from __future__ import annotations

import math
import random
from array import array
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from .clock import SECOND


class Stage(NamedTuple):
    """``seconds`` during which the rate goes in a straight line from ``first`` to ``last`` requests per second."""

    seconds: float
    first: float
    last: float


def unit_gaps(kind: str, burstiness: float, seed: int) -> Iterator[float]:
    """Endless gaps of mean 1: ``constant``, ``poisson``, or ``gamma`` with shape ``burstiness``.

    Raises ValueError for another kind, or for a burstiness that is not positive.
    """
    dice = random.Random(seed)  # noqa: S311 - a load is no secret
    if kind == "constant":
        while True:
            yield 1.0
    if kind == "poisson":
        while True:
            yield dice.expovariate(1.0)
    if kind != "gamma":
        raise ValueError(f"unknown kind of arrivals {kind!r}: constant, poisson or gamma")
    if not burstiness > 0:
        raise ValueError(f"burstiness must be positive, got {burstiness!r}")
    while True:
        yield dice.gammavariate(burstiness, 1.0 / burstiness)


def arrivals(
    count: int, stages: Sequence[Stage], kind: str = "poisson", burstiness: float = 1.0, seed: int = 0
) -> array[int]:
    """The first at 0, then ``count`` in all, or fewer where the stages end first.

    The last stage's rate holds on for ever if its ``seconds`` are infinite. Raises ValueError for a rate that is
    negative or never positive.
    """
    for stage in stages:
        if min(stage.first, stage.last) < 0 or not stage.seconds > 0:
            raise ValueError(f"rates and times of a ramp must not be negative: {tuple(stage)}")
    if not stages or all(s.first <= 0 and s.last <= 0 for s in stages):
        raise ValueError("the request rate must be positive")
    due: array[int] = array("q")
    gaps = unit_gaps(kind, burstiness, seed)
    wanted, passed, began = 0.0, 0.0, 0.0
    rest: list[Stage] = list(stages)
    while len(due) < count and rest:
        stage = rest[0]
        mean = (stage.first + stage.last) / 2 if math.isfinite(stage.seconds) else stage.first
        amount = mean * stage.seconds if mean > 0 else 0.0
        if wanted - passed > amount:
            passed += amount
            began += stage.seconds
            rest.pop(0)
            continue
        due.append(round((began + _reached(stage, wanted - passed)) * SECOND))
        wanted += next(gaps)
    return due


def _reached(stage: Stage, amount: float) -> float:
    """Seconds into the stage until ``amount`` requests have come due."""
    if amount <= 0:
        return 0.0
    slope = (stage.last - stage.first) / stage.seconds if math.isfinite(stage.seconds) else 0.0
    if abs(slope) < 1e-12:
        return amount / stage.first
    # The root of slope/2 t^2 + first t = amount, in the form that does not cancel.
    root = math.sqrt(max(0.0, stage.first * stage.first + 2 * slope * amount))
    return min(stage.seconds, 2 * amount / (stage.first + root))
