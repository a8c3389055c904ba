"""Throughput against latency: a dot for each trial, or a curve for each scenario that measured several load levels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen
from playbook_kernel.api import CampaignResult, TrialResult

from playbook_plugins.reporters.words import number
from playbook_plugins.stats.metrics import REQUEST_RATE, THROUGHPUT, find
from playbook_plugins.stats.records import load_points

from .charts import Chart, Limit, Series, draw
from .markup import Cell, Html, Row, Table

_FAR = 4.0
"""How many times the largest value a limit may be, and the values can still be told apart below it."""


@frozen
class Place:
    """One measurement: its speed, and the TTFT of a typical and of a slow request in ms."""

    scenario: str
    label: str
    speed: float
    typical: float
    slow: float


def tradeoff(result: CampaignResult) -> Html | None:
    """The chart; None with fewer than two measurements to draw."""
    trials = [
        (s.scenario, t)
        for s in result.scenarios
        for t in s.trials
        if t.status == "completed" and t.measurement is not None
    ]
    unit, places = "output tok/s", [p for name, t in trials for p in _places(name, t, THROUGHPUT)]
    if len(places) < 2:
        unit, places = "requests/s", [p for name, t in trials for p in _places(name, t, REQUEST_RATE)]
    if len(places) < 2:
        return None
    rows: list[Row] = [
        [p.scenario, p.label, *(Cell(number(v), f"{v:.6g}") for v in (p.speed, p.typical, p.slow))] for p in places
    ]
    head = ["scenario", "load", unit, "TTFT p50 ms", "TTFT p99 ms"]
    table = Table("Throughput and latency of each measurement", head, rows, frozenset({2, 3, 4}))
    series: list[Series] = []
    by_scenario: dict[str, list[Place]] = {}
    for place in places:
        by_scenario.setdefault(place.scenario, []).append(place)
    curves = {name: own for name, own in by_scenario.items() if len(own) > 1}
    for n, (name, own) in enumerate(curves.items()):
        points = sorted((p.speed, p.slow) for p in own)
        labels = [f"{name}, {p.label}" for p in sorted(own, key=lambda p: (p.speed, p.slow))]
        series += [Series(name, points, colour=n), Series("", points, "dots", labels, colour=n, named=False)]
    alone = [p for name, own in by_scenario.items() if name not in curves for p in own]
    if alone:
        names = [p.scenario for p in alone]
        series.append(Series("", [(p.speed, p.slow) for p in alone], "dots", names, colour=len(curves)))
    wanted, reach = slo_limits([t for _, t in trials], "ttft"), _FAR * max(p.slow for p in places)
    limits = [Limit(v, f"SLO {v:g} ms") for v in wanted if v <= reach]
    far = ", ".join(f"{v:g} ms" for v in wanted if v > reach)
    title = "TTFT p99 against throughput" + (f" (SLO {far}: far above)" if far else "")
    chart = Chart(title, unit, "TTFT p99 (ms)", series, limits, width=880, height=320)
    return draw(chart, table)


def _places(scenario: str, trial: TrialResult, names: Sequence[str]) -> list[Place]:
    found = [p for point in load_points(trial) if (p := _of_point(scenario, point, names)) is not None]
    if found:
        return found
    metrics = trial.measurement.metrics if trial.measurement else {}
    speed, first, worst = find(metrics, *names), find(metrics, "ttft_p50_ms"), find(metrics, "ttft_p99_ms")
    if speed is None or worst is None:
        return []
    typical = metrics[first or worst].value
    return [Place(scenario, "", metrics[speed].value, typical, metrics[worst].value)]


def _of_point(scenario: str, point: Mapping[str, Any], names: Sequence[str]) -> Place | None:
    rates, metrics = point.get("rates"), point.get("metrics")
    ttft = metrics.get("ttft") if isinstance(metrics, Mapping) else None
    if not isinstance(rates, Mapping) or not isinstance(ttft, Mapping):
        return None
    key = "output_tokens_per_second" if names is THROUGHPUT else "requests_per_second"
    values = (rates.get(key), ttft.get("p50"), ttft.get("p99"))
    if not all(isinstance(v, (int, float)) for v in values):
        return None
    asked = (("concurrency", point.get("concurrency")), ("rate", point.get("request_rate")))
    label = ", ".join(f"{name} {v}" for name, v in asked if v not in (None, "inf", 0))
    return Place(scenario, label, *(float(v) for v in values if v is not None))


def slo_limits(trials: Sequence[TrialResult], latency: str) -> list[float]:
    """The limits, in ms, that the trials were given for a latency, as the tool's own output has them."""
    found: set[float] = set()
    for trial in trials:
        raw: Mapping[str, Any] = trial.measurement.raw if trial.measurement else {}
        for key in ("slo", "slos", "goodput"):
            limits = raw.get(key)
            if isinstance(limits, Mapping):
                found |= {v for k, value in limits.items() if (v := _limit(k, value, latency))}
        for point in load_points(trial):
            goodput = point.get("goodput")
            for slo in goodput.get("slos", ()) if isinstance(goodput, Mapping) else ():
                if isinstance(slo, Mapping) and (v := _limit(slo.get("metric"), slo.get("limit"), latency)):
                    found.add(v)
    return sorted(found)


def _limit(name: Any, value: Any, latency: str) -> float:
    known = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if known and latency in str(name).lower() else 0.0
