"""What inference engines tell of themselves: Prometheus text, the names of vLLM and SGLang in common words."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping

from attrs import define, field

_LINE = re.compile(r"([a-zA-Z_:][\w:]*)(\{.*\})?\s+(\S+)(?:\s+-?\d+)?\s*$")

_GAUGES: Mapping[str, tuple[str, float, bool]] = {
    "vllm:num_requests_running": ("running", 1, False), "vllm:num_requests_waiting": ("waiting", 1, False),
    "vllm:kv_cache_usage_perc": ("kv_usage", 100, True), "vllm:gpu_cache_usage_perc": ("kv_usage", 100, True),
    "vllm:gpu_prefix_cache_hit_rate": ("prefix_hit_rate", 100, True),
    "sglang:num_running_reqs": ("running", 1, False), "sglang:num_queue_reqs": ("waiting", 1, False),
    "sglang:token_usage": ("kv_usage", 100, True), "sglang:cache_hit_rate": ("prefix_hit_rate", 100, True),
    "sglang:gen_throughput": ("generated", 1, False),
}  # fmt: skip
"""Name: ours, what it is multiplied by, and whether several (ranks, models) are averaged rather than added."""

_RATES: Mapping[str, str] = {
    "vllm:num_preemptions": "preemptions", "vllm:generation_tokens": "generated",
    "sglang:num_retracted_reqs": "preemptions", "sglang:num_retracted_requests": "preemptions",
    "sglang:generation_tokens": "generated",
}  # fmt: skip
_HITS = (
    ("vllm:prefix_cache_hits", "vllm:prefix_cache_queries"),
    ("vllm:gpu_prefix_cache_hits", "vllm:gpu_prefix_cache_queries"),
    ("sglang:cached_tokens", "sglang:prompt_tokens"),
)


def parse(text: str) -> Iterator[tuple[str, str, float]]:
    """Name, labels and value of each sample; a line that is none is passed over."""
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        found = _LINE.match(line)
        if found is None:
            continue
        try:
            value = float(found[3])
        except ValueError:
            continue
        yield found[1], found[2] or "", value


@define(eq=False)
class EngineReader:
    """Looks at one engine again and again; counters become rates since the last look."""

    _before: tuple[float, dict[str, float]] | None = field(default=None)

    def read(self, text: str, now: float) -> dict[str, float]:
        """The common quantities; nothing if this is no engine that is known."""
        gauges: dict[str, list[float]] = {}
        averaged: dict[str, bool] = {}
        counters: dict[str, float] = {}
        for name, _, value in parse(text):
            if not math.isfinite(value):
                continue
            if name in _GAUGES:
                ours, scale, average = _GAUGES[name]
                gauges.setdefault(ours, []).append(value * scale)
                averaged[ours] = average
            else:
                plain = name.removesuffix("_total")
                counters[plain] = counters.get(plain, 0.0) + value
        found = {k: sum(v) / (len(v) if averaged[k] else 1) for k, v in gauges.items()}
        if self._before is not None and now > self._before[0]:
            found = {**self._since(counters, now), **found}
        self._before = (now, counters)
        return {k: round(v, 4) for k, v in found.items()}

    def _since(self, counters: Mapping[str, float], now: float) -> dict[str, float]:
        assert self._before is not None
        then, before = self._before
        found: dict[str, float] = {}
        for name, ours in _RATES.items():
            if name in counters and name in before and counters[name] >= before[name]:
                found.setdefault(ours, (counters[name] - before[name]) / (now - then))
        for hits, asked in _HITS:
            if hits in counters and asked in counters and hits in before and asked in before:
                queries = counters[asked] - before[asked]
                if queries > 0 and counters[hits] >= before[hits]:
                    found.setdefault("prefix_hit_rate", (counters[hits] - before[hits]) / queries * 100)
        return found
