"""How the client fared, and whether its own limits are in the numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .core import plan as plans
from .core.records import Record
from .summary import Summary


def fared(
    settings: plans.Settings,
    order: plans.Order,
    summary: Summary,
    notes: Sequence[Mapping[str, Any]],
    busy: float,
    calibration: Mapping[str, Any],
    records: Sequence[Record],
) -> dict[str, Any]:
    """How the client fared, and whether its own limits are in the numbers."""
    cpu = sum(float(n.get("cpu_seconds", 0.0)) for n in notes)
    share = max((float(n.get("cpu_share", 0.0)) for n in notes), default=0.0)
    seconds = max((float(n.get("seconds", 0.0)) for n in notes), default=summary.seconds) or 1e-9
    sources = {str(n.get("timestamp_source", "user")) for n in notes}
    delay = summary.distributions["client_delay"]
    made: dict[str, Any] = {
        "timestamp_source": sources.pop() if len(sources) == 1 else "user",
        "latency_from": "sent",
        "engine": settings.engine,
        "processes": settings.processes,
        "connections": settings.connections,
        "cpu_seconds": cpu,
        "cpu_share": share,
        "longest_turn_ms": max((float(n.get("longest_turn_ms", 0.0)) for n in notes), default=0.0),
        "max_rss_mb": sum(float(n.get("max_rss_mb", 0.0)) for n in notes),
        "other_cores": max(0.0, busy - cpu) / seconds,
        "client_delay_p50_ms": delay.percentile(50) if delay.count else 0.0,
        "client_delay_p99_ms": delay.percentile(99) if delay.count else 0.0,
        "asked_concurrency": settings.concurrency,
        "reached_concurrency": summary.peak_in_flight,
        **{f"calibration_{k}": v for k, v in calibration.items()},
    }
    made["client_error_p99_ms"] = calibration.get("ttft_error_p99_ms")
    reasons = []
    if share >= 0.8:
        reasons.append(f"a client process used {share:.0%} of its core")
    asked = min(settings.concurrency or 0, len(order))
    if not settings.open_loop and summary.peak_in_flight < 0.95 * asked:
        reasons.append(f"{summary.peak_in_flight} of {asked} requests were in flight")
    if settings.open_loop:
        made.update(_rates(order, records))
        wanted, got = made.get("asked_rate", 0.0), made.get("achieved_rate", 0.0)
        if wanted and got < 0.97 * wanted:
            held = settings.concurrency and summary.peak_in_flight >= settings.concurrency
            why = f", held back by the cap of {settings.concurrency}" if held else ""
            reasons.append(f"{got:.4g} requests/s left instead of {wanted:.4g}{why}")
    ttft = summary.distributions["ttft"]
    # With a rate and a cap, waiting for a slot is the server's doing.
    if delay.count and ttft.count and not (settings.open_loop and settings.concurrency):
        limit = max(2.0, 0.05 * ttft.percentile(50))
        if delay.percentile(99) > limit:
            since = "they were due" if settings.open_loop else "their slot was free"
            reasons.append(f"1 % of requests left {delay.percentile(99):.3g} ms or more after {since}")
    made["client_limited"] = bool(reasons)
    made["client_limited_why"] = reasons
    return made


def _rates(order: plans.Order, records: Sequence[Record]) -> dict[str, float]:
    sent = sorted((r.intended, r.sent) for r in records)
    if len(sent) < 2:
        return {}
    due = (sent[-1][0] - sent[0][0]) / 1e6
    left = (max(s for _, s in sent) - min(s for _, s in sent)) / 1e6
    if due <= 0 or left <= 0:
        return {}
    return {"asked_rate": (len(sent) - 1) / due, "achieved_rate": (len(sent) - 1) / left}
