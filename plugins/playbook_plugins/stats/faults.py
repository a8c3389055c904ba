"""What a fault cost: goodput before it, how far it fell, errors, and how long until all was as before."""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attrs import fields, frozen

from .records import Requests

FILE = "faults.json"
RECOVERED = 0.9
"""The share of the goodput before a fault that counts as having recovered."""
_STEPS = 20
_UNIX = 1e8


@frozen
class Struck:
    """A fault as it was made. Unix seconds: ``struck``, as it began; ``settled``, when that was seen; ``ended``.

    ``when``: what had been asked for. ``healed``: it ended while the load went on; else it was left until the end.
    """

    fault: str
    index: int
    what: str
    node: str
    service: str
    when: str
    struck: float
    settled: float
    ended: float | None = None
    healed: bool = False


@frozen
class Impact:
    """What the requests say of a fault. Goodput: output tokens of requests that succeeded, or such requests, per second.

    ``before``: in the load up to the fault, without its first fifth. ``lowest``: in the worst stretch of ``window`` seconds
    after it; ``dip``: by which share that is less. ``errors``: requests that were in flight or sent after it and failed, until
    it had recovered. ``lost``: what was not done in that time. ``recovery``: seconds from the fault until goodput reached, and
    kept for a window, ``RECOVERED`` of what it was; None: not before the load ended.
    """

    before: float
    lowest: float
    dip: float
    errors: int
    lost: float
    recovery: float | None
    window: float
    unit: str


def load_faults(folder: Path) -> list[Struck]:
    """The faults of a trial by its folder; none if there were none, or the file cannot be read."""
    try:
        said: Any = json.loads((folder / FILE).read_text(encoding="utf-8"))
        known = {f.name for f in fields(Struck)}
        return [Struck(**{k: v for k, v in one.items() if k in known}) for one in said["faults"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []


def impact(requests: Requests, faults: Sequence[Struck]) -> Impact | None:
    """What faults that struck together cost; None if the requests do not tell: another clock, or too few before or after."""
    if not faults or not len(requests):
        return None
    start, end = requests.span()
    struck, last = min(f.struck for f in faults), max(requests.sent)
    if start < _UNIX or not start < struck < last:
        return None
    done, unit = _finished(requests)
    window = max((last - start) / _STEPS, 4 * (last - start) / max(1, len(requests)), 0.1)
    ramp = start + (struck - start) / 5
    before = sum(v for t, v in done if ramp <= t < struck) / (struck - ramp)
    if before <= 0 or last - struck < window:
        return None
    # A window begins at every fifth of its length; those that reach beyond the last sending show the load's own end.
    count = math.floor((last - struck - window) / (window / 5)) + 1
    starts = [struck + n * window / 5 for n in range(count)]
    rates = [sum(v for t, v in done if s <= t < s + window) / window for s in starts]
    lowest = min(rates)
    fell = next((n for n, r in enumerate(rates) if r < RECOVERED * before), None)
    recovery: float | None = 0.0
    if fell is not None:
        back = next((n for n in range(rates.index(lowest), count) if rates[n] >= RECOVERED * before), None)
        recovery = None if back is None else starts[back] - struck
    until = end if recovery is None else struck + recovery
    errors = sum(
        1
        for n in requests.failures
        if requests.sent[n] + (requests.e2el[n] if requests.e2el[n] == requests.e2el[n] else 0.0) >= struck
        and requests.sent[n] <= until
    )
    stretch = min(until, last) - struck
    lost = max(0.0, before * stretch - sum(v for t, v in done if struck <= t < struck + stretch))
    return Impact(before, lowest, max(0.0, 1 - lowest / before), errors, lost, recovery, window, unit)


def _finished(requests: Requests) -> tuple[list[tuple[float, float]], str]:
    """When each successful request ended, and what it is worth; and the unit of goodput."""
    good = [n for n in range(len(requests)) if n not in requests.failures and requests.e2el[n] == requests.e2el[n]]
    tokens = all(requests.tokens[n] > 0 for n in good)
    worth = [requests.tokens[n] if tokens else 1.0 for n in good]
    ends = [requests.sent[n] + requests.e2el[n] for n in good]
    return sorted(zip(ends, worth, strict=True)), "tok/s" if tokens else "req/s"


def told(requests: Requests | None, faults: Sequence[Struck]) -> list[list[str]]:
    """A row for each fault of a trial, for people: what ``HEAD`` names."""
    rows = []
    start = requests.span()[0] if requests is not None and requests.span()[0] > _UNIX else None
    for one in faults:
        cost = impact(requests, [f for f in faults if f.index == one.index]) if requests is not None else None
        at = dt.datetime.fromtimestamp(one.struck, dt.UTC).strftime("%H:%M:%S.%f")[:-3]
        after = "" if start is None else f" ({one.struck - start:.1f} s into the load)"
        lasted = "" if one.ended is None else f"{one.ended - one.struck:.1f} s"
        row = [
            f"{one.index + 1}: {one.what}",
            f"{at} UTC{after}",
            lasted if one.healed else f"{lasted}, to the end".lstrip(", "),
        ]
        if cost is None:
            rows.append([*row, "", "", "", "", ""])
            continue
        back = "not before the end of the load" if cost.recovery is None else f"{cost.recovery:.1f} s"
        dip = f"{cost.lowest:.4g} {cost.unit} (-{cost.dip:.0%})"
        lost = f"{cost.lost:.4g} {cost.unit.removesuffix('/s')}"
        rows.append([*row, f"{cost.before:.4g} {cost.unit}", dip, lost, str(cost.errors), back])
    return rows


HEAD = ("fault", "struck", "lasted", "goodput before", "lowest", "lost", "errors", "back to 90% after")
