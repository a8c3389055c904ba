"""What the nodes did while a load ran: the samples of the telemetry collector, on the load's clock."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from playbook_kernel.api import TrialResult

from playbook_plugins.stats.faults import Struck
from playbook_plugins.stats.samples import SERIES, Points, load_samples, with_gaps

from .charts import Chart, Series, fault_marks, panels
from .markup import Cell, Content, Html, Table

_POINTS = 120


def telemetry_charts(
    folder: Path, trial: TrialResult, load: tuple[float, float] | None, faults: Sequence[Struck] = ()
) -> Iterator[Html]:
    """A drawing for each quantity, a curve for each node or accelerator, on the time of the ``load`` (Unix seconds)."""
    samples = load_samples(folder, trial)
    if not samples:
        return
    first, last = min(p[0][0] for p in samples.values()), max(p[-1][0] for p in samples.values())
    if load is None or load[1] < first or load[0] > last:
        load = (first, last)  # the load's clock is unknown, or another one
    origin, end = load[0], max(load[1] - load[0], 1.0)
    charts, rows, marks = [], [], fault_marks(faults, origin, origin + end)
    for name, (title, unit) in SERIES.items():
        curves: list[Series] = []
        for source, known in sorted((s, p) for (quantity, s), p in samples.items() if quantity == name):
            series = with_gaps(known)
            points = [(t - origin, v) for t, v in series if 0 <= t - origin <= end]
            curves.append(Series(source, _thin(points), colour=len(curves)))
            rows.append(_row(source, title, unit, series))
        # A quantity that was zero all the time is told by the table.
        if any(v for curve in curves for _, v in curve.points):
            x = "seconds since the first request"
            charts.append(Chart(title, x, unit, curves[:8], marks, width=400, height=140, span=(0.0, end)))
    head = ["source", "quantity", "unit", "min", "mean", "max", "samples", "gaps"]
    table = Table("Telemetry: each series in figures", head, rows, frozenset({3, 4, 5, 6, 7}))
    yield panels("Telemetry", charts, table, beside=True)


def _thin(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most so many points; each is the largest of those it stands for, so that no peak is lost; gaps stay gaps."""
    every = math.ceil(len(points) / _POINTS)
    groups = [points[n : n + every] for n in range(0, len(points), every)]
    return [max(g, key=lambda p: math.inf if p[1] != p[1] else p[1]) for g in groups]


def _row(source: str, title: str, unit: str, series: Points) -> list[Cell | Content]:
    known = [v for _, v in series if v == v]
    figures = [Cell(_shown(v), f"{v:.6g}") for v in (min(known), sum(known) / len(known), max(known))]
    return [source, title, unit, *figures, str(len(known)), str(len(series) - len(known))]


def _shown(value: float) -> str:
    return f"{value:.4g}" if abs(value) < 10_000 else f"{value:,.0f}"
