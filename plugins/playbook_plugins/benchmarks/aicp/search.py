"""The highest load that keeps its limits: bisection, with repeats, a statement of confidence, and memory of its probes."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path

import attrs
from attrs import define, field, frozen

from .campaign import Campaign
from .point import BenchmarkError, Point

_Z = 1.96


@frozen
class Bounds:
    """``by`` concurrency or rate, from ``low`` to ``high``; it ends when the two are ``resolution`` apart, a share."""

    by: str
    low: float
    high: float
    resolution: float = 0.05

    def middle(self, low: float, high: float) -> float | None:
        """A level to try between the two, or None if they are close enough. Loads are told apart by ratio."""
        if self.by == "concurrency":
            made = float(round(math.sqrt(low * high)))
            if high - low <= 1 or high / low <= 1 + self.resolution:
                return None
            return min(max(made, low + 1), high - 1)
        return None if high / low <= 1 + self.resolution else math.sqrt(low * high)


@frozen
class Probe:
    """How many requests were good, of all that ended, at a level."""

    level: float
    good: int
    ended: int

    @property
    def share(self) -> float:
        return self.good / self.ended if self.ended else 0.0

    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the share."""
        if not self.ended:
            return 0.0, 1.0
        n, p = self.ended, self.share
        center = (p + _Z * _Z / (2 * n)) / (1 + _Z * _Z / n)
        half = _Z / (1 + _Z * _Z / n) * math.sqrt(p * (1 - p) / n + _Z * _Z / (4 * n * n))
        return max(0.0, center - half), min(1.0, center + half)


@frozen
class Verdict:
    """``best`` is None if not even the lowest load keeps the limits."""

    best: float | None
    text: str
    probes: tuple[Probe, ...] = ()


@define
class _Memory:
    """Probes of earlier, interrupted searches with the same options."""

    path: Path | None
    key: str
    probes: list[Probe] = field(factory=list)

    def load(self) -> None:
        if self.path is None or not self.path.exists():
            return
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                raw = json.loads(line)
                if raw.pop("key") == self.key:
                    self.probes.append(Probe(**raw))
            except (ValueError, KeyError, TypeError):
                continue  # a line that was cut off

    def add(self, probe: Probe) -> None:
        self.probes.append(probe)
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"key": self.key, **attrs.asdict(probe)}) + "\n")

    def at(self, level: float) -> tuple[Probe, int]:
        """All probes of a level as one, and how many they are."""
        found = [p for p in self.probes if math.isclose(p.level, level, rel_tol=1e-9)]
        return Probe(level, sum(p.good for p in found), sum(p.ended for p in found)), len(found)


def slo_search(campaign: Campaign, bounds: Bounds) -> Verdict:
    """Probe levels between the bounds until they are close. Never leaves the bounds. Raises BenchmarkError.

    A level keeps the limits if at least ``slo_share`` of its requests do, each by itself. Every probe is on disk before
    the next one; a search that was interrupted goes on where it was.
    """
    if not 0 < bounds.low <= bounds.high:
        raise BenchmarkError(f"the bounds must be positive and in order: {bounds.low:g} to {bounds.high:g}")
    options = campaign.options
    keeps = campaign.outputs.directory / "slo-search.jsonl"
    memory = _Memory(None if options.disable_save_result else keeps, _key(campaign, bounds))
    memory.load()
    if memory.probes:
        campaign.say(f"{len(memory.probes)} probes of an earlier search are used again")

    def good(level: float) -> bool:
        while (done := memory.at(level)[1]) < options.probe_repeats:
            if campaign.stopped:
                raise BenchmarkError("the search was stopped; the same command goes on with it")
            count = options.num_prompts[0]
            outcome = campaign.measure(point_of(bounds, level, count), campaign.dataset.dynamic(count))
            if outcome.partial:
                raise BenchmarkError("the search was stopped; the same command goes on with it")
            summary = outcome.summary
            memory.add(Probe(level, summary.good or 0, summary.succeeded + summary.failed))
            campaign.say(
                f"{bounds.by} {level:g}, probe {done + 1}: {memory.probes[-1].share:.2%} of requests were good"
            )
        return memory.at(level)[0].share >= options.slo_share

    low, high = bounds.low, bounds.high
    if not good(low):
        return _verdict(None, None, bounds, memory, options.slo_share)
    if low == high or good(high):
        return _verdict(high, None, bounds, memory, options.slo_share)
    while (level := bounds.middle(low, high)) is not None:
        if good(level):
            low = level
        else:
            high = level
    return _verdict(low, high, bounds, memory, options.slo_share)


def point_of(bounds: Bounds, level: float, count: int) -> Point:
    """The load of ``count`` requests at a level."""
    if bounds.by == "rate":
        # Without a cap: a level that waits for slots would hide what it is to show.
        return Point("dynamic", 0, level, count)
    return Point("dynamic", int(level), math.inf, count)


def _key(campaign: Campaign, bounds: Bounds) -> str:
    """What must be the same for probes to be used again."""
    said = attrs.asdict(attrs.evolve(campaign.options, case_id=None, metadata={}, api_key=None))
    return hashlib.sha256(f"{bounds.by} {sorted(said.items())!r}".encode()).hexdigest()[:16]


def _verdict(best: float | None, worse: float | None, bounds: Bounds, memory: _Memory, wanted: float) -> Verdict:
    probes = tuple(memory.at(level)[0] for level in sorted({p.level for p in memory.probes}))
    what = f"at least {wanted:.4g} of requests good"
    if best is None:
        probe = memory.at(bounds.low)[0]
        return Verdict(None, f"not even {bounds.by} {bounds.low:g} keeps {what}: {probe.share:.4g}", probes)
    probe = memory.at(best)[0]
    least, most = probe.interval()
    sure = (
        "sure at 95 %"
        if least >= wanted
        else f"not sure at 95 %: the true share may be {least:.4g}; more requests or repeats help"
    )
    end = "the highest allowed" if worse is None else f"{worse:g} does not"
    text = f"{bounds.by} {best:g} keeps {what}: {probe.good} of {probe.ended} ({least:.4g} to {most:.4g}, 95 %), {sure}; {end}"
    return Verdict(best, text, probes)
