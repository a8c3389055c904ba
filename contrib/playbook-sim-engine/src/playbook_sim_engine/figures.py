"""What a load run shows: exact percentiles of latencies and counts of what failed."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

_PERCENTILES = (50, 90, 95, 99)


@dataclass
class Record:
    """One request: when it was sent, and what came when (seconds of one clock)."""

    sent: float
    pieces: list[tuple[float, bytes]] = field(default_factory=list)
    ended: float = 0.0
    error: str = ""


@dataclass(frozen=True)
class Reading:
    """What a record's bytes say: times of chunks with text, and tokens by the engine's own count."""

    times: tuple[float, ...]
    tokens: int
    done: bool


def percentile(ordered: Sequence[float], rank: float) -> float:
    """Linear interpolation between the closest ranks of sorted values, as numpy's default."""
    at = (len(ordered) - 1) * rank / 100
    low, high = math.floor(at), math.ceil(at)
    return ordered[low] + (ordered[high] - ordered[low]) * (at - low)


def describe(values: Sequence[float]) -> dict[str, float]:
    """Mean, extremes and percentiles in milliseconds of values in seconds; empty for no values."""
    if not values:
        return {}
    ordered = sorted(values)
    figures = {"mean": math.fsum(ordered) / len(ordered), "min": ordered[0], "max": ordered[-1]}
    figures.update((f"p{rank}", percentile(ordered, rank)) for rank in _PERCENTILES)
    return {name: round(value * 1000, 3) for name, value in figures.items()}


def read_stream(record: Record) -> Reading:
    """Parse what a stream sent.

    Raises ValueError when an event is not JSON or carries an error.
    """
    times, tokens, done, buffer = [], 0, False, b""
    for when, piece in record.pieces:
        *lines, buffer = (buffer + piece).split(b"\n")
        for line in lines:
            if not line.startswith(b"data:"):
                continue
            data = line[5:].strip()
            if data == b"[DONE]":
                done = True
                continue
            event = _json(data)
            tokens = (event.get("usage") or {}).get("completion_tokens", tokens)
            if any(_text_of(choice) for choice in event.get("choices", ())):
                times.append(when)
    return Reading(tuple(times), tokens or len(times), done)


def read_whole(record: Record) -> Reading:
    """Parse an answer that came in one.

    Raises ValueError when it is not JSON or is an error.
    """
    body = _json(b"".join(piece for _, piece in record.pieces))
    return Reading((record.ended,), (body.get("usage") or {}).get("completion_tokens", 0), done=True)


def _json(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except ValueError:
        raise ValueError("an event is not JSON") from None
    if not isinstance(value, dict):
        raise ValueError("an event is not a JSON object")
    if "error" in value:
        raise ValueError(f"error event: {(value['error'] or {}).get('message', value['error'])}")
    return value


def _text_of(choice: dict[str, Any]) -> str:
    delta = choice.get("delta") or {}
    return delta.get("content") or delta.get("reasoning_content") or delta.get("reasoning") or choice.get("text") or ""


def summarise(records: Sequence[Record], *, stream: bool, wanted: int, seconds: float) -> dict[str, Any]:
    """Put a run into figures: latencies of successful requests, and every failure counted by its reason."""
    ttft, tpot, itl, e2el = [], [], [], []
    errors: Counter[str] = Counter()
    tokens = 0
    for record in records:
        try:
            reading = read_stream(record) if stream and not record.error else read_whole(record)
        except ValueError as error:
            errors[record.error or str(error)] += 1
            continue
        problem = record.error or _incomplete(reading)
        if problem:
            errors[problem] += 1
            continue
        first, last = reading.times[0], reading.times[-1]
        tokens += reading.tokens
        e2el.append(last - record.sent)
        if stream:
            ttft.append(first - record.sent)
            itl += [after - before for before, after in zip(reading.times, reading.times[1:])]
            if reading.tokens > 1:
                tpot.append((last - first) / (reading.tokens - 1))
    return {
        "total_requests": wanted, "successful_requests": len(e2el), "failed_requests": wanted - len(e2el),
        "errors": dict(errors), "duration_s": round(seconds, 4),
        "throughput_requests_per_s": round(len(e2el) / seconds, 3),
        "throughput_tokens_per_s": round(tokens / seconds, 3), "output_tokens": tokens,
        "ttft_ms": describe(ttft), "tpot_ms": describe(tpot), "itl_ms": describe(itl), "e2el_ms": describe(e2el),
    }  # fmt: skip


def request_rows(records: Sequence[Record], *, stream: bool, epoch: float) -> list[dict[str, Any]]:
    """One row a request, in order of sending: when it was sent (Unix time), its latencies in s, its tokens or error.

    ``epoch`` is what the records' clock is to be moved by.
    """
    rows = []
    for record in sorted(records, key=lambda r: r.sent):
        row: dict[str, Any] = {"sent": round(record.sent + epoch, 6), "e2el": round(record.ended - record.sent, 6)}
        try:
            reading = read_stream(record) if stream and not record.error else read_whole(record)
            problem = record.error or _incomplete(reading)
        except ValueError as error:
            problem = record.error or str(error)
        if not problem:
            first, last = reading.times[0], reading.times[-1]
            row |= {"e2el": round(last - record.sent, 6), "output_tokens": reading.tokens}
            if stream:
                row["ttft"] = round(first - record.sent, 6)
                if reading.tokens > 1:
                    row["tpot"] = round((last - first) / (reading.tokens - 1), 6)
        rows.append(row | {"error": problem})
    return rows


def _incomplete(reading: Reading) -> str:
    if not reading.times:
        return "no text in the answer"
    return "" if reading.done else "the stream ended without [DONE]"


def metric_lines(summary: dict[str, Any]) -> list[str]:
    """Give the lines by which an orchestrator picks up figures: METRIC:key=value."""
    figures = {
        "throughput": summary["throughput_requests_per_s"],
        "total_requests": summary["total_requests"],
        "successful_requests": summary["successful_requests"],
        "failed_requests": summary["failed_requests"],
        "output_tokens_per_s": summary["throughput_tokens_per_s"],
        "duration_s": summary["duration_s"],
    }
    if summary["e2el_ms"]:
        figures["latency_mean"] = summary["e2el_ms"]["mean"]
    for name in ("ttft", "tpot", "itl", "e2el"):
        figures.update((f"{name}_{key}_ms", value) for key, value in summary[f"{name}_ms"].items())
    return [f"METRIC:{name}={value}" for name, value in figures.items()]
