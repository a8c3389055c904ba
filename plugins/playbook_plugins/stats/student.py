"""Student's t, for intervals from few repeats."""

from __future__ import annotations

import functools
import math
from statistics import NormalDist


@functools.cache
def t_quantile(p: float, df: float) -> float:
    """The quantile ``p`` (0.5 to 1) of Student's t with ``df`` degrees of freedom.

    >>> [round(t_quantile(0.975, df), 3) for df in (1, 4, 8, 1000)]
    [12.706, 2.776, 2.306, 1.962]
    """
    if df >= 1e6:
        return NormalDist().inv_cdf(p)
    low, high = 0.0, 2.0
    while t_cdf(high, df) < p:
        low, high = high, high * 2
    for _ in range(80):
        middle = (low + high) / 2
        if t_cdf(middle, df) < p:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def t_cdf(t: float, df: float) -> float:
    """The probability of a value up to ``t`` (not negative)."""
    return 1 - 0.5 * _beta(df / 2, 0.5, df / (df + t * t))


def _beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function, by its continued fraction (Lentz)."""
    if x <= 0 or x >= 1:
        return min(max(x, 0.0), 1.0)
    if x > (a + 1) / (a + b + 2):
        return 1 - _beta(b, a, 1 - x)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)) / a
    tiny = 1e-300
    c, d, f = 1.0, 1 - (a + b) * x / (a + 1), 1.0
    d = 1 / (d or tiny)
    f = d
    for m in range(1, 300):
        for top in (m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
                    -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))):  # fmt: skip
            d = 1 / ((1 + top * d) or tiny)
            c = (1 + top / c) or tiny
            f *= c * d
        if abs(c * d - 1) < 1e-14:
            break
    return front * f
