"""A load as curves: how latencies are distributed, and what happened while it ran."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import evolve

from playbook_plugins.reporters.words import number
from playbook_plugins.stats.faults import Struck
from playbook_plugins.stats.records import LATENCIES, Requests
from playbook_plugins.stats.series import QUANTILES, Timeline, cdf, quantile, timeline

from .charts import Chart, Limit, Series, draw, fault_marks, panels
from .markup import Cell, Content, Html, Row, Table, el

_TITLES = {"ttft": "TTFT", "tpot": "TPOT", "e2el": "E2EL"}
_BINS, _POINTS = 50, 80
MANY = 20
"""Scenarios from which on a page draws each with half the points, so that it stays small."""


def load_charts(requests: Requests, faults: Sequence[Struck] = (), *, many: int = 1) -> list[Html]:
    """The distribution of latencies, and rates over time, with ``faults`` marked; ``many``: scenarios of the page."""
    less = 1 if many < MANY else 2
    parts = [_distribution(requests, _POINTS // less)]
    line = timeline(requests, _BINS // less)
    if line is not None:
        marks = fault_marks(faults, *requests.span())
        parts.append(_over_time(line, marks, failed=bool(requests.failures), digits=2 - less))
    if requests.skipped:
        parts.append(el("p", f"{requests.skipped} records could not be read and are not shown.", class_="note"))
    return parts


def _distribution(requests: Requests, points: int) -> Html:
    curves, columns = [], []
    for n, name in enumerate(LATENCIES):
        ordered = sorted(v * 1000 for v in requests.values(name) if v > 0)
        if not ordered:
            continue
        curves.append(Series(_TITLES[name], cdf(ordered, points), "step", colour=n))
        cells: list[Cell | Content] = [
            Cell(number(quantile(ordered, q)), f"{quantile(ordered, q):.6g}") for q in QUANTILES
        ]
        columns.append([f"{_TITLES[name]} ms", str(len(ordered)), *cells])
    # A column for each latency, because many percentiles beside one another are wider than the chart.
    head, *rows = zip(["percentile", "requests", *(f"p{q * 100:g}" for q in QUANTILES)], *columns, strict=True)
    table = Table("Latency by percentile", [str(h) for h in head], rows, frozenset(range(1, len(head))))
    chart = Chart("Distribution of latency", "ms", "share of requests", curves, log_x=True, top=1.0, height=400)
    return draw(chart, table)


def _over_time(line: Timeline, marks: Sequence[Limit], *, failed: bool, digits: int) -> Html:
    times = [line.at(n) for n in range(len(line.arrivals))]
    end = (times[-1] + line.step / 2) if times else 1.0
    began = [t - line.step / 2 for t in times]
    charts = [
        _panel(
            "Requests per second",
            "1/s",
            end,
            _series("sent", times, line.arrivals, 0),
            _series("done", times, line.finished, 1),
        ),
        _panel("In flight", "requests", end, _series("in flight", began, line.in_flight, 3, "step")),
        _panel("Output tokens per second", "tok/s", end, _series("tokens", times, line.tokens, 2)),
    ]
    if failed:
        charts.append(_panel("Errors", "requests", end, _series("errors", began, line.errors, 4, "step")))
    charts = [evolve(chart, limits=marks, digits=digits) for chart in charts]
    head = ["after s", "sent 1/s", "done 1/s", "in flight", "tok/s", "errors"]
    columns = zip(line.arrivals, line.finished, line.in_flight, line.tokens, line.errors, strict=True)
    rows = [
        [f"{t - line.step / 2:.6g}", *(f"{v:.4g}" for v in values)] for t, values in zip(times, columns, strict=True)
    ]
    table = Table("The load over time", head, rows, frozenset(range(6)))
    return panels("The load over time", charts, table, by_row=True)


def _panel(title: str, unit: str, end: float, *series: Series) -> Chart:
    return Chart(title, "seconds since the first request", unit, series, height=130, span=(0.0, end))


def _series(name: str, times: Sequence[float], values: Sequence[float], colour: int, shape: str = "line") -> Series:
    return Series(name, list(zip(times, values, strict=True)), shape, colour=colour)


def error_table(requests: Requests) -> Table:
    """What went wrong, how often."""
    total = len(requests)
    rows: list[Row] = [
        [what, str(count), Cell(f"{count / total:.2%}", count)] for what, count in requests.errors.most_common(30)
    ]
    return Table("Errors", ["error", "requests", "share"], rows, frozenset({1, 2}))
