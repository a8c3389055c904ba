"""Requests as curves: a distribution in few points, and what happened second by second."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence

from attrs import field, frozen

from .records import Requests

QUANTILES = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999)


def quantile(ordered: Sequence[float], q: float) -> float:
    """Linear interpolation between the closest ranks of sorted values (numpy's default); NaN for none.

    >>> quantile([1.0, 2.0, 3.0, 4.0], 0.5)
    2.5
    """
    if not ordered:
        return math.nan
    at = (len(ordered) - 1) * q
    low = math.floor(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (at - low)


def cdf(ordered: Sequence[float], points: int = 80) -> list[tuple[float, float]]:
    """``(value, share of requests at or below it)``, with most points where the curve is long: in its tail."""
    if not ordered:
        return []
    n = len(ordered)
    shares = {k / points for k in range(points + 1)} | {0.98, 0.99, 0.995, 0.999, 1.0}
    places = sorted({min(n - 1, max(0, math.ceil(s * n) - 1)) for s in shares})
    return [(ordered[p], (p + 1) / n) for p in places]


@frozen
class Timeline:
    """What happened in each bin of ``step`` seconds, from ``start`` on; ``in_flight`` is as the bin begins."""

    start: float
    step: float
    arrivals: list[float] = field(repr=False)
    finished: list[float] = field(repr=False)
    tokens: list[float] = field(repr=False)
    in_flight: list[float] = field(repr=False)
    errors: list[float] = field(repr=False)

    def at(self, n: int) -> float:
        """Seconds from the start to the middle of a bin."""
        return (n + 0.5) * self.step


_STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600)


def timeline(requests: Requests, bins: int = 100) -> Timeline | None:
    """Rates per second, requests in flight, and errors over the load; None when nothing took any time.

    Tokens are taken to come evenly between a request's first and last one.
    """
    start, end = requests.span()
    if not len(requests) or end <= start:
        return None
    step = _STEPS[min(bisect_left(_STEPS, (end - start) / bins), len(_STEPS) - 1)]
    step = max(step, (end - start) / (4 * bins))
    count = max(1, math.ceil((end - start) / step))
    arrivals, finished, errors = ([0.0] * count for _ in range(3))
    flying = [0.0] * (count + 1)
    # Tokens so far at time t are slope * t - offset + whole, summed over requests; differences of that at the edges
    # of the bins are exact, and cost each request four additions.
    slope, offset, whole = ([0.0] * (count + 1) for _ in range(3))
    failures = requests.failures
    last = count - 1
    for n, (sent, first, length, tokens) in enumerate(
        zip(requests.sent, requests.ttft, requests.e2el, requests.tokens, strict=True)
    ):
        begin = sent - start
        length = length if length == length else 0.0
        close = begin + length
        from_bin, to_bin = min(int(begin / step), last), min(int(close / step), last)
        arrivals[from_bin] += 1
        (errors if n in failures else finished)[to_bin] += 1
        flying[from_bin + 1] += 1
        flying[to_bin + 1] -= 1
        if tokens == tokens and tokens > 0 and n not in failures:
            speak = begin + (first if first == first else 0.0)
            b0, b1 = min(int(speak / step), last) + 1, to_bin + 1
            if close > speak:
                rate = tokens / (close - speak)
                slope[b0] += rate
                offset[b0] += rate * speak
                slope[b1] -= rate
                offset[b1] -= rate * speak
            whole[b1] += tokens
    in_flight, level, produced = [], 0.0, [0.0] * (count + 1)
    a = b = c = 0.0
    for n in range(count + 1):
        level += flying[n]
        a, b, c = a + slope[n], b + offset[n], c + whole[n]
        produced[n] = a * n * step - b + c
        if n < count:
            in_flight.append(level)
    rate_of = [max(0.0, produced[n + 1] - produced[n]) / step for n in range(count)]
    return Timeline(start, step, [v / step for v in arrivals], [v / step for v in finished], rate_of, in_flight, errors)
