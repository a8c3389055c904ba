"""The figures as an OpenMetrics text file, for Prometheus' textfile collector and its relatives."""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from playbook_kernel.api import CampaignResult, NoOptions, Reporter, Status, redact

from playbook_plugins.stats.metrics import meaning

_UNSAFE = re.compile(r"[^a-zA-Z0-9_]+")
_UNITS = {
    "ms": ("seconds", 1e-3), "s": ("seconds", 1.0), "%": ("ratio", 0.01), "tok/s": ("tokens_per_second", 1.0),
    "req/s": ("requests_per_second", 1.0), "1/s": ("per_second", 1.0),
}  # fmt: skip
_STATUSES: tuple[Status, ...] = ("completed", "failed", "skipped", "cancelled")
_COUNTED = {
    "tokens_per_second": ("token", "tokens", "tok"), "requests_per_second": ("request", "requests", "req"),
}  # fmt: skip
_TIME_WORDS = {"ms", "s", "seconds", "second"}


class OpenMetricsReporter(Reporter[NoOptions]):
    """``metrics.prom``: verdicts, durations and every metric of each scenario's last trial, in base units."""

    def write(self, result: CampaignResult, into: Path) -> Sequence[Path]:
        path = into / "metrics.prom"
        path.write_text(redact("".join(f"{line}\n" for line in _lines(result))), encoding="utf-8", errors="replace")
        return [path]


def _lines(result: CampaignResult) -> Iterator[str]:
    run = result.id
    yield from _family("playbook_scenarios", "How many scenarios ended so.")
    for status in _STATUSES:
        yield _sample("playbook_scenarios", {"run": run, "status": status}, result.count(status))
    yield from _family("playbook_scenario_completed", "Whether the scenario completed.")
    for s in result.scenarios:
        yield _sample("playbook_scenario_completed", {"run": run, "scenario": s.scenario}, s.status == "completed")
    yield from _family("playbook_scenario_duration_seconds", "Time of all attempts.", "seconds")
    for s in result.scenarios:
        if s.trials:
            labels = {"run": run, "scenario": s.scenario}
            yield _sample("playbook_scenario_duration_seconds", labels, sum(t.seconds for t in s.trials))
    yield from _family("playbook_campaign_ended_timestamp_seconds", "When the campaign ended.", "seconds")
    if (ended := _timestamp(result.ended)) is not None:
        yield _sample("playbook_campaign_ended_timestamp_seconds", {"run": run}, ended)
    families: dict[tuple[str, str], list[str]] = {}
    for s in result.scenarios:
        metrics = s.last.measurement.metrics if s.last and s.last.measurement else {}
        seen: set[tuple[str, str]] = set()
        for key, metric in metrics.items():
            name, statistic, unit, scale = _named(key, metric.unit)
            if (name, statistic) in seen:
                continue
            seen.add((name, statistic))
            labels = {"run": run, "scenario": s.scenario} | ({"statistic": statistic} if statistic else {})
            families.setdefault((name, unit), []).append(_sample(name, labels, metric.value * scale))
    # A family's name must stand once, whatever units tools gave it.
    written: set[str] = {"playbook_scenarios", "playbook_scenario_completed", "playbook_scenario_duration_seconds"}
    for (name, unit), samples in families.items():
        if name not in written:
            written.add(name)
            yield from _family(name, "As the benchmark measured it.", unit)
            yield from samples
    yield "# EOF"


def _named(key: str, unit: str) -> tuple[str, str, str, float]:
    said = meaning(key)
    base = said.base if said.statistic else key.lower()
    known, scale = _UNITS.get(unit, ("", 1.0))
    words = [w for w in _UNSAFE.sub("_", base).strip("_").split("_") if w]
    if unit in ("ms", "s"):
        words = [w for w in words if w not in _TIME_WORDS]
    words = _without_unit(words, known)
    name = "_".join(["playbook", "measured", *words])
    return (f"{name}_{known}" if known else name), said.statistic, known, scale


def _without_unit(words: Sequence[str], unit: str) -> list[str]:
    """The words of a name without a unit at their end, in whatever form, that will be said there anyway.

    >>> _without_unit(["output", "tokens", "per", "s"], "tokens_per_second"), _without_unit(["hit", "percent"], "ratio")
    (['output'], ['hit'])
    """
    left = list(words)
    if unit == "ratio" and left and left[-1] in ("ratio", "percent", "pct"):
        return left[:-1]
    if unit.endswith("per_second") and len(left) > 1 and left[-2] == "per" and left[-1] in _TIME_WORDS:
        left = left[:-2]
        if left and left[-1] in _COUNTED.get(unit, ()):
            left.pop()
    return left


def _family(name: str, text: str, unit: str = "") -> Iterator[str]:
    yield f"# TYPE {name} gauge"
    if unit:
        yield f"# UNIT {name} {unit}"
    yield f"# HELP {name} {text}"


def _sample(name: str, labels: Mapping[str, str], value: float) -> str:
    inner = ",".join(f'{k}="{_escape(v)}"' for k, v in labels.items())
    shown = (
        "NaN"
        if value != value
        else f"{float(value):.12g}"
        if math.isfinite(value)
        else f"{'+' if value > 0 else '-'}Inf"
    )
    return f"{name}{{{inner}}} {shown}"


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", " ")


def _timestamp(text: str) -> float | None:
    try:
        return dt.datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None
