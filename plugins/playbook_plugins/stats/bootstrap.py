"""How far a figure of one load may be off by chance: block bootstrap over its requests.

Requests that run together wait for one another, so they are drawn again in blocks of neighbours, each block longer than
what is in flight at a time; drawing single requests would make every figure look surer than it is.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from collections.abc import Sequence
from operator import mul

from .records import LATENCIES, Requests
from .series import quantile

RESAMPLES = 200
_MOST_BLOCKS, _FEWEST_BLOCKS = 64, 6
_CANDIDATES = 1024
RATES = ("requests", "tokens")


class Blocks:
    """A load cut into blocks of neighbours. ``count`` 0: there are too few requests for it to say anything."""

    def __init__(self, requests: Requests, *, seed: int = 1) -> None:
        self._requests = requests
        failed = requests.failures
        order = sorted((n for n in range(len(requests)) if n not in failed), key=requests.sent.__getitem__)
        self._order = order
        start, end = requests.span()
        busy = math.fsum(v for v in requests.e2el if v == v)
        flying = busy / (end - start) if end > start else 1.0
        self._length = max(math.ceil(len(order) / _MOST_BLOCKS), math.ceil(2 * flying), 1)
        count = len(order) // self._length
        self.count = count if count >= _FEWEST_BLOCKS else 0
        chance = random.Random(seed)  # noqa: S311 - nobody's secret depends on it
        self._draws: list[list[int]] = []
        for _ in range(RESAMPLES if self.count else 0):
            draw = [0] * self.count
            for place in chance.choices(range(self.count), k=self.count):
                draw[place] += 1
            self._draws.append(draw)

    def relative_error(self, base: str, statistic: str) -> float | None:
        """The standard error of a figure, as a part of it; None if that cannot be told.

        ``base``: ``ttft``, ``tpot``, ``e2el`` with ``mean`` or ``p<percentile>``; or ``requests`` or ``tokens`` (per
        second) with no statistic.
        """
        if not self.count:
            return None
        if base in RATES:
            # Bins of time see too much, for what one lacks the next one has; while so many requests are in flight, a rate
            # is off by as much as their mean length is (Little's law). The smaller of the two is the nearer one.
            known = [e for e in (_spread(self._rates(base)), self.relative_error("e2el", "mean")) if e is not None]
            return min(known, default=None)
        if base not in LATENCIES:
            return None
        column = self._requests.column(base)
        length = self._length
        used = self._order[: self.count * length]
        blocks = [[v for n in used[b * length : (b + 1) * length] if (v := column[n]) == v] for b in range(self.count)]
        if not all(blocks):
            return None
        if statistic == "mean":
            return _spread(self._means(blocks))
        if statistic.startswith("p"):
            return _spread(self._quantiles(blocks, float(statistic[1:]) / 100))
        return None

    def _means(self, blocks: Sequence[Sequence[float]]) -> list[float]:
        sums, sizes = [math.fsum(b) for b in blocks], [float(len(b)) for b in blocks]
        return [sum(map(mul, sums, d)) / sum(map(mul, sizes, d)) for d in self._draws]

    def _quantiles(self, blocks: Sequence[Sequence[float]], q: float) -> list[float]:
        """The quantile of each draw, found among candidate values by counting what each block has below them."""
        everything = sorted(v for b in blocks for v in b)
        candidates = _candidates(everything, q)
        ordered = [sorted(b) for b in blocks]
        below = [[bisect_right(b, value) for b in ordered] for value in candidates]
        sizes = [len(b) for b in blocks]
        found = []
        for draw in self._draws:
            wanted = q * sum(map(mul, sizes, draw))
            low, high = 0, len(candidates) - 1
            while low < high:
                middle = (low + high) // 2
                if sum(map(mul, below[middle], draw)) >= wanted:
                    high = middle
                else:
                    low = middle + 1
            found.append(candidates[low])
        return found

    def _rates(self, what: str) -> list[float]:
        requests = self._requests
        start, end = requests.span()
        step = (end - start) / self.count
        bins = [0.0] * self.count
        for n in self._order:
            length = requests.e2el[n]
            done = requests.sent[n] - start + (length if length == length else 0.0)
            tokens = requests.tokens[n] if what == "tokens" else 1.0
            bins[min(int(done / step), self.count - 1)] += tokens if tokens == tokens else 0.0
        return [sum(map(mul, bins, d)) for d in self._draws]


def _candidates(ordered: Sequence[float], q: float) -> list[float]:
    """Values among which the quantile of a draw is looked for: all of them, or many, most of them where it will be."""
    n = len(ordered)
    if n <= _CANDIDATES:
        return sorted(set(ordered))
    half = _CANDIDATES // 2
    near = 20 * math.sqrt(n * q * (1 - q)) + 1
    low, high = max(0.0, q * n - near), min(n - 1.0, q * n + near)
    places = {round(k * (n - 1) / (half - 1)) for k in range(half)}
    places |= {round(low + k * (high - low) / (half - 1)) for k in range(half)}
    return sorted({ordered[p] for p in places})


def _spread(values: Sequence[float]) -> float | None:
    """The standard deviation as a part of the mean."""
    mean = math.fsum(values) / len(values)
    if mean <= 0:
        return None
    return math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1)) / mean


def median(values: Sequence[float]) -> float:
    """The middle one; NaN for none."""
    return quantile(sorted(values), 0.5)
