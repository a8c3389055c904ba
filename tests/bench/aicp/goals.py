"""The goals, each with what was measured for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs
from attrs import frozen

Found = Mapping[str, Mapping[str, Mapping[str, Any]]]


@frozen
class Goal:
    """``sign``: ``<=`` or ``>=``. ``other``: the cores that others used meanwhile; from ``quiet`` on it does not count."""

    what: str
    value: float
    sign: str
    goal: float
    other: float
    quiet: float

    @property
    def met(self) -> bool:
        return self.value <= self.goal if self.sign == "<=" else self.value >= self.goal

    @property
    def verdict(self) -> str:
        noisy = "" if self.other < self.quiet else f" (does not count: others used {self.other:.2f} cores)"
        return ("met" if self.met else "missed") + noisy

    def as_json(self) -> dict[str, Any]:
        return {**attrs.asdict(self), "met": self.met}


# Against a peer: workload, figure, what, sign, and the ratio for each peer.
_RATIOS = (
    ("instant-64", "requests_per_s", "streamed requests/s, C=64", ">=", {"sglang-rust": 2.0, "vllm": 20.0, "aiperf": 60.0}),
    ("instant-512", "requests_per_s", "streamed requests/s, C=512", ">=", {"sglang-rust": 2.0, "vllm": 20.0, "aiperf": 60.0}),
    ("instant-64", "cpu_s_per_1k_requests", "CPU-s per 1,000 requests", "<=", {"sglang-rust": 0.35, "vllm": 0.03}),
    ("heavy", "cpu_s_per_1k_tokens", "CPU-s per 1,000 tokens, 512 x 50/s", "<=", {"sglang-rust": 0.75, "vllm": 0.4}),
    ("gentle", "cpu_s_per_1k_tokens", "CPU-s per 1,000 tokens, 32 x 100/s", "<=", {"sglang-rust": 0.65, "vllm": 0.3}),
)  # fmt: skip
_PLAIN = (
    ("heavy", "ttft_error_mean_ms", "TTFT error at 512 streams, mean, ms", "<=", 1.0),
    ("heavy", "ttft_error_p99_ms", "TTFT error at 512 streams, p99, ms", "<=", 5.0),
    ("gentle", "ttft_error_mean_ms", "TTFT error at 32 x 100/s, mean, ms", "<=", 0.5),
    ("gentle", "ttft_error_p99_ms", "TTFT error at 32 x 100/s, p99, ms", "<=", 1.5),
    ("heavy", "itl_error_p99_ms", "ITL p99 error, 512 x 50/s, ms", "<=", 0.05),
    ("fast", "itl_error_p99_ms", "ITL p99 error, 512 x 100/s, ms", "<=", 0.3),
    ("instant-512", "in_flight", "streams in flight at C=512, by the server", ">=", 500.0),
)  # fmt: skip
_ALONE = (
    ("punctual", "late_p99_ms", "late at 1,000/s Poisson, p99, by the server's kernel, ms", "<=", 0.2),
    ("start", "start", "start of the process to first request, s", "<=", 0.3),
    ("memory", "memory", "memory of all processes at 512 streams, MiB", "<=", 60.0),
    ("after", "after_per_million_s", "work after the last token, s per million tokens", "<=", 0.5),
    ("counts", "counts", "tokens exact with chunks of several (1: yes)", ">=", 1.0),
)  # fmt: skip


def judged(found: Found, alone: Mapping[str, Mapping[str, float]], quiet: float) -> list[Goal]:
    """All goals for which something was measured."""
    return [
        *(g for engine in ("epoll", "uvloop") for g in _of_engine(found, engine, quiet)),
        *(
            Goal(what, alone[name][key], sign, goal, alone[name]["other_cores"], quiet)
            for name, key, what, sign, goal in _ALONE
            if name in alone
        ),
    ]


def _of_engine(found: Found, engine: str, quiet: float) -> Iterator[Goal]:
    for name, key, what, sign, ratios in _RATIOS:
        rows = found.get(name, {})
        for peer, ratio in ratios.items():
            if engine in rows and peer in rows:
                other = max(rows[engine]["other_cores"], rows[peer]["other_cores"])
                value = rows[engine][key] / max(1e-9, rows[peer][key])
                yield Goal(f"{engine}: {what}, against {peer}", value, sign, ratio, other, quiet)
    size: Callable[[float], float] = abs
    for name, key, what, sign, goal in _PLAIN:
        row = found.get(name, {}).get(engine)
        # Kernel timestamps, on which goals of ITL rest, are epoll's.
        if row is not None and not (engine == "uvloop" and key == "itl_error_p99_ms"):
            yield Goal(f"{engine}: {what}", size(row[key]), sign, goal, row["other_cores"], quiet)
