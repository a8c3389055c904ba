"""Distributions, percentiles and how sure one may be of them. Standard library only; exact, not approximated."""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import accumulate
from operator import mul
from typing import NamedTuple

_RESAMPLES = 200
_BLOCKS = 50


class Distribution:
    """Values with how often each came. ``scale`` is multiplied to every figure that comes out."""

    def __init__(self, counts: Mapping[float, int], scale: float = 1.0) -> None:
        self._keys = sorted(counts)
        weights = list(map(counts.__getitem__, self._keys))
        self._until = list(accumulate(weights))
        self.count = self._until[-1] if self._until else 0
        self._scale = scale
        if self.count:
            center = self._keys[len(self._keys) // 2]
            apart = [k - center for k in self._keys]
            weighted = list(map(mul, apart, weights))
            shifted = math.fsum(weighted) / self.count
            squares = math.fsum(map(mul, apart, weighted)) / self.count
            self._mean, self._variance = center + shifted, max(0.0, squares - shifted * shifted)

    @classmethod
    def of(cls, values: Iterable[float], scale: float = 1.0) -> Distribution:
        """Of plain values."""
        return cls(Counter(values), scale)

    @property
    def mean(self) -> float:
        """Raises ValueError without values, as all of these do."""
        self._need()
        return self._mean * self._scale

    @property
    def std(self) -> float:
        """The population's standard deviation."""
        self._need()
        return math.sqrt(self._variance) * self._scale

    @property
    def least(self) -> float:
        self._need()
        return self._keys[0] * self._scale

    @property
    def most(self) -> float:
        self._need()
        return self._keys[-1] * self._scale

    def percentile(self, percent: float) -> float:
        """With straight lines between neighbours, as numpy's default.

        >>> Distribution.of([1, 2, 3, 4]).percentile(50)
        2.5
        """
        self._need()
        place = (self.count - 1) * percent / 100
        low = math.floor(place)
        first = self._keys[bisect_right(self._until, low)]
        second = self._keys[bisect_right(self._until, min(low + 1, self.count - 1))]
        return (first + (second - first) * (place - low)) * self._scale

    def figures(self, percents: Sequence[float]) -> dict[str, float]:
        """Everything, by name; empty without values."""
        if not self.count:
            return {}
        made = {"mean": self.mean, "std": self.std, "min": self.least, "max": self.most}
        made.update({f"p{p:g}": self.percentile(p) for p in sorted({50.0, *percents})})
        return made

    def _need(self) -> None:
        if not self.count:
            raise ValueError("no values")


class Interval(NamedTuple):
    """A 95 % interval."""

    low: float
    high: float

    @property
    def half(self) -> float:
        return (self.high - self.low) / 2


def block_bootstrap(values: Sequence[float], percents: Sequence[float] = (), seed: int = 1) -> dict[str, Interval]:
    """95 % intervals of the mean and of percentiles, from one run's values in order of time.

    Neighbours depend on one another, so whole stretches are drawn anew. Nothing for fewer than 8 values.
    """
    count = len(values)
    if count < 8:
        return {}
    dice = random.Random(seed)  # noqa: S311 - reproducible
    size = max(1, count // _BLOCKS)
    blocks = [values[at : at + size] for at in range(0, count - size + 1, size)]
    drawn: dict[str, list[float]] = {"mean": [], **{f"p{p:g}": [] for p in percents}}
    sums = [math.fsum(b) for b in blocks]
    tails = _Redrawn(blocks) if percents else None
    numbers = range(len(blocks))
    for _ in range(_RESAMPLES):
        chosen = dice.choices(numbers, k=len(blocks))
        drawn["mean"].append(math.fsum(map(sums.__getitem__, chosen)) / (size * len(blocks)))
        if tails is not None:
            times = list(map(chosen.count, numbers))
            for p in percents:
                drawn[f"p{p:g}"].append(tails.percentile(times, p))
    return {name: _middle(found) for name, found in drawn.items()}


class _Redrawn:
    """Percentiles of blocks of which each was drawn so many times, without putting them together and sorting them."""

    def __init__(self, blocks: Sequence[Sequence[float]]) -> None:
        self._blocks = [sorted(b) for b in blocks]
        self._values = sorted({v for b in blocks for v in b})
        self._count = sum(map(len, blocks))
        # How many values of each block are at most the one of a rank; draws look at few ranks.
        self._until = lru_cache(maxsize=4096)(self._upto)

    def _upto(self, rank: int) -> tuple[int, ...]:
        value = self._values[rank]
        return tuple(bisect_right(block, value) for block in self._blocks)

    def percentile(self, times: Sequence[int], percent: float) -> float:
        place = (self._count - 1) * percent / 100
        low = math.floor(place)
        rank = self._rank(times, low)
        first = self._values[rank]
        if sum(map(mul, times, self._until(rank))) > low + 1 or low + 1 >= self._count:
            return first
        return first + (self._values[self._rank(times, low + 1)] - first) * (place - low)

    def _rank(self, times: Sequence[int], place: int) -> int:
        """The rank of the value that stands at ``place`` among those drawn."""
        low, high = 0, len(self._values) - 1
        while low < high:
            middle = (low + high) // 2
            if sum(map(mul, times, self._until(middle))) > place:
                high = middle
            else:
                low = middle + 1
        return low


def _middle(found: list[float]) -> Interval:
    found.sort()
    return Interval(percentile(found, 2.5), percentile(found, 97.5))


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Of values that are sorted; see Distribution.percentile."""
    place = (len(ordered) - 1) * percent / 100
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


# Student's t at 97.5 %, by degrees of freedom; beyond 30 by an expansion that is right to three digits.
_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120,
      2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042)  # fmt: skip


def t_interval(values: Sequence[float]) -> Interval | None:
    """The 95 % interval of the mean over repeats (Student's t); None for fewer than two."""
    count = len(values)
    if count < 2:
        return None
    mean = math.fsum(values) / count
    spread = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (count - 1))
    freedom = count - 1
    t = _T[freedom - 1] if freedom <= len(_T) else 1.96 + 2.4 / freedom
    half = t * spread / math.sqrt(count)
    return Interval(mean - half, mean + half)


def longest_stretch(points: Sequence[tuple[int, int]], floor: float) -> tuple[int, int]:
    """The longest time during which a level stays at ``floor`` or above.

    ``points``: when the level changed, and to what, in order; the last point ends it. (0, 0) if it never got there.
    """
    best = (0, 0)
    began: int | None = None
    for at, level in points:
        if level >= floor:
            if began is None:
                began = at
        elif began is not None:
            best = max(best, (began, at), key=lambda s: s[1] - s[0])
            began = None
    if began is not None and points:
        best = max(best, (began, points[-1][0]), key=lambda s: s[1] - s[0])
    return best
