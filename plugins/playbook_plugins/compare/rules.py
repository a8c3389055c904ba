"""When a gate fails: ``p99_ttft > +5%`` (against the baseline), ``ttft_p99_ms > 500`` (a limit), ``worse`` (any verdict).

``SCENARIO: RULE`` holds for scenarios of that name only; ``*`` and ``?`` stand for what they stand for in file names.
"""

from __future__ import annotations

import fnmatch
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal

from attrs import frozen
from playbook_kernel.api import ConfigError

from playbook_plugins.stats.metrics import in_base_unit, meaning

from .comparison import Comparison, ScenarioComparison
from .verdicts import Difference

_RULE = re.compile(
    r"(?:(?P<scenario>[^:<>]+):\s*)?(?P<metric>[A-Za-z][\w.\- ]*?)\s*(?P<sign><=|>=|<|>)\s*"
    r"(?P<value>[+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?)\s*(?P<unit>%|ms|s)?"
)
_WORSE = re.compile(r"(?:(?P<scenario>[^:<>]+):\s*)?worse")
_SIGNS: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
Outcome = Literal["pass", "fail", "undecided"]


@frozen
class Rule:
    """``metric`` empty: any verdict ``worse``. ``relative``: ``limit`` is a part of the baseline's value."""

    text: str
    metric: str = ""
    sign: str = ">"
    limit: float = 0.0
    relative: bool = False
    unit: str = ""
    scenario: str = "*"

    @property
    def limits(self) -> bool:
        """Whether it looks at the new value alone."""
        return bool(self.metric) and not self.relative

    @classmethod
    def parse(cls, text: str) -> Rule:
        """Read a rule. Raises ConfigError."""
        text = text.strip()
        if found := _WORSE.fullmatch(text):
            return cls(text, scenario=(found["scenario"] or "*").strip())
        found = _RULE.fullmatch(text)
        if found is None:
            raise ConfigError(
                [f"--fail-on {text!r} is no rule"], hint="write 'p99_ttft > +5%', 'ttft_p99_ms > 500' or 'worse'"
            )
        value, unit = float(found["value"]), found["unit"] or ""
        relative = unit == "%" and found["value"][0] in "+-"
        if found["value"][0] == "+" and not unit:
            raise ConfigError(
                [f"--fail-on {text!r}: +{value:g} of what?"], hint=f"a change: +{value:g}%, a limit: {value:g}"
            )
        if unit == "%" and not relative and "share" not in found["metric"] and "percent" not in found["metric"]:
            raise ConfigError(
                [f"--fail-on {text!r}: is {value:g}% a limit or a change?"], hint=f"a change has a sign: +{value:g}%"
            )
        return cls(
            text,
            found["metric"].strip(),
            found["sign"],
            value / 100 if unit == "%" else value,
            relative,
            "" if unit == "%" else unit,
            (found["scenario"] or "*").strip(),
        )


@frozen
class Finding:
    """What a rule says of a scenario."""

    scenario: str
    rule: str
    outcome: Outcome
    text: str


def judge(comparison: Comparison, rules: Sequence[Rule]) -> list[Finding]:
    """Apply every rule to every scenario. Raises ConfigError if a rule's metric or scenario is nowhere."""
    findings: list[Finding] = []
    for rule in rules:
        meant = [s for s in comparison.scenarios if fnmatch.fnmatchcase(s.scenario, rule.scenario)]
        if not meant:
            raise ConfigError([f"--fail-on {rule.text!r}: no scenario is called {rule.scenario!r}"])
        found = [f for s in meant for f in _judge(s, rule)]
        if not found and any(s.differences for s in meant):
            known = sorted({d.metric for s in meant for d in s.differences})
            raise ConfigError(
                [f"--fail-on {rule.text!r}: no scenario has a metric {rule.metric!r}"],
                hint=f"there are {', '.join(known)}",
            )
        findings += found
    for scenario in comparison.scenarios:
        if scenario.missing and scenario.worse:
            findings.append(Finding(scenario.scenario, "completed", "fail", scenario.missing))
    return findings


def _judge(scenario: ScenarioComparison, rule: Rule) -> Iterator[Finding]:
    for one in scenario.differences:
        if not rule.metric:
            if one.verdict == "worse":
                yield Finding(scenario.scenario, rule.text, "fail", said(one))
            else:
                outcome: Outcome = "undecided" if one.verdict == "cannot tell" else "pass"
                yield Finding(scenario.scenario, f"{rule.text}: {one.metric}", outcome, said(one))
        elif one.metric == rule.metric or meaning(one.metric) == meaning(rule.metric):
            text = _limit_said(one, rule) if rule.limits else said(one)
            yield Finding(scenario.scenario, rule.text, _outcome(one, rule), text)
            return


def _outcome(one: Difference, rule: Rule) -> Outcome:
    holds = _SIGNS[rule.sign]
    if not rule.relative:
        value, limit = one.after, rule.limit
        if rule.unit:
            value, limit = in_base_unit(value, one.unit), in_base_unit(limit, rule.unit)
        return "fail" if holds(value, limit) else "pass"
    change = one.change / one.before if one.absolute and one.before else one.change
    if not holds(change, rule.limit):
        return "pass"
    return "fail" if one.real else "undecided"


def _limit_said(one: Difference, rule: Rule) -> str:
    """The value beside its limit, and what it was in the baseline."""
    scale = 100.0 if one.unit == "%" and "share" in one.metric else 1.0
    unit = "" if one.unit == "1" else f" {one.unit}"
    limit = f"{rule.sign} {rule.limit * scale:g}{f' {rule.unit}' if rule.unit else unit}"
    value, before = one.after * scale, one.before * scale
    return f"{one.metric} is {value:.6g}{unit}, fails when {limit} (baseline: {before:.6g}{unit})"


def alone(findings: Sequence[Finding]) -> list[Finding]:
    """Findings as a person reads them: what `worse` leaves undecided is one line a scenario, not one a metric."""
    made: list[Finding] = []
    for scenario in dict.fromkeys(f.scenario for f in findings):
        mine = [f for f in findings if f.scenario == scenario]
        open_ones = [f for f in mine if f.outcome == "undecided" and _WORSE.match(f.rule)]
        made += [f for f in mine if f not in open_ones or len(open_ones) == 1]
        if len(open_ones) > 1:
            names = ", ".join(f.text.partition(":")[0] for f in open_ones)
            rule = open_ones[0].rule.partition(": ")[0]
            text = f"{len(open_ones)} metrics differ by no more than chance may make: {names}"
            made.append(Finding(scenario, rule, "undecided", text))
    return made


def said(one: Difference) -> str:
    """A difference in words."""
    many = f", {one.advice} repeats a side would tell" if one.advice else ""
    note = f" ({one.note})" if one.note else ""
    return f"{one.metric}: {shown_change(one)}, 95% interval {shown_interval(one)}: {one.verdict}{many}{note}"


def shown_change(one: Difference) -> str:
    """The change, in percent, or in percentage points or the metric's own unit where there is no ratio."""
    if not one.absolute:
        return f"{one.change:+.2%}"
    return f"{one.change * 100:+.2f} pp" if one.unit == "%" else f"{one.change:+.4g}"


def shown_interval(one: Difference) -> str:
    """The interval of the change."""
    if not one.absolute:
        return f"{one.low:+.2%} to {one.high:+.2%}"
    if one.unit == "%":
        return f"{one.low * 100:+.2f} to {one.high * 100:+.2f} pp"
    return f"{one.low:+.4g} to {one.high:+.4g}"
