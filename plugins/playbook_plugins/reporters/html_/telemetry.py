"""What the nodes did while a load ran: the samples of the telemetry collector, on the load's clock."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from attrs import evolve, frozen
from playbook_kernel.api import TrialResult

from playbook_plugins.stats.faults import Struck
from playbook_plugins.stats.samples import SERIES, Points, load_samples, with_gaps

from .charts import Chart, Series, fault_marks, panels
from .load import MANY
from .markup import Cell, Content, Html, Table

_POINTS, _FEW_POINTS = 120, 10
_BUDGET = 300
"""Points of all curves of a scenario on a page of many scenarios: what keeps fifty of them below a mebibyte."""
_LINES = 30
"""Lines of a scenario on such a page, from which on sources are drawn as one."""
_CURVES = 8
"""Curves that can be told apart in one drawing: that many colours there are."""
_DRAWINGS: Sequence[tuple[Sequence[str], str]] = (
    *(((name,), "") for name in ("util", "mem_used", "power", "temp")),
    (("running", "waiting"), "Requests in the engine: running, waiting (dashed)"),
    *(((name,), "") for name in ("kv_usage", "prefix_hit_rate", "preemptions", "generated", "cpu", "mem")),
    (("net_rx", "net_tx"), "Network: received, sent (dashed)"),
    (("disk_read", "disk_write"), "Disk: read, written (dashed)"),
)
"""The quantities of each drawing, and its title if there are two."""


@frozen
class Curve:
    """What one curve shows of a quantity: a series, or the mean of ``count`` series between their extremes."""

    quantity: str
    name: str
    points: Points
    band: Sequence[tuple[float, float]] = ()
    count: int = 1


def telemetry_charts(
    folder: Path,
    trial: TrialResult,
    load: tuple[float, float] | None,
    faults: Sequence[Struck] = (),
    *,
    many: int = 1,
) -> Iterator[Html]:
    """A drawing for each quantity, a curve for each source, on the time of the ``load`` (Unix seconds).

    Sources that are too many to be told apart (on a page of ``many`` scenarios: more than two) are drawn as one curve
    for each node, or for all nodes: their mean, in a band from the least to the most.
    """
    samples = load_samples(folder, trial)
    if not samples:
        return
    first, last = min(p[0][0] for p in samples.values()), max(p[-1][0] for p in samples.values())
    x = "seconds since the first request"
    if load is None or load[1] < first or load[0] > last:
        load, x = (first, last), "seconds since the first sample"  # the load's clock is unknown, or another one
    origin, end = load[0], max(load[1] - load[0], 1.0)
    curves, limit = _fitting(samples, many)
    marks, charts = fault_marks(faults, origin, origin + end), []
    for names, both in _DRAWINGS:
        # A quantity that was zero all the time is told by the table.
        shown = [n for n in names if any(v for c in curves[n] for _, v in c.points if v == v)]
        series = [s for n in shown for s in _drawn(curves[n], names.index(n), origin, end, limit, many=len(shown))]
        if shown:
            title, unit = SERIES[shown[0]]
            title = both if len(shown) > 1 else title
            # A drawing of two quantities says in its title which is dashed; its legend names sources only.
            legend = [
                Series(c.name, (), colour=n, dash=0 if len(shown) > 1 else n) for n, c in enumerate(curves[shown[0]])
            ]
            chart = Chart(title, x, unit, series, marks, width=400, height=140, span=(0.0, end), legend=legend)
            charts.append(chart if many < MANY else evolve(chart, digits=0))
    told = [c for own in curves.values() for c in own] if many >= MANY else _alone(samples)
    groups = any(c.count > 1 for own in curves.values() for c in own)
    yield panels("Telemetry", charts, _table(told), beside=True, note=_NOTE if groups else "")


_NOTE = (
    "A name with a number in brackets stands for so many series: the curve is their mean, and its band goes from the "
    "least to the most. Each series is in telemetry.jsonl, among the files kept."
)


def _fitting(samples: Mapping[tuple[str, str], Points], many: int) -> tuple[dict[str, list[Curve]], int]:
    """The curves of each quantity, and how many points one may have at most, so that the page does not get too large."""
    if many < MANY:
        return {name: _curves(name, samples, _CURVES) for name in SERIES}, _POINTS
    for most in (2, 1):
        curves = {name: _curves(name, samples, most) for name in SERIES}
        lines = sum(3 if c.band else 1 for own in curves.values() for c in own)  # a band has two
        if lines <= _LINES:
            break
    return curves, max(_FEW_POINTS, min(_POINTS // 2, _BUDGET // max(1, lines)))


def _alone(samples: Mapping[tuple[str, str], Points]) -> list[Curve]:
    return [Curve(q, s, with_gaps(p)) for name in SERIES for (q, s), p in sorted(samples.items()) if q == name]


def _curves(quantity: str, samples: Mapping[tuple[str, str], Points], most: int) -> list[Curve]:
    """Each series of a quantity, or groups of them if there are more than ``most``."""
    own = {s: p for (q, s), p in sorted(samples.items()) if q == quantity}
    if len(own) <= most:
        return [Curve(quantity, source, with_gaps(points)) for source, points in own.items()]
    nodes: dict[str, list[Points]] = {}
    for source, points in own.items():
        nodes.setdefault(source.partition("/")[0], []).append(points)
    if len(nodes) > most or len(nodes) == len(own):
        nodes = {"all": list(own.values())}
    return [_group(quantity, f"{name} ({len(found)})", found) for name, found in nodes.items()]


def _group(quantity: str, name: str, found: Sequence[Points]) -> Curve:
    """The mean and the extremes of several series, at the times of the longest of them."""
    base = max(found, key=len)
    width = (base[-1][0] - base[0][0]) / max(1, len(base) - 1) or 1.0
    slots: dict[int, list[float]] = {}
    for points in found:
        for t, v in points:
            slots.setdefault(round((t - base[0][0]) / width), []).append(v)
    at = {base[0][0] + n * width: values for n, values in sorted(slots.items())}
    series = with_gaps([(t, sum(v) / len(v)) for t, v in at.items()])
    band = [(min(at[t]), max(at[t])) if v == v else (v, v) for t, v in series]
    return Curve(quantity, name, series, band, len(found))


def _drawn(curves: Sequence[Curve], dash: int, origin: float, end: float, limit: int, *, many: int) -> Iterator[Series]:
    """The curves as they are drawn; ``many``: quantities of the drawing, each of which has a dash of its own."""
    for n, curve in enumerate(curves):
        title = SERIES[curve.quantity][0]
        inside = [k for k, (t, _) in enumerate(curve.points) if 0 <= t - origin <= end]
        points = [(curve.points[k][0] - origin, curve.points[k][1]) for k in inside]
        name = curve.name if many == 1 else f"{curve.name}: {title.removesuffix(' in the engine')}"
        look = n if many == 1 else dash
        if curve.band:
            points, band = _coarse(points, [curve.band[k] for k in inside], limit)
            yield Series(name, points, colour=n, dash=look, band=band)
        else:
            yield Series(name, _thin(points, limit), colour=n, dash=look)


def _groups(points: Sequence[tuple[float, float]], limit: int) -> list[slice]:
    every = max(1, math.ceil(len(points) / limit))
    return [slice(n, n + every) for n in range(0, len(points), every)]


def _thin(points: Sequence[tuple[float, float]], limit: int) -> list[tuple[float, float]]:
    """At most so many points; each is the largest of those it stands for, so that no peak is lost; gaps stay gaps."""
    return [max(points[g], key=lambda p: math.inf if p[1] != p[1] else p[1]) for g in _groups(points, limit)]


def _coarse(
    points: Sequence[tuple[float, float]], band: Sequence[tuple[float, float]], limit: int
) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """At most so many means, each with the extremes of those it stands for; gaps stay gaps."""
    few, around = [], []
    for group in _groups(points, limit):
        values = [v for _, v in points[group]]
        few.append((points[group][len(values) // 2][0], sum(values) / len(values)))
        gap = few[-1][1] != few[-1][1]
        lows, highs = zip(*band[group], strict=True)
        around.append((math.nan, math.nan) if gap else (min(lows), max(highs)))
    return few, around


def _table(curves: Sequence[Curve]) -> Table:
    head = ["source", "quantity", "unit", "min", "mean", "max", "samples", "gaps"]
    return Table("Telemetry: each series in figures", head, [_row(c) for c in curves], frozenset({3, 4, 5, 6, 7}))


def _row(curve: Curve) -> list[Cell | Content]:
    title, unit = SERIES[curve.quantity]
    known = [v for _, v in curve.points if v == v]
    low = [b for b, _ in curve.band if b == b] or known
    high = [b for _, b in curve.band if b == b] or known
    figures = [Cell(_shown(v), f"{v:.6g}") for v in (min(low), sum(known) / len(known), max(high))]
    return [curve.name, title, unit, *figures, str(len(known)), str(len(curve.points) - len(known))]


def _shown(value: float) -> str:
    return f"{value:.4g}" if abs(value) < 10_000 else f"{value:,.0f}"
