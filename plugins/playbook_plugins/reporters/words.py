"""How every report says a duration, an amount and a reason."""

from __future__ import annotations

import re

from playbook_kernel.api import CampaignResult, Metric, ScenarioResult, TrialResult, redact

_INTRAWORD = r"(?<=[^\W_])_+(?=[^\W_])"
_MARKUP = re.compile(rf"{_INTRAWORD}|[\\`*_\[\]<>|~]|&(?=#?\w+;)")
_FORMULA = re.compile(r"[ \n]*[=+\-@\t\r]")
_OPENING = re.compile(r"^(?:[#+=-]|\d{1,9}(?=[.)](?:\s|$)))")


def markdown_text(value: object) -> str:
    r"""Text from outside, so that it cannot become markup or break a table; an underscore within a word stays.

    >>> markdown_text("001_pd *new* |"), markdown_text("1. _x_")
    ('001_pd \\*new\\* \\|', '1\\. \\_x\\_')
    """
    line = _MARKUP.sub(lambda m: m[0] if len(m[0]) > 1 or _within(m) else f"\\{m[0]}", " ".join(str(value).split()))
    opening = _OPENING.match(line)
    if opening is None:
        return line
    at = opening.end() if opening[0].isdigit() else 0
    return f"{line[:at]}\\{line[at:]}"


def _within(match: re.Match[str]) -> bool:
    before, after = match.string[match.start() - 1 : match.start()], match.string[match.end() : match.end() + 1]
    return match[0] == "_" and before.isalnum() and after.isalnum()


def seconds(value: float) -> str:
    """A duration for people.

    >>> seconds(0.0123), seconds(3.21), seconds(75), seconds(7322)
    ('12 ms', '3.2 s', '1 min 15 s', '2 h 02 min')
    """
    if value < 0.9995:
        return f"{value * 1000:.0f} ms"
    if value < 59.95:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def left_clean(result: CampaignResult) -> str:
    """How the trials left their nodes, in a sentence; empty if there were none."""
    trials = [t for s in result.scenarios for t in s.trials]
    took = sum(p.seconds for t in trials for p in t.phases if p.phase == "cleanup")
    good, late = sum(t.clean is True for t in trials), sum(t.emergencies for t in trials)
    again = f", {late} emergency cleanup{'' if late == 1 else 's'}" if late else ""
    words = f"{good} of {len(trials)} trials were verified to have left their nodes clean{again}, {seconds(took)} of cleaning"
    return words if trials else ""


def number(value: float) -> str:
    """A number for people: four digits that count, thousands apart.

    >>> number(40.0), number(12345.678), number(0.01234567), number(617.437)
    ('40', '12,346', '0.01235', '617.4')
    """
    if value != value or value in (float("inf"), float("-inf")):
        return str(value)
    if value == int(value) and abs(value) < 1e15:
        return f"{value:,.0f}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def amount(metric: Metric) -> str:
    """A value with its unit; the unit is text from outside."""
    return number(metric.value) if metric.unit == "1" else f"{number(metric.value)} {metric.unit}"


def size(count: int) -> str:
    """A number of bytes for people.

    >>> size(162), size(15_000), size(3_400_000)
    ('162 B', '14.6 KiB', '3.2 MiB')
    """
    value, units = float(count), ["B", "KiB", "MiB", "GiB", "TiB"]
    while value >= 1024 and len(units) > 1:
        value, _ = value / 1024, units.pop(0)
    return f"{value:.0f} B" if units[0] == "B" else f"{value:.1f} {units[0]}"


def why(scenario: ScenarioResult) -> str:
    """Why the scenario did not complete, if it did not."""
    if scenario.reason:
        return scenario.reason
    failure = scenario.last.failure if scenario.last else None
    return f"{failure.phase}: {failure.error}" if failure else ""


def clean(trial: TrialResult | None) -> str:
    """Whether it was verified that nothing is left: ``yes``, ``no``, ``unknown``, or nothing without a trial."""
    if trial is None:
        return ""
    return "unknown" if trial.clean is None else "yes" if trial.clean else "no"


def formula_safe(value: object) -> object:
    """A cell of a table of values: a text that a spreadsheet would take for a formula gets an apostrophe in front.

    >>> formula_safe("=1+1"), formula_safe("plain"), formula_safe(-1.5)
    ("'=1+1", 'plain', -1.5)
    """
    if not isinstance(value, str):
        return value
    text = redact(value)
    return f"'{text}" if _FORMULA.match(text) else text
