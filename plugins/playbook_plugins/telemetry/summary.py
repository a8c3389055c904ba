"""Samples in figures: least, mean and most of each series, and the energy that the accelerators took."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from playbook_kernel.api import Measurement, Metric

from playbook_plugins.stats.metrics import THROUGHPUT, find, in_base_unit
from playbook_plugins.stats.samples import SERIES, Series, load, longest

_KNOWN = 0.95
_TOKENS = ("total_output_tokens", "output_tokens", "total_output")


def summary(series: Series) -> list[dict[str, Any]]:
    """A row for each series."""
    rows = []
    for (name, source), points in sorted(series.items()):
        values = [v for _, v in points]
        row = {"source": source, "quantity": name, "unit": SERIES[name][1], "min": min(values)}
        rows.append({**row, "mean": round(sum(values) / len(values), 4), "max": max(values), "samples": len(values)})
    return rows


def energy(series: Series) -> tuple[float | None, float] | None:
    """Joules of all accelerators together, and their mean power in watts; None if no power is known.

    Power is taken to go straight from one sample to the next, and before the first and after the last, while sampling
    went on, to be the mean. Of a gap nothing is known: joules are None where gaps are more than a twentieth of the time.
    """
    watts = 0.0
    known = []
    begin = min((points[0][0] for points in series.values()), default=0.0)
    end = max((points[-1][0] for points in series.values()), default=0.0)
    for (name, _), points in series.items():
        if name != "power":
            continue
        limit = longest(points)
        pairs = [(a, b) for a, b in itertools.pairwise(points) if b[0] - a[0] <= limit]
        if span := sum(b[0] - a[0] for a, b in pairs):
            watts += sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in pairs) / span
            known.append(span + sum(e for e in (points[0][0] - begin, end - points[-1][0]) if e <= limit))
    if not known:
        return None
    return (watts * (end - begin) if min(known) >= _KNOWN * (end - begin) else None, watts)


def figures(path: Path, measured: Measurement) -> dict[str, Metric]:
    """What goes among the metrics of the measurement."""
    series = load(path)
    found: dict[str, Metric] = {}
    taken = energy(series)
    if taken is not None:
        count = sum(len(points) for (name, _), points in series.items() if name == "power")
        found["accelerator_power_mean"] = Metric(round(taken[1], 3), "W", count)
    if taken is not None and taken[0] is not None:
        found["accelerator_energy"] = Metric(round(taken[0], 3), "J", count)
        if tokens := _tokens(measured):
            found["joules_per_output_token"] = Metric(round(taken[0] / tokens, 6), "J", count)
    return {k: v for k, v in found.items() if k not in measured.metrics}


def _tokens(measured: Measurement) -> float:
    """How many tokens the engines gave, as the benchmark says, or its rate and duration; 0 if it says neither."""
    metrics = measured.metrics
    if name := find(metrics, *_TOKENS):
        return metrics[name].value
    rate, length = find(metrics, *THROUGHPUT), find(metrics, "duration_s", "duration", "benchmark_duration")
    if rate is None or length is None:
        return 0.0
    return metrics[rate].value * in_base_unit(metrics[length].value, metrics[length].unit)
