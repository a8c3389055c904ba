"""The earlier tool's table: its columns in its order, and where each value comes from."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from attrs import field, frozen
from playbook_kernel.api import CampaignResult, Measurement

COLUMNS = (
    "scenario", "trial", "other_params", "gpu", "model", "gpu_num", "replicas", "batch", "mean_input_tokens",
    "mean_output_tokens", "num_prompts", "TTFT_P90", "TPOT_P90", "ITL_P90", "TTFT_P95", "TPOT_P95", "ITL_P95",
    "TTFT_P99", "TPOT_P99", "ITL_P99", "mean_TTFT", "mean_TPOT", "mean_ITL", "goodput_percentage", "request_rate",
    "prefill_throughput_per_gpu", "decode_throughput_per_gpu", "mean_prefill_throughput", "mean_decode_throughput",
    "mean_output_throughput", "output_throughput", "mean_E2EL", "request_throughput", "arch", "case_id", "completed",
    "question_label", "backend",
)  # fmt: skip

_LATENCY = re.compile(r"(?:(?P<mean>mean)_)?(?P<base>TTFT|TPOT|ITL|E2EL)(?:_P(?P<percent>\d+))?")
_ELSEWHERE: Mapping[str, tuple[str, ...]] = {
    "output_throughput": ("output_throughput", "output_tokens_per_s", "throughput_tokens_per_s"),
    "request_throughput": ("request_throughput", "throughput", "requests_per_s"),
    "goodput_percentage": ("goodput_percentage",), "completed": ("successful_requests", "completed"),
    "num_prompts": ("total_requests", "num_prompts"),
}  # fmt: skip

Value = str | float | int | None


@frozen
class Row:
    """A line of the table; ``limits``: the SLOs it was given, by column."""

    scenario: str
    values: Mapping[str, Value] = field(factory=dict)
    limits: Mapping[str, float] = field(factory=dict)

    @property
    def meets(self) -> bool:
        """Whether there are limits, and every one of them that is a column is kept."""
        checked = [(self.values.get(k), limit) for k, limit in self.limits.items() if k in self.values]
        return bool(checked) and all(isinstance(v, (int, float)) and v < limit for v, limit in checked)


def rows(result: CampaignResult) -> Iterator[Row]:
    """A row for each load point where the benchmark tells several, else for each trial."""
    for scenario in result.scenarios:
        for trial in scenario.trials:
            measured = trial.measurement
            if measured is None:
                continue
            start = {"scenario": scenario.scenario, "trial": trial.trial, "question_label": scenario.scenario}
            points = measured.raw.get("points")
            maps = [p for p in points if isinstance(p, Mapping)] if isinstance(points, list) else []
            if maps:
                for point in maps:
                    yield Row(scenario.scenario, {**start, **_of_point(point)}, _limits(point))
            else:
                yield Row(
                    scenario.scenario, {**start, **_of_measurement(measured)}, _given(measured.raw.get("goodput"))
                )


def _of_measurement(measured: Measurement) -> dict[str, Value]:
    found: dict[str, Value] = {"num_prompts": measured.requests}
    if measured.requests is not None and measured.errors is not None:
        found["completed"] = measured.requests - measured.errors
    for column in COLUMNS:
        if isinstance(raw := measured.raw.get(column), (str, int, float)) and not isinstance(raw, bool):
            found[column] = raw
        for name in _names(column):
            if name in measured.metrics:
                metric = measured.metrics[name]
                found[column] = metric.value * (1000 if metric.unit == "s" and _LATENCY.fullmatch(column) else 1)
                break
    return found


def _names(column: str) -> tuple[str, ...]:
    match = _LATENCY.fullmatch(column)
    if match is None:
        return _ELSEWHERE.get(column, ())
    base = match["base"].lower()
    statistic = "mean" if match["mean"] else f"p{match['percent']}"
    return (column, f"{base}_{statistic}_ms", f"{base}_{statistic}")


def _of_point(point: Mapping[str, Any]) -> dict[str, Value]:
    found: dict[str, Value] = {
        "batch": _number(point.get("concurrency")), "request_rate": point.get("request_rate"),
        "num_prompts": _number(point.get("requests")), "completed": _number(point.get("succeeded")),
    }  # fmt: skip
    if isinstance(label := point.get("label"), str) and label:
        found["question_label"] = label
    rates = point.get("rates")
    if isinstance(rates, Mapping):
        found["output_throughput"] = _number(rates.get("output_tokens_per_second"))
        found["request_throughput"] = _number(rates.get("requests_per_second"))
    if (done := _number(point.get("succeeded"))) and done > 0:
        for column, key in (("mean_input_tokens", "input_tokens"), ("mean_output_tokens", "output_tokens")):
            if (tokens := _number(point.get(key))) is not None:
                found[column] = tokens / done
    goodput = point.get("goodput")
    if isinstance(goodput, Mapping) and (share := _number(goodput.get("attainment"))) is not None:
        found["goodput_percentage"] = share * 100
    metrics = point.get("metrics")
    for column in COLUMNS:
        match = _LATENCY.fullmatch(column)
        if match and isinstance(metrics, Mapping) and isinstance(own := metrics.get(match["base"].lower()), Mapping):
            found[column] = _number(own.get("mean" if match["mean"] else f"p{match['percent']}"))
    return found


def _limits(point: Mapping[str, Any]) -> dict[str, float]:
    goodput = point.get("goodput")
    slos = goodput.get("slos") if isinstance(goodput, Mapping) else None
    return {
        str(s["metric"]): float(s["limit"])
        for s in (slos if isinstance(slos, list) else ())
        if isinstance(s, Mapping) and "metric" in s and _number(s.get("limit")) is not None
    }


def _given(goodput: Any) -> dict[str, float]:
    limits = goodput if isinstance(goodput, Mapping) else {}
    return {str(k): float(v) for k, v in limits.items() if _number(v) is not None}


def _number(value: Any) -> float | int | None:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None
