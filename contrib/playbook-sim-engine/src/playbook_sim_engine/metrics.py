"""Counters, gauges and histograms in Prometheus' text format, under the names that vLLM gives them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Callable

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
TTFT_BUCKETS = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0)
TPOT_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0)
E2E_BUCKETS = (0.05, 0.1, 0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0)
LAG_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _labels(pairs: dict[str, str]) -> str:
    return ",".join(f'{name}="{_escape(value)}"' for name, value in pairs.items())


class Counter:
    """Only ever grows; `value` is added to directly."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: float = 0


class Histogram:
    """Cumulative buckets of values in seconds."""

    __slots__ = ("_bounds", "_counts", "count", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(bounds) + 1)
        self.count = 0
        self.total = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        """Count `value` so many times."""
        self._counts[bisect_left(self._bounds, value)] += times
        self.count += times
        self.total += value * times

    def lines(self, name: str, labels: str) -> list[str]:
        """Render the buckets, the sum and the count."""
        lines, running = [], 0
        comma = "," if labels else ""
        for bound, count in zip((*(repr(b) for b in self._bounds), "+Inf"), self._counts):
            running += count
            lines.append(f'{name}_bucket{{{labels}{comma}le="{bound}"}} {running}')
        return [*lines, f"{name}_sum{{{labels}}} {self.total}", f"{name}_count{{{labels}}} {self.count}"]


class Registry:
    """All metrics of a process, with labels that every one carries."""

    def __init__(self, labels: dict[str, str]) -> None:
        self._common = labels
        self._families: dict[str, tuple[str, str, list[tuple[str, object]]]] = {}

    def counter(self, name: str, text: str, **labels: str) -> Counter:
        """Make a counter; call again with other labels for another series of the same name."""
        metric = Counter()
        self._add(name, "counter", text, labels, metric)
        return metric

    def gauge(self, name: str, text: str, read: Callable[[], float], **labels: str) -> None:
        """Show what `read` gives at the time of the scrape."""
        self._add(name, "gauge", text, labels, read)

    def histogram(self, name: str, text: str, bounds: Sequence[float]) -> Histogram:
        """Make a histogram with upper bounds in seconds."""
        metric = Histogram(bounds)
        self._add(name, "histogram", text, {}, metric)
        return metric

    def _add(self, name: str, kind: str, text: str, labels: dict[str, str], metric: object) -> None:
        family = self._families.setdefault(name, (kind, text, []))
        family[2].append((_labels({**self._common, **labels}), metric))

    def render(self) -> bytes:
        """Give the page that Prometheus scrapes."""
        lines: list[str] = []
        for name, (kind, text, series) in self._families.items():
            lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
            for labels, metric in series:
                if isinstance(metric, Histogram):
                    lines += metric.lines(name, labels)
                elif isinstance(metric, Counter):
                    lines.append(f"{name}{{{labels}}} {metric.value}")
                elif callable(metric):
                    lines.append(f"{name}{{{labels}}} {metric()}")
        return ("\n".join(lines) + "\n").encode()


class EngineMetrics:
    """What an engine that computes counts."""

    def __init__(self, registry: Registry) -> None:
        counter, histogram = registry.counter, registry.histogram
        self.prompt_tokens = counter("vllm:prompt_tokens_total", "Prefill tokens processed.")
        self.generation_tokens = counter("vllm:generation_tokens_total", "Tokens generated.")
        self.preemptions = counter("vllm:num_preemptions_total", "Sequences that lost their KV cache to others.")
        self.prefix_queries = counter("vllm:prefix_cache_queries_total", "Prompt tokens looked up in the cache.")
        self.prefix_hits = counter("vllm:prefix_cache_hits_total", "Prompt tokens found in the cache.")
        text = "Requests by how they finished."
        self.finished = {
            reason: counter("vllm:request_success_total", text, finished_reason=reason)
            for reason in ("stop", "length", "abort")
        }
        self.ttft = histogram("vllm:time_to_first_token_seconds", "Arrival to first token.", TTFT_BUCKETS)
        self.tpot = histogram("vllm:time_per_output_token_seconds", "Time per output token.", TPOT_BUCKETS)
        self.e2e = histogram("vllm:e2e_request_latency_seconds", "Arrival to last token.", E2E_BUCKETS)
        self.queue = histogram("vllm:request_queue_time_seconds", "Arrival to admission.", E2E_BUCKETS)
        self.lag = histogram("sim:schedule_lag_seconds", "How late tokens left against the model's clock.", LAG_BUCKETS)
        self.kv_bytes = counter("sim:kv_transfer_bytes_total", "KV bytes sent (prefill) or received (decode).")
        self.kv_transfers = counter("sim:kv_transfers_total", "KV transfers completed.")
        self.kv_failures = counter("sim:kv_transfer_failures_total", "KV transfers that failed.")
