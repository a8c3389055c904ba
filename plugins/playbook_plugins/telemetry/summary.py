"""Samples in figures: least, mean and most of each series, and the energy that the accelerators took."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

from playbook_kernel.api import Measurement, Metric

from playbook_plugins.stats.metrics import THROUGHPUT, find, in_base_unit
from playbook_plugins.stats.samples import SERIES, sample

Series = dict[tuple[str, str], list[tuple[float, float]]]
_GAP = 15.0  # npu-smi and rocm-smi are asked every ten seconds
_TOKENS = ("total_output_tokens", "output_tokens", "total_output")


def load(path: Path) -> Series:
    """The samples of a file, as ``(time, value)`` by quantity and source; lines that are none are passed over."""
    found: Series = {}
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            for row in filter(None, map(sample, file)):
                for name in SERIES.keys() & row.keys():
                    value = row[name]
                    if isinstance(value, (int, float)) and math.isfinite(value):
                        found.setdefault((name, str(row.get("source", ""))), []).append((float(row["t"]), float(value)))
    except OSError:
        pass
    return {key: sorted(points) for key, points in found.items()}


def summary(series: Series) -> list[dict[str, Any]]:
    """A row for each series."""
    rows = []
    for (name, source), points in sorted(series.items()):
        values = [v for _, v in points]
        row = {"source": source, "quantity": name, "unit": SERIES[name][1], "min": min(values)}
        rows.append({**row, "mean": round(sum(values) / len(values), 4), "max": max(values), "samples": len(values)})
    return rows


def energy(series: Series) -> tuple[float, float] | None:
    """Joules of all accelerators together, and their mean power in watts; None if no power is known.

    Between two samples power is taken to go straight from one to the other; nothing is counted across a gap.
    """
    joules = watts = 0.0
    seen = False
    for (name, _), points in series.items():
        if name != "power":
            continue
        pairs = [(a, b) for a, b in itertools.pairwise(points) if b[0] - a[0] <= _GAP]
        span = sum(b[0] - a[0] for a, b in pairs)
        if span > 0:
            own = sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in pairs)
            joules, watts, seen = joules + own, watts + own / span, True
    return (joules, watts) if seen else None


def figures(path: Path, measured: Measurement) -> dict[str, Metric]:
    """What goes among the metrics of the measurement."""
    series = load(path)
    found: dict[str, Metric] = {}
    taken = energy(series)
    if taken is not None:
        count = sum(len(points) for (name, _), points in series.items() if name == "power")
        found["accelerator_power_mean"] = Metric(round(taken[1], 3), "W", count)
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
