"""A metric over all runs, drawn in the terminal or as a page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from attrs import frozen
from playbook_kernel.api import ConfigError, redact

from playbook_plugins.reporters.html_.charts import Chart, Series, draw
from playbook_plugins.reporters.html_.markup import Cell, Row, Table, el
from playbook_plugins.reporters.html_.page import shell
from playbook_plugins.reporters.words import number
from playbook_plugins.stats import runs
from playbook_plugins.stats.metrics import find


@frozen
class Point:
    """What one run measured; ``values``: one a repeat, none if the scenario did not complete (``status`` says how)."""

    run: str
    started: str
    status: str
    values: tuple[float, ...]

    @property
    def value(self) -> float:
        """The mean of the repeats; NaN if there are none."""
        return math.fsum(self.values) / len(self.values) if self.values else math.nan


@frozen
class Trend:
    """The points of a scenario's metric, oldest first. ``unreadable``: runs whose record is none."""

    scenario: str
    metric: str
    unit: str
    points: tuple[Point, ...]
    unreadable: tuple[str, ...] = ()


def trend(results: Path, scenario: str, metric: str) -> Trend:
    """Read it out of every run. Raises ConfigError if no run has the scenario, or none of them the metric."""
    points, unit, shown, seen, metrics, bad = [], "1", metric, set[str](), set[str](), []
    for name in runs.names(results):
        try:
            result = runs.load(results / name)
        except ConfigError:
            bad.append(name)
            continue
        seen |= {s.scenario for s in result.scenarios}
        verdict = next((s.status for s in result.scenarios if s.scenario == scenario), None)
        if verdict is None:
            continue
        values = []
        for trial in runs.completed(result, scenario):
            measured = trial.measurement
            assert measured is not None
            metrics |= set(measured.metrics)
            if key := find(measured.metrics, metric):
                values.append(measured.metrics[key].value)
                unit, shown = measured.metrics[key].unit, key
        points.append(Point(name, result.started, verdict, tuple(values)))
    if not points:
        raise ConfigError(
            [f"no run has a scenario {scenario!r}"], hint=f"there are {', '.join(sorted(seen)) or 'none'}"
        )
    if not any(p.values for p in points):
        known = ", ".join(sorted(metrics)) or "none: it never completed"
        raise ConfigError([f"no run of {scenario} has a metric {metric!r}"], hint=f"there are {known}")
    return Trend(scenario, shown, unit, tuple(points), tuple(bad))


def plot(values: Sequence[float], *, width: int = 72, height: int = 12) -> list[str]:
    r"""Points in a box of text, oldest to the left; several runs share a column if there are more runs than columns.

    >>> print("\n".join(plot([1.0, 2.0, 3.0], width=5, height=3)))
    3 ┤  •
    2 ┤ •
    1 ┤•
    """
    known = [v for v in values if v == v]
    low, high = min(known), max(known)
    if low == high:
        low, high = (low - 1, high + 1) if low == 0 else (low - abs(low) * 0.05, high + abs(high) * 0.05)
    columns = min(width, len(values))
    grid = [[" "] * columns for _ in range(height)]
    for n, value in enumerate(values):
        column = n * columns // len(values)
        if value != value:
            if grid[height - 1][column] == " ":
                grid[height - 1][column] = "✗"
            continue
        row = height - 1 - round((value - low) / (high - low) * (height - 1))
        grid[row][column] = "•"
    labels = {0: number(high), height // 2: number(low + (high - low) * (height - 1 - height // 2) / (height - 1))}
    labels[height - 1] = number(low)
    margin = max(len(t) for t in labels.values())
    return [
        f"{labels.get(n, ''):>{margin}} {'┤' if n in labels else '│'}{''.join(r).rstrip()}" for n, r in enumerate(grid)
    ]


def _runs(found: Trend) -> str:
    return f"{len(found.points)} run{'' if len(found.points) == 1 else 's'}"


def as_text(found: Trend, *, width: int = 72) -> str:
    """The plot, and the last runs in figures."""
    unit = "" if found.unit == "1" else f" ({found.unit})"
    lines = [f"{found.scenario}: {found.metric}{unit}, {_runs(found)}, oldest to the left", ""]
    lines += plot([p.value for p in found.points], width=width)
    if any(not p.values for p in found.points):
        lines.append("✗ did not complete, or did not measure it")
    lines.append("")
    before = math.nan
    rows = []
    for p in found.points:
        change = f"{p.value / before - 1:+.1%}" if before == before and before and p.value == p.value else ""
        rows.append((p.run, number(p.value) if p.values else p.status, change))
        before = p.value if p.value == p.value else before
    last = rows[-10:]
    name, value, more = (max(len(row[n]) for row in last) for n in range(3))
    lines += [f"{run:<{name}}  {shown:>{value}}  {change:>{more}}".rstrip() for run, shown, change in last]
    lines += [f"not readable: {name}" for name in found.unreadable]
    return redact("\n".join(lines))


def as_html(found: Trend) -> str:
    """A page with the curve and its table."""
    title = f"{found.metric} of {found.scenario}"
    points = [(float(n), p.value) for n, p in enumerate(found.points, 1)]
    rows: list[Row] = [
        [
            p.run,
            p.started,
            p.status,
            Cell(number(p.value) if p.values else "", p.value if p.values else ""),
            str(len(p.values)),
        ]
        for p in found.points
    ]
    table = Table("Runs, oldest first", ["run", "started", "status", found.metric, "repeats"], rows, frozenset({3, 4}))
    dots = Series(
        "",
        [p for p in points if p[1] == p[1]],
        "dots",
        [p.run for p in found.points if p.values],
        colour=0,
        named=False,
    )
    curve = Series(found.metric, points)
    chart = Chart(
        title,
        "run, oldest first",
        found.unit if found.unit != "1" else "value",
        [curve, dots],
        width=1180,
        height=360,
        whole_x=True,
    )
    header = el("header", el("div", el("h1", title), class_="bar1"))
    section = el("section", el("h2", _runs(found)), draw(chart, table), class_="wide")
    return redact(shell(title, header, [section]))
