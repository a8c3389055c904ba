"""A result in words: for the terminal, and as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from . import rows
from .core.stats import Distribution
from .metrics import BY_NAME, GAPS
from .options import Options
from .point import Outcome
from .summary import Summary

_WIDTH = 40
_TITLES = {
    "ttft": "Time to First Token",
    "tpot": "Time per Output Token (excl. 1st token)",
    "itl": "Inter-token Latency",
    "e2el": "End-to-end Latency",
}


def _line(label: str, value: float | int) -> str:
    shown = f"{value:<10d}" if isinstance(value, int) else f"{value:<10.2f}"
    return f"{label:<{_WIDTH}} {shown}".rstrip()


def text(outcome: Outcome, options: Options) -> list[str]:
    """The lines that the earlier tool printed, under its labels, and what is new below them."""
    summary = outcome.summary
    count = max(1, summary.succeeded)
    share = rows.value(summary, "goodput_percentage")
    made = [
        f"{' Serving Benchmark Result ':=^50}",
        f"# {outcome.point}" + (" (stopped early)" if outcome.partial else ""),
        _line("Successful requests:", summary.succeeded),
        _line("Benchmark duration (s):", summary.seconds),
        _line("Mean Total input tokens:", summary.input_tokens / count),
        _line("Mean Total generated tokens:", summary.output_tokens / count),
        _line("Total input tokens:", summary.input_tokens),
        _line("Total generated tokens:", summary.output_tokens),
        _line("Request throughput (req/s):", summary.rate(summary.succeeded)),
        _line("Request goodput (req/s):", summary.rate(summary.good or 0)),
        _line("Request goodput percentage (%):", share if share is not None else 0.0),
        _line("Mean prefilling throughput (tok/s):", _mean(summary, "prefill_throughput")),
        _line("Mean decoding throughput (tok/s):", _mean(summary, "decode_throughput")),
        _line("Mean output throughput (tok/s):", _mean(summary, "output_throughput")),
        _line("Total E2E output throughput (tok/s):", summary.rate(summary.output_tokens)),
        _line("Total E2E in&out throughput (tok/s):", summary.rate(summary.output_tokens + summary.input_tokens)),
    ]
    for name in options.percentile_metrics:
        distribution = summary.distributions.get(name)
        if name in _TITLES and distribution is not None and distribution.count:
            made += _latency(name, distribution, options.metric_percentiles)
    made += _more(outcome)
    made.append("=" * 50)
    return made


def _latency(name: str, distribution: Distribution, percents: Sequence[float]) -> list[str]:
    label = name.upper()
    made = [f"{_TITLES[name]:-^50}", _line(f"Mean {label} (ms):", distribution.mean)]
    made.append(_line(f"Median {label} (ms):", distribution.percentile(50)))
    for percent in percents:
        made.append(_line(f"P{percent:g} {label} (ms):", distribution.percentile(percent)))
        if distribution.count * (100 - percent) < 100:
            made[-1] += f"  (of {distribution.count} values: hardly more than the largest)"
    return made


def _mean(summary: Summary, name: str) -> float:
    found = summary.distributions[name]
    return found.mean if found.count else 0.0


def _more(outcome: Outcome) -> list[str]:
    summary, client = outcome.summary, outcome.client
    made = []
    if summary.failed:
        made.append(f"{'Failed requests':-^50}")
        made.append(_line("Failed requests (%):", 100 * (summary.lost or 0.0)))
        made += [
            f"{count} x {name}: {summary.examples.get(name, '')}".rstrip(": ")
            for name, count in summary.errors.items()
            if name != "cancelled"
        ]
    if summary.cancelled:
        made.append(f"{summary.cancelled} requests were still under way at the end and count for nothing")
    if summary.steady:
        steady = summary.steady
        made.append(
            f"steady from {steady['from']:.1f} to {steady['to']:.1f} s: {_known(steady, 'output_throughput', 'tok/s')}, "
            f"{_known(steady, 'request_throughput', 'req/s')}"
        )
        if summary.unsteady:
            made.append(f"steady {summary.unsteady}")
    made.append(f"{'Client':-^50}")
    made.append(_line("Client delay P50 (ms):", float(client.get("client_delay_p50_ms", 0.0))))
    made.append(_line("Client delay P99 (ms):", float(client.get("client_delay_p99_ms", 0.0))))
    error = client.get("client_error_p99_ms")
    if isinstance(error, (int, float)):
        made.append(_line("Client error P99 (ms):", float(error)))
    made.append(
        f"timestamps: {client.get('timestamp_source')}; CPU: {float(client.get('cpu_share', 0.0)):.0%} of a core"
    )
    if client.get("client_limited"):
        made.append("the client was the limit: " + "; ".join(client["client_limited_why"]))
    return made


def _known(steady: Mapping[str, float], name: str, unit: str) -> str:
    return f"{steady[name]:.2f} {unit}" if name in steady else f"{unit} not available"


def as_json(outcome: Outcome, options: Options) -> dict[str, Any]:
    """Everything about a result."""
    summary = outcome.summary
    percents = sorted({50.0, 90.0, 95.0, 99.0, 99.9, *options.metric_percentiles})
    error = outcome.client.get("client_error_p99_ms")
    return {
        "schema": "playbook-aicp/1",
        "label": outcome.point.label,
        "concurrency": outcome.point.concurrency,
        "request_rate": outcome.point.rate if math.isfinite(outcome.point.rate) else "inf",
        "partial": outcome.partial,
        "requests": summary.requests,
        "succeeded": summary.succeeded,
        "failed": summary.failed,
        "failed_share": summary.lost,
        "cancelled": summary.cancelled,
        "seconds": summary.seconds,
        "input_tokens": summary.input_tokens,
        "output_tokens": summary.output_tokens,
        "output_tokens_by_chunk": summary.chunk_tokens,
        "rates": {
            "requests_per_second": summary.rate(summary.succeeded),
            "output_tokens_per_second": summary.rate(summary.output_tokens),
            "total_tokens_per_second": summary.rate(summary.output_tokens + summary.input_tokens),
            "goodput_per_second": None if summary.good is None else summary.rate(summary.good),
        },
        "goodput": {
            "slos": [{"metric": s.metric, "limit": s.limit, "better": s.better} for s in summary.slos],
            "good": summary.good,
            "attainment": summary.attainment,
        },
        "metrics": {
            name: _described(name, distribution, summary, percents, error)
            for name, distribution in summary.distributions.items()
            if distribution.count
        },
        "steady": dict(summary.steady),
        "unsteady": summary.unsteady,
        "peak_in_flight": summary.peak_in_flight,
        "mean_in_flight": summary.mean_in_flight,
        "errors": dict(summary.errors),
        "error_examples": dict(summary.examples),
        "series": list(summary.series),
        "client": dict(outcome.client),
        "records": str(outcome.records) if outcome.records else None,
        "row": rows.row_of(outcome, options.model, options.metadata),
        "legacy": rows.legacy(summary),
    }


def _described(
    name: str, distribution: Distribution, summary: Summary, percents: Sequence[float], error: Any
) -> dict[str, Any]:
    metric = BY_NAME.get(name)
    identity, unit = (metric.id, metric.unit) if metric else (GAPS[name][0], "ms")
    made: dict[str, Any] = {"id": identity, "unit": unit, "count": distribution.count}
    made |= distribution.figures(percents)
    intervals = summary.intervals.get(name)
    if intervals:
        made["ci95"] = {k: [v.low, v.high] for k, v in intervals.items()}
    if unit == "ms" and isinstance(error, (int, float)):
        made["client_error_p99_ms"] = error
        made["below_client_error"] = distribution.percentile(50) < error
    return made


def measured(outcome: Outcome) -> Mapping[str, tuple[float, str, int]]:
    """Names, values, units and sample counts, for a campaign's result."""
    summary = outcome.summary
    made: dict[str, tuple[float, str, int]] = {}
    for name in (
        "ttft",
        "ttft_content",
        "ttft_intended",
        "tpot",
        "itl",
        "itl_token",
        "e2el",
        "tpot_incl_first",
        "ttft_legacy",
    ):
        distribution = summary.distributions[name]
        if not distribution.count:
            continue
        made[f"{name}_mean_ms"] = (distribution.mean, "ms", distribution.count)
        for percent in (50, 90, 95, 99):
            made[f"{name}_p{percent}_ms"] = (distribution.percentile(percent), "ms", distribution.count)
    done = summary.succeeded
    made["output_throughput"] = (summary.rate(summary.output_tokens), "tok/s", done)
    made["total_token_throughput"] = (summary.rate(summary.output_tokens + summary.input_tokens), "tok/s", done)
    made["request_throughput"] = (summary.rate(done), "req/s", done)
    if summary.good is not None and summary.attainment is not None:
        made["request_goodput"] = (summary.rate(summary.good), "req/s", done)
        made["goodput_percentage"] = (100 * summary.attainment, "%", summary.succeeded + summary.failed)
    if "output_throughput" in summary.steady:
        made["steady_output_throughput"] = (summary.steady["output_throughput"], "tok/s", done)
    if summary.lost is not None:
        made["failed_percentage"] = (100 * summary.lost, "%", summary.succeeded + summary.failed)
    made["duration_s"] = (summary.seconds, "s", 1)
    made["client_delay_p99_ms"] = (float(outcome.client.get("client_delay_p99_ms", 0.0)), "ms", summary.requests)
    error = outcome.client.get("client_error_p99_ms")
    if isinstance(error, (int, float)):
        made["client_error_p99_ms"] = (float(error), "ms", 1)
    made["client_limited"] = (float(bool(outcome.client.get("client_limited"))), "1", 1)
    return made
