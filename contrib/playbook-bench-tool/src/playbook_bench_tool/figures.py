"""Figures of other tools under our names, in our units, with what each tool means by them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from playbook_kernel.api import Measurement, Metric

_STATISTICS = {"mean": "mean", "median": "p50", "std": "std", "avg": "mean", "max": "max", "min": "min"}
_FLAT = re.compile(r"(mean|median|std|max|p\d+(?:\.\d+)?)_(\w+)_ms")


def statistic(name: str) -> str:
    """A statistic as our metrics name it.

    >>> statistic("median"), statistic("p99.9"), statistic("p99")
    ('p50', 'p99.9', 'p99')
    """
    return _STATISTICS.get(name, name)


def latencies(report: Mapping[str, Any], ours: Mapping[str, str], samples: int | None) -> dict[str, Metric]:
    """Keys such as ``p99_ttft_ms`` of a flat report; ``ours`` maps the tool's name of a latency to our own.

    >>> latencies({"median_ttft_ms": 48.5, "p99_e2e_latency_ms": 900}, {"ttft": "ttft", "e2e_latency": "e2el"}, 7)
    {'ttft_p50_ms': Metric(value=48.5, unit='ms', samples=7), 'e2el_p99_ms': Metric(value=900.0, unit='ms', samples=7)}
    """
    found = {}
    for key, value in report.items():
        match = _FLAT.fullmatch(key)
        if match and match[2] in ours and is_figure(value):
            name = ours[match[2]]
            count = None if name == "itl" else samples  # so many gaps, not requests
            found[f"{name}_{statistic(match[1])}_ms"] = Metric(float(value), "ms", count)
    return found


def is_figure(value: object) -> bool:
    """Whether it is a number that says something."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def brief(raw: Mapping[str, Any]) -> dict[str, Any]:
    """What of a report is kept beside the metrics: the scalars; the whole of it is a file."""
    found = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in raw.items()}
    return {k: v for k, v in found.items() if v is None or (isinstance(v, (str, int, float)) and len(str(v)) <= 500)}


def collect(
    found: Mapping[str, Metric],
    rates: Mapping[str, tuple[object, str]],
    requests: int,
    errors: int,
    definitions: Mapping[str, str],
    raw: Mapping[str, Any],
) -> Measurement:
    """A measurement of latencies and of ``rates`` (our name to value and unit); those that the tool left out are left out.

    ``definitions`` says of each of our names what this tool means by it: an id of docs/metrics.md, or one of its own.
    Raises ValueError if the tool counted no request, or gave no throughput.
    """
    if requests <= 0:
        raise ValueError("it counted no request")
    succeeded = requests - errors
    metrics = {
        name: Metric(float(str(value)), unit, succeeded) for name, (value, unit) in rates.items() if is_figure(value)
    }
    if not metrics:
        raise ValueError(f"it has none of {', '.join(rates)}")
    return Measurement(
        {**metrics, **found}, requests, errors, "", {"definitions": dict(definitions), "report": brief(raw)}
    )
