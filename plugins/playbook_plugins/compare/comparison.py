"""Variants against a baseline: first what differs in what they are, then what they did."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import evolve, field, frozen

from playbook_plugins.stats.fingerprints import engines, images, nodes, provenance, scenario_state
from playbook_plugins.stats.metrics import meaning

from .observed import MAIN, Trials, Variant, observe
from .verdicts import Difference, Settings, difference, share_difference


@frozen
class Changed:
    """Something that is not the same on both sides."""

    what: str
    before: str
    after: str


@frozen
class ScenarioComparison:
    """``missing``: why nothing could be compared, if so; that is a change for the worse unless the baseline lacks it too."""

    scenario: str
    differences: tuple[Difference, ...] = ()
    missing: str = ""
    worse: bool = False


@frozen
class Comparison:
    """One variant against the baseline."""

    baseline: str
    variant: str
    runs: tuple[tuple[str, ...], tuple[str, ...]]
    changed: tuple[Changed, ...] = ()
    scenarios: tuple[ScenarioComparison, ...] = field(factory=tuple)

    @property
    def both(self) -> tuple[str, ...]:
        """The runs that stand on both sides: no number of such repeats would tell anything."""
        return tuple(name for name in self.runs[0] if name in self.runs[1])


def compare(baseline: Variant, other: Variant, settings: Settings, wanted: Sequence[str] | None = MAIN) -> Comparison:
    """Compare two variants, scenario by scenario, metric by metric. ``wanted`` None: every metric there is."""
    names = list(dict.fromkeys([*baseline.scenarios, *other.scenarios]))
    made = Comparison(
        baseline.name,
        other.name,
        (tuple(r.id for r in baseline.results), tuple(r.id for r in other.results)),
        tuple(changed(baseline, other)),
        tuple(
            _scenario(name, observe(baseline, name, wanted), observe(other, name, wanted), settings) for name in names
        ),
    )
    return evolve(made, scenarios=tuple(map(_without_advice, made.scenarios))) if made.both else made


def _without_advice(scenario: ScenarioComparison) -> ScenarioComparison:
    return evolve(scenario, differences=tuple(evolve(d, repeats_needed=0) for d in scenario.differences))


def _scenario(name: str, before: Trials, after: Trials, settings: Settings) -> ScenarioComparison:
    if not before.completed or not after.completed:
        sides = (("baseline", before), ("other", after))
        lost = [f"the {side}'s {_lost(trials)}" for side, trials in sides if not trials.completed]
        return ScenarioComparison(name, missing="; ".join(lost), worse=bool(before.completed))
    found: list[Difference] = []
    repeats = (before.completed, after.completed)
    if before.completed < before.total or after.completed < after.total:
        bad = [(t.total - t.completed, t.total) for t in (before, after)]
        found.append(share_difference("failed_trials", bad[0], bad[1], settings, repeats))
    if before.requests and after.requests:
        counts = [(t.errors, t.requests) for t in (before, after)]
        found.append(share_difference("failed_requests_share", counts[0], counts[1], settings, repeats))
    for metric, values in before.metrics.items():
        twin = next((m for m in after.metrics if m == metric), None) or next(
            (m for m in after.metrics if meaning(m) == meaning(metric) and after.units[m] == before.units[metric]), None
        )
        if twin is not None:
            made = difference(metric, before.units[metric], values, after.metrics[twin], settings)
            if made is not None:
                found.append(made)
    return ScenarioComparison(name, tuple(found))


def _lost(trials: Trials) -> str:
    if not trials.total:
        return "runs do not have it"
    why = trials.reason or "no reason given"
    if not trials.attempts:
        return f"runs did not start it: {why}"
    return f"{trials.attempts} trial{'' if trials.attempts == 1 else 's'} did not complete: {why}"


def changed(before: Variant, after: Variant) -> list[Changed]:
    """What the two sides ran on and with, where that is not the same."""
    sides = [_facts(before), _facts(after)]
    keys = list(dict.fromkeys([*sides[0], *sides[1]]))
    return [
        Changed(key, sides[0].get(key, "(absent)"), sides[1].get(key, "(absent)"))
        for key in keys
        if sides[0].get(key) != sides[1].get(key)
    ]


def _facts(variant: Variant) -> dict[str, str]:
    found: dict[str, list[str]] = {}

    def add(key: str, value: Any) -> None:
        values = found.setdefault(key, [])
        if str(value) not in values:
            values.append(str(value))

    for folder, result in zip(variant.folders, variant.results, strict=True):
        add("tool", result.tool)
        for name, version in result.plugins.items():
            add(f"plugin {name}", version or "present")
        for node, facts in nodes(result).items():
            for key, values in facts.items():
                if key != "clock_offset":
                    for value in values:
                        add(f"{node}: {key}", value)
        for image in images(result, folder):
            add(f"{image.node}: image of {image.service}", f"{image.image} {image.digest}")
        for more in (provenance(result, folder), engines(result, folder), scenario_state(result, folder)):
            for key, text in more.items():
                add(key, text)
    return {k: "; ".join(sorted(v)) for k, v in found.items()}
