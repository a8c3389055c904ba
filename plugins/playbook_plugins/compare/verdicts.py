"""From repeats to a verdict, and how many repeats would allow one.

The difference is taken between logarithms, so that it is a ratio with an interval that fits one. Its spread is the larger
of two: what repeats differ by, and what chance within a run allows (block bootstrap). With one run on either side nobody
knows what repeats differ by; an assumed spread (``Settings.assumed``) stands in for it, and the verdict says so.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Literal

from attrs import frozen

from playbook_plugins.stats.metrics import direction
from playbook_plugins.stats.student import t_quantile

from .observed import Repeat

Word = Literal["better", "worse", "same", "cannot tell", "differs"]
MOST_REPEATS = 100
_TAIL = re.compile(r"_(?:p9\d(?:\.\d+)?|max)(?:_|$)")
TAILS = 3
"""So many times more do tails differ between runs than means do: they stand on few requests, and on the worst moments."""
_PROBABLY = 0.8
"""How often the number of repeats that is advised would be enough."""


@frozen
class Settings:
    """``confidence`` of the intervals. ``margin``: a relative difference that does not matter.

    ``assumed``: the relative spread between runs that is taken for granted while there is one run a side; of tails
    (p90 and beyond, maxima) TAILS times as much.
    """

    confidence: float = 0.95
    margin: float = 0.02
    assumed: float = 0.05


@frozen
class Difference:
    """``change``, ``low`` and ``high`` are relative (0.05: five percent more) unless ``absolute``.

    ``repeats_needed``: how many a side would probably decide it, 101 if it takes more than 100; 0: it is decided.
    """

    metric: str
    unit: str
    before: float
    after: float
    change: float
    low: float
    high: float
    verdict: Word
    repeats: tuple[int, int]
    repeats_needed: int = 0
    absolute: bool = False
    note: str = ""

    @property
    def advice(self) -> str:
        """``repeats_needed`` in words; empty if it is decided."""
        return f"over {MOST_REPEATS}" if self.repeats_needed > MOST_REPEATS else str(self.repeats_needed or "")

    @property
    def real(self) -> bool:
        """Whether chance alone would hardly have made it."""
        return self.low > 0 or self.high < 0


def difference(
    metric: str, unit: str, before: Sequence[Repeat], after: Sequence[Repeat], settings: Settings
) -> Difference | None:
    """Compare the repeats of a metric; None if there is nothing on one side."""
    if not before or not after:
        return None
    sides = (before, after)
    absolute = any(r.value <= 0 for side in sides for r in side)
    values = [[r.value if absolute else math.log(r.value) for r in side] for side in sides]
    means = [math.fsum(v) / len(v) for v in values]
    df = len(before) + len(after) - 2
    note = ""
    within = [_within(side, absolute=absolute) for side in sides]
    if df > 0:
        squares = math.fsum((v - m) ** 2 for side, m in zip(values, means, strict=True) for v in side)
        variances = [max(squares / df, w) for w in within]
    else:
        df = 30
        scale = max(abs(m) for m in means) if absolute else 1.0
        assumed = settings.assumed * (TAILS if _TAIL.search(metric) else 1)
        variances = [w + (assumed * scale) ** 2 for w in within]
        note = f"one run a side: {assumed:.0%} between runs is assumed"
    error = math.sqrt(variances[0] / len(before) + variances[1] / len(after))
    change = means[1] - means[0]
    reach = t_quantile((1 + settings.confidence) / 2, df) * error
    low, high = change - reach, change + reach
    margin = settings.margin * (abs(means[0]) if absolute else 1.0)
    word = _verdict(low, high, margin, metric, unit)
    many = (len(before), len(after))
    spread = math.sqrt(sum(variances) / 2)
    needed = _needed(change, spread, margin, settings.confidence, max(many)) if word == "cannot tell" else 0
    shown = (change, low, high) if absolute else tuple(math.expm1(v) for v in (change, low, high))
    typical = [m if absolute else math.exp(m) for m in means]
    return Difference(
        metric, unit, typical[0], typical[1], shown[0], shown[1], shown[2], word, many, needed, absolute, note,
    )  # fmt: skip


def _within(side: Sequence[Repeat], *, absolute: bool) -> float:
    """The variance that chance within a run gives its value, on average over the repeats."""
    known = [(r.error * (abs(r.value) if absolute else 1.0)) ** 2 for r in side if r.error is not None]
    return math.fsum(known) / len(known) if known else 0.0


def _verdict(low: float, high: float, margin: float, metric: str, unit: str) -> Word:
    if -margin <= low and high <= margin:
        return "same"
    if low <= 0 <= high:
        return "cannot tell"
    way = direction(metric, unit)
    if way == "neither":
        return "differs"
    return "better" if (low > 0) == (way == "higher") else "worse"


def _needed(change: float, spread: float, margin: float, confidence: float, had: int) -> int:
    """Repeats a side whose interval would probably leave out zero, or lie within the margin, if the difference is as it seems.

    More than those that were ``had``, for they have not decided it; one more than MOST_REPEATS if not even so many would.
    """
    for repeats in range(had + 1, MOST_REPEATS + 1):
        df = 2 * repeats - 2
        reach = (t_quantile((1 + confidence) / 2, df) + t_quantile(_PROBABLY, df)) * spread * math.sqrt(2 / repeats)
        if reach < abs(change) or abs(change) + reach <= margin:
            return repeats
    return MOST_REPEATS + 1


def share_difference(
    metric: str, before: tuple[int, int], after: tuple[int, int], settings: Settings, repeats: tuple[int, int]
) -> Difference:
    """Compare shares (how many, of how many), such as of failed requests: an absolute difference (Agresti and Caffo)."""
    z = t_quantile((1 + settings.confidence) / 2, 1e9)
    raw = [k / n if n else 0.0 for k, n in (before, after)]
    eased = [((k + 1) / (n + 2), n + 2) for k, n in (before, after)]
    change = raw[1] - raw[0]
    middle = eased[1][0] - eased[0][0]
    reach = z * math.sqrt(sum(p * (1 - p) / n for p, n in eased))
    # Easing pulls towards one half, so that an interval of two shares of zero would not hold zero if cut too finely.
    low, high = min(middle - reach, change), max(middle + reach, change)
    if before[0] == after[0] == 0:
        word: Word = "same"
        low = high = 0.0
    else:
        word = "worse" if low > 0 else "better" if high < 0 else "same" if max(-low, high) <= 0.001 else "cannot tell"
    needed = 0
    if word == "cannot tell":  # as if each repeat had as many as those that there are, on average
        spread = math.sqrt(sum(p * (1 - p) / n * r for (p, n), r in zip(eased, repeats, strict=True)) / 2)
        needed = _needed(change, spread, 0.001, settings.confidence, max(repeats))
    return Difference(metric, "%", raw[0], raw[1], change, low, high, word, repeats, needed, absolute=True)
