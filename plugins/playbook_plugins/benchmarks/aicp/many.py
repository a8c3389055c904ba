"""Several loads in one file: a list, a matrix over any options, one after another or side by side.

``loads``: a list of mappings, each laid over the rest of the file; ``matrix``: options with lists of values, of which every
combination is a load; ``parallel: true``: all at once, for several targets. Each load has a name and results of its own.
"""

from __future__ import annotations

import itertools
import re
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

from .campaign import Campaign
from .options import OptionError
from .outputs import OutputError
from .point import BenchmarkError

KEYS = {"loads": "list of objects", "matrix": "object of lists", "parallel": "true or false"}


@frozen
class Part:
    """One load of several; ``name`` is empty if it is the only one. ``given`` is what a file says about it."""

    name: str
    given: Mapping[str, Any]


def expand(given: Mapping[str, Any]) -> tuple[list[Part], bool]:
    """The loads of a file, and whether they go side by side. Raises OptionError.

    >>> parts, _ = expand({"model": "m", "matrix": {"seed": [1, 2]}})
    >>> [(p.name, p.given["seed"]) for p in parts]
    [('seed-1', 1), ('seed-2', 2)]
    """
    rest = {k: v for k, v in given.items() if k not in KEYS}
    loads, matrix = given.get("loads") or [{}], given.get("matrix") or {}
    problems = []
    if not isinstance(loads, list) or not all(isinstance(load, Mapping) for load in loads):
        problems.append("loads: expected a list of objects")
    if not isinstance(matrix, Mapping) or not all(isinstance(v, list) and v for v in matrix.values()):
        problems.append("matrix: expected an object of lists")
    if not isinstance(given.get("parallel", False), bool):
        problems.append("parallel: expected true or false")
    if problems:
        raise OptionError(problems)
    parts: list[Part] = []
    for number, load in enumerate(loads, 1):
        for values in itertools.product(*matrix.values()):
            point = dict(zip(matrix, values, strict=True))
            named = str(load.get("name") or (f"load-{number}" if len(loads) > 1 else ""))
            name = "-".join(filter(None, [named, *(f"{k}-{v}" for k, v in point.items())]))
            parts.append(Part(_safe(name), {**rest, **{k: v for k, v in load.items() if k != "name"}, **point}))
    names = [p.name for p in parts]
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise OptionError([f"loads: the name {n!r} comes twice" for n in twice])
    return parts, bool(given.get("parallel"))


def _safe(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name)


def run(campaigns: Sequence[Campaign], *, parallel: bool) -> list[str]:
    """Run all; why each that failed did. One that fails does not stop the others."""
    problems: list[str] = []

    def one(campaign: Campaign) -> None:
        name = f"{campaign.name}: " if campaign.name else ""
        try:
            campaign.client.target()
            campaign.run()
        except (BenchmarkError, OutputError) as error:
            problems.append(f"{name}{error}")

    if parallel and len(campaigns) > 1:
        threads = [threading.Thread(target=one, args=(c,), daemon=True) for c in campaigns]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    else:
        for campaign in campaigns:
            if not campaign.stopped:
                one(campaign)
    return problems
