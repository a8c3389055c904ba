"""What the nodes did while a load ran: the samples of the telemetry collector, on the load's clock."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from playbook_kernel.api import TrialResult

from playbook_plugins.stats.samples import SERIES, Samples, load_samples

from .charts import Chart, Series, panels
from .markup import Cell, Content, Html, Table

_POINTS = 120


def telemetry_charts(folder: Path, trial: TrialResult, load: tuple[float, float] | None) -> Iterator[Html]:
    """A drawing for each quantity, a curve for each node or accelerator, on the time of the ``load`` (Unix seconds)."""
    samples = load_samples(folder, trial)
    if not samples.times:
        return
    if load is None or load[1] < samples.times[0] or load[0] > samples.times[-1]:
        load = (samples.times[0], samples.times[-1])  # the load's clock is unknown, or another one
    origin, end = load[0], max(load[1] - load[0], 1.0)
    charts, rows = [], []
    for name, (title, unit) in SERIES.items():
        curves: list[Series] = []
        for source, values in sorted(samples.of(name).items()):
            points = [(t - origin, v) for t, v in zip(samples.times, values, strict=True) if 0 <= t - origin <= end]
            curves.append(Series(source, _thin(points), colour=len(curves)))
            rows.append(_row(source, title, unit, values))
        # A quantity that was zero all the time is told by the table.
        if any(v for curve in curves for _, v in curve.points):
            x = "seconds since the first request"
            charts.append(Chart(title, x, unit, curves[:8], width=400, height=140, span=(0.0, end)))
    head = ["source", "quantity", "unit", "min", "mean", "max", "samples", "gaps"]
    table = Table("Telemetry: each series in figures", head, rows, frozenset({3, 4, 5, 6, 7}))
    yield panels("Telemetry", charts, table, beside=True)


def _thin(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most so many points; each is the largest of those it stands for, so that no peak is lost; gaps stay gaps."""
    every = math.ceil(len(points) / _POINTS)
    groups = [points[n : n + every] for n in range(0, len(points), every)]
    return [max(g, key=lambda p: math.inf if p[1] != p[1] else p[1]) for g in groups]


def _row(source: str, title: str, unit: str, values: Sequence[float]) -> list[Cell | Content]:
    known = [v for v in values if v == v]
    low, high, mean = (min(known), max(known), sum(known) / len(known)) if known else (math.nan,) * 3
    figures = [Cell(Samples.shown(v), f"{v:.6g}") for v in (low, mean, high)]
    return [source, title, unit, *figures, str(len(known)), str(_gaps(values) if known else 0)]


def _gaps(values: Sequence[float]) -> int:
    """How many stretches within the series are not known."""
    known = [v == v for v in values]
    first, last = known.index(True), len(known) - known[::-1].index(True)
    return sum(not b and a for a, b in zip(known[first:last], known[first + 1 : last], strict=False))
