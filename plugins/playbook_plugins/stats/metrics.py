"""What a metric's name means: which latency, which statistic of it, and which way is better."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Literal

from attrs import frozen
from playbook_kernel.api import Metric

Direction = Literal["lower", "higher", "neither"]

_WORDS = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:\.\d+)?|\d+(?:\.\d+)?")
_LATENCIES = {"ttft", "tpot", "itl", "e2el", "ntpt", "latency", "queue"}
_STATISTICS = {
    "mean": "mean", "avg": "mean", "average": "mean", "median": "p50", "min": "min", "max": "max", "std": "std",
    "stddev": "std",
}  # fmt: skip
_PERCENTILE = re.compile(r"p(\d{1,2}(?:\.\d+)?|999|9999)$")
_UNITS = {"ms", "s", "us", "per", "second", "seconds"}
_HIGHER = re.compile(r"throughput|goodput|per_s(?:econd)?\b|_tps\b|_rps\b|success|hit_rate|acceptance")
_LOWER = re.compile(r"latency|error|fail|retr|duration|elapsed|seconds|preempt|joule|energy|queue|_ms$")
_NEITHER = re.compile(r"^(?:total_requests|requests|exit_status|concurrency|num_|count|.*_tokens)$")


@frozen
class Meaning:
    """``base``: what is measured, in small letters; ``statistic``: ``mean``, ``p99`` ..., or ``""`` for a plain value."""

    base: str
    statistic: str = ""


def meaning(name: str) -> Meaning:
    """Take a metric's name apart, whatever order a tool writes it in.

    >>> meaning("ttft_p99_ms") == meaning("TTFT_P99") == meaning("p99_ttft") == Meaning("ttft", "p99")
    True
    >>> meaning("output_tokens_per_s")
    Meaning(base='output_tokens_per_s', statistic='')
    """
    words = [w.lower() for w in _WORDS.findall(name.replace("-", "_"))]
    statistic = next((s for w in words if (s := _statistic(w))), "")
    bases = [w for w in words if w in _LATENCIES]
    if statistic and bases:
        rest = [w for w in words if not _statistic(w) and w not in _UNITS]
        return Meaning("_".join(rest), statistic)
    return Meaning("_".join(words))


def _statistic(word: str) -> str:
    if word in _STATISTICS:
        return _STATISTICS[word]
    match = _PERCENTILE.match(word)
    return "" if match is None else {"p999": "p99.9", "p9999": "p99.99"}.get(word, word)


def find(metrics: Mapping[str, Metric], *names: str) -> str | None:
    """The key under which one of the wanted metrics stands, the first that is there; None if none is."""
    for name in names:
        if name in metrics:
            return name
        wanted = meaning(name)
        for key in metrics:
            if meaning(key) == wanted:
                return key
    return None


THROUGHPUT = ("output_throughput", "output_tokens_per_s", "throughput_tokens_per_s", "token_throughput")
REQUEST_RATE = ("request_throughput", "throughput", "requests_per_s", "throughput_requests_per_s")


def direction(name: str, unit: str = "1") -> Direction:
    """Which way is better.

    >>> [direction(n) for n in ("ttft_p99_ms", "output_throughput", "total_requests", "failed_requests")]
    ['lower', 'higher', 'neither', 'lower']
    """
    low = name.lower()
    if unit in ("tok/s", "req/s", "1/s"):
        return "higher"
    if meaning(name).statistic and any(w in _LATENCIES for w in meaning(name).base.split("_")):
        return "neither" if meaning(name).statistic == "std" else "lower"
    if _NEITHER.match(low):
        return "neither"
    if _LOWER.search(low):
        return "lower"
    return "higher" if _HIGHER.search(low) else "neither"


def in_base_unit(value: float, unit: str) -> float:
    """Milliseconds become seconds; everything else stays."""
    return value / 1000 if unit == "ms" else value


def shared(groups: Iterable[Mapping[str, Metric]]) -> list[str]:
    """The metrics that every group has, in the order of the first."""
    found: list[str] | None = None
    for metrics in groups:
        found = list(metrics) if found is None else [n for n in found if n in metrics]
    return found or []
