"""From records to figures: the only place where a run's numbers are made, so that they can be made again."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from operator import sub

from attrs import define, field, frozen

from .core.records import Record
from .core.stats import Distribution, Interval, block_bootstrap, longest_stretch
from .metrics import BY_NAME, METRICS, Better, input_tokens, legacy_chunks, output_tokens

PERCENTS = (50.0, 90.0, 95.0, 99.0)
_STEADY = 0.9
_TOGETHER = 50_000
_FEW = 20
"""Answers, or tokens, without which a rate within the steady part is chance; so are fewer than two answers for each slot."""
_CONFIDENT = ("ttft", "tpot", "e2el")
CANCELLED = "cancelled"


@frozen
class Slo:
    """``metric`` must be at most (``less``) or at least (``more``) ``limit``, in the metric's unit, per request."""

    metric: str
    limit: float
    better: Better = "less"

    def met(self, record: Record) -> bool:
        """Whether a successful request keeps it; one that has no such value (one token, no TPOT) does."""
        value = BY_NAME[self.metric].of(record)
        if value is None:
            return True
        return value <= self.limit if self.better == "less" else value >= self.limit


@frozen
class Summary:
    """Figures of one run. ``distributions`` are by metric name; times are ms, rates per second.

    ``good`` counts successes that keep every SLO; ``attainment`` is their share of all requests that ended by
    themselves, failed ones included. ``steady``: the longest stretch (s after the start) with at least 90 % of the peak
    in flight, and those rates in it that it is long enough for; ``unsteady`` says which are missing, and why.
    """

    requests: int
    succeeded: int
    failed: int
    cancelled: int
    seconds: float
    input_tokens: int
    output_tokens: int
    chunk_tokens: int
    distributions: Mapping[str, Distribution] = field(repr=False)
    intervals: Mapping[str, Mapping[str, Interval]] = field(repr=False)
    errors: Mapping[str, int]
    examples: Mapping[str, str] = field(repr=False)
    good: int | None
    peak_in_flight: int
    mean_in_flight: float
    steady: Mapping[str, float]
    series: Sequence[Mapping[str, float]] = field(repr=False)
    slos: tuple[Slo, ...] = ()
    unsteady: str = ""

    def rate(self, amount: float) -> float:
        """``amount`` per second of the run."""
        return amount / self.seconds if self.seconds > 0 else 0.0

    @property
    def lost(self) -> float | None:
        """Share of the requests that ended by themselves which failed, 0 to 1."""
        ended = self.succeeded + self.failed
        return self.failed / ended if ended else None

    @property
    def attainment(self) -> float | None:
        """Share of good requests, 0 to 1."""
        ended = self.succeeded + self.failed
        return None if self.good is None or not ended else self.good / ended


def summarise(
    records: Iterable[Record], slos: Sequence[Slo] = (), *, confidence: bool = True, seconds: float | None = None
) -> Summary:
    """Compute everything. ``seconds``: over what rates are taken; without it from the first send to the last end."""
    kept = sorted(records, key=lambda r: r.sent)
    good_ones = [r for r in kept if r.ok]
    begin = min((r.sent for r in kept), default=0)
    end = max((r.sent + r.ended for r in kept), default=begin)
    length = (end - begin) / 1e6 if seconds is None else seconds
    distributions: dict[str, Distribution] = {}
    intervals: dict[str, Mapping[str, Interval]] = {}
    for metric in METRICS:
        values = [v for r in good_ones if (v := metric.of(r)) is not None]
        distributions[metric.name] = Distribution.of(values)
        if confidence and metric.name in _CONFIDENT:
            intervals[metric.name] = block_bootstrap(values, (50.0, 99.0))
    distributions.update(_gaps(good_ones))
    failed = [r for r in kept if not r.ok and r.error != CANCELLED]
    flight = _flight(kept)
    steady, unsteady = _steady(kept, flight, begin)
    return Summary(
        requests=len(kept),
        succeeded=len(good_ones),
        failed=len(failed),
        cancelled=len(kept) - len(good_ones) - len(failed),
        seconds=length,
        input_tokens=sum(map(input_tokens, good_ones)),
        output_tokens=sum(map(output_tokens, good_ones)),
        chunk_tokens=sum(len(legacy_chunks(r)) for r in good_ones),
        distributions=distributions,
        intervals=intervals,
        errors=dict(Counter(r.error for r in kept if not r.ok).most_common()),
        examples={r.error: r.detail for r in reversed(kept) if not r.ok},
        good=sum(all(s.met(r) for s in slos) for r in good_ones) if slos else None,
        peak_in_flight=max((level for _, level in flight), default=0),
        mean_in_flight=sum(r.ended for r in kept) / max(1, end - begin),
        steady=steady,
        unsteady=unsteady,
        series=_series(kept, flight, begin, end),
        slos=tuple(slos),
    )


def _gaps(records: Sequence[Record]) -> dict[str, Distribution]:
    """ITL by chunk, by token, and as the earlier tool saw it."""
    pooled: Counter[float] = Counter()
    # Where tokens, or the earlier tool, would have it otherwise: gaps to take away and to put in their place.
    for_tokens, for_legacy = _Change(), _Change()
    waiting: list[int] = []
    around: list[int] = []
    for record in records:
        times = record.tokens
        gaps = list(map(sub, times[1:], times))
        waiting += gaps
        if len(waiting) > _TOGETHER:
            pooled.update(waiting)
            waiting.clear()
        total = output_tokens(record)
        if record.counts:
            for_tokens.replace(gaps, _shared(gaps, record.counts[1:]))
        elif gaps and total != len(times):
            for_tokens.replace(gaps, _shared(gaps, (total / len(times),) * len(gaps)))
        if record.empty and times and not record.reasoning and (more := _around(record.empty, times)) is not None:
            around += more
        elif record.empty or record.reasoning:
            chunks = legacy_chunks(record)
            for_legacy.replace(gaps, map(sub, chunks[1:], chunks))
    pooled.update(waiting)
    for_legacy.plus.update(around)
    plain = Distribution(pooled, scale=0.001)
    return {"itl": plain, "itl_token": for_tokens.of(pooled, plain), "itl_legacy": for_legacy.of(pooled, plain)}


def _around(empty: Sequence[int], times: Sequence[int]) -> list[int] | None:
    """The gaps that empty chunks add where all of them come before the first token or after the last, as most do."""
    empty = sorted(empty)
    at = bisect_right(empty, times[0])
    before, after = [*empty[:at], times[0]], [times[-1], *empty[at:]]
    if len(after) > 1 and after[1] < times[-1]:
        return None
    return [*map(sub, before[1:], before), *map(sub, after[1:], after)]


def _shared(gaps: Sequence[int], shares: Sequence[float]) -> Counter[float]:
    """Each gap shared evenly by the tokens of the chunk that ends it, counted once for each of them."""
    made: Counter[float] = Counter()
    for gap, share in zip(gaps, shares, strict=True):
        made[gap / share] += max(1, round(share))
    return made


@define
class _Change:
    """Counts that differ from others in some of their parts."""

    minus: Counter[float] = field(factory=Counter)
    plus: Counter[float] = field(factory=Counter)

    def replace(self, old: Iterable[float], new: Iterable[float] | Mapping[float, int]) -> None:
        self.minus.update(old)
        self.plus.update(new)

    def of(self, counts: Counter[float], plain: Distribution) -> Distribution:
        """The distribution of ``counts`` so changed; ``plain`` is that of the unchanged ones."""
        if not self.minus and not self.plus:
            return plain
        if self.minus:
            return Distribution(counts - self.minus + self.plus, scale=0.001)
        more = counts.copy()  # by far the quickest where there are many different ones
        more.update(self.plus)
        return Distribution(more, scale=0.001)


def _flight(records: Sequence[Record]) -> list[tuple[int, int]]:
    """When the number of requests in flight changed, and to what."""
    changes = sorted([(r.sent, 1) for r in records] + [(r.sent + r.ended, -1) for r in records])
    level = 0
    points = []
    for at, change in changes:
        level += change
        points.append((at, level))
    return points


def _steady(records: Sequence[Record], flight: Sequence[tuple[int, int]], begin: int) -> tuple[dict[str, float], str]:
    """The steady part, and what cannot be told of it: a rate of fewer answers than slots is how they happened to fall."""
    peak = max((level for _, level in flight), default=0)
    low, high = longest_stretch(flight, _STEADY * peak)
    if high <= low:
        return {}, ""
    ended = [r for r in records if r.ok and low <= r.sent + r.ended <= high]
    tokens = 0
    for record in records:
        if record.ok and record.tokens and record.sent <= high and record.sent + record.ended >= low:
            share = output_tokens(record) / len(record.tokens)
            inside = bisect_right(record.tokens, high - record.sent) - bisect_left(record.tokens, low - record.sent)
            tokens += round(share * inside)
    seconds = (high - low) / 1e6
    steady = {"from": (low - begin) / 1e6, "to": (high - begin) / 1e6, "seconds": seconds, "requests": len(ended)}
    unsteady = []
    for name, count, least in (
        ("output_throughput", tokens, _FEW),
        ("request_throughput", len(ended), max(_FEW, 2 * peak)),
    ):
        if count >= least:
            steady[name] = count / seconds
        else:
            unsteady.append(f"{name}: {count} in {seconds:.1f} s, {least} or more would tell")
    return steady, "; ".join(unsteady)


def _series(
    records: Sequence[Record], flight: Sequence[tuple[int, int]], begin: int, end: int
) -> list[dict[str, float]]:
    """Second by second: requests sent, done and failed, tokens, mean TTFT of those sent, the most in flight."""
    seconds = (end - begin) // 1_000_000 + 1
    if not records or seconds > 100_000:
        return []
    names = ("sent", "succeeded", "failed", "tokens", "in_flight")
    rows: list[dict[str, float]] = [dict.fromkeys(names, 0) for _ in range(seconds)]
    waits: list[list[int]] = [[] for _ in range(seconds)]
    for record in records:
        at = (record.sent - begin) // 1_000_000
        rows[at]["sent"] += 1
        last = min(seconds - 1, (record.sent + record.ended - begin) // 1_000_000)
        rows[last]["succeeded" if record.ok else "failed"] += 1
        if record.tokens:
            waits[at].append(record.tokens[0])
            share = output_tokens(record) / len(record.tokens)
            offset = record.sent - begin
            done = 0
            for second in range((record.tokens[0] + offset) // 1_000_000, seconds):
                until = bisect_left(record.tokens, (second + 1) * 1_000_000 - offset)
                rows[second]["tokens"] += (until - done) * share
                done = until
                if done == len(record.tokens):
                    break
    for at, level in flight:
        row = rows[min(seconds - 1, (at - begin) // 1_000_000)]
        row["in_flight"] = max(row["in_flight"], level)
    for number, row in enumerate(rows):
        row["second"] = number
        if waits[number]:
            row["ttft_mean_ms"] = sum(waits[number]) / len(waits[number]) / 1000
    return rows
