"""``faults`` of a scenario: what is to be broken, when, and for how long."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from playbook_kernel.api import DriverRef, FaultPlan, Problems

from playbook_plugins.text import Document, Key, dotted

_TIME = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|min|h)?")
_SCALE: Mapping[str | None, float] = {None: 1.0, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_COUNT = re.compile(r"(\d+)\s*requests?")
_SHARE = re.compile(r"(\d+(?:\.\d+)?)\s*%")
_OWN = ("type", "at", "for")


def seconds(value: object) -> float | None:
    """A time in seconds; None if it is none.

    >>> seconds("30s"), seconds(1.5), seconds("2 min"), seconds("soon")
    (30.0, 1.5, 120.0, None)
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value) if value >= 0 else None
    match = _TIME.fullmatch(value.strip()) if isinstance(value, str) else None
    return float(match[1]) * _SCALE[match[2]] if match else None


def plans(raw: Sequence[Mapping[str, Any]], document: Document, problems: Problems) -> tuple[FaultPlan, ...]:
    """What the file asks for; whatever is wrong with an entry goes to ``problems``."""
    found = [_plan(entry, ("faults", index), document, problems) for index, entry in enumerate(raw)]
    return tuple(plan for plan in found if plan is not None)


def _plan(entry: Mapping[str, Any], where: tuple[Key, ...], document: Document, problems: Problems) -> FaultPlan | None:
    def wrong(key: str, message: str, hint: str = "") -> None:
        place = (*where, key) if key in entry else where
        problems.add(document.file, document.line(*place), dotted(place), message, hint)

    before = len(problems.items)
    kind, at, lasts = entry.get("type"), entry.get("at"), entry.get("for")
    if not isinstance(kind, str) or not kind:
        wrong("type", "a fault needs a type", "kill, stop, pause, restart, cut, delay, limit or fill-disk")
    count = _COUNT.fullmatch(at.strip()) if isinstance(at, str) else None
    share = _SHARE.fullmatch(at.strip()) if isinstance(at, str) else None
    moment = seconds(at)
    if at is None:
        wrong("at", "a fault needs to know when", "at: 30s, at: 200 requests or at: 50%")
    elif moment is None and count is None and share is None:
        wrong("at", f"{at!r} is no moment", "30s after the load began, 200 requests, or 50% of them")
    elif share is not None and float(share[1]) >= 100:
        wrong("at", f"{at!r} is no moment: the load is over then")
    lasting = seconds(lasts)
    if lasts is not None and not lasting:
        wrong("for", f"{lasts!r} is no time", "10s; without `for` it lasts until the load has ended")
    if len(problems.items) > before:
        return None
    options = {k: v for k, v in entry.items() if k not in _OWN and v is not None}
    return FaultPlan(
        DriverRef(str(kind), options, document.origin(*where)),
        at=moment,
        requests=int(count[1]) if count else None,
        share=float(share[1]) / 100 if share else None,
        lasts=lasting,
    )
