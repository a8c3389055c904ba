"""A comparison as text, Markdown, JSON or a page."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from playbook_kernel.api import encode, redact, redacted

from playbook_plugins.reporters.html_.markup import Cell, Content, Html, Row, Table, el
from playbook_plugins.reporters.html_.page import shell
from playbook_plugins.reporters.html_.rows import Interval, forest
from playbook_plugins.reporters.words import markdown_text, number

from .comparison import Comparison, ScenarioComparison
from .rules import shown_change, shown_interval
from .verdicts import Difference

HEAD = ("metric", "baseline", "other", "change", "95% interval", "verdict", "repeats")
_SIGNS = {"better": "▲", "worse": "▼", "same": "=", "cannot tell": "?", "differs": "≠"}
_SAME = "Nothing is known to differ in what ran and what it ran on."


def _value(value: float, one: Difference) -> str:
    if one.unit == "%" and one.absolute:
        return f"{value:.2%}"
    return number(value) if one.unit == "1" else f"{number(value)} {one.unit}"


def cells(one: Difference) -> list[str]:
    """A difference as a row of text."""
    before, after = one.repeats
    repeats = str(before) if before == after else f"{before}/{after}"
    if one.advice:
        repeats += f" ({one.advice} a side would tell)"
    return [
        one.metric, _value(one.before, one), _value(one.after, one), shown_change(one), shown_interval(one),
        f"{_SIGNS[one.verdict]} {one.verdict}", repeats,
    ]  # fmt: skip


def _title(comparison: Comparison) -> str:
    return f"{comparison.variant} against {comparison.baseline}"


def _itself(comparison: Comparison) -> str:
    """A word on runs that stand on both sides."""
    both = ", ".join(comparison.both)
    return (
        f"{both} {'is' if len(comparison.both) == 1 else 'are'} on both sides; no repeats tell a run from itself"
        if both
        else ""
    )


def _notes(scenario: ScenarioComparison) -> list[str]:
    return list(dict.fromkeys(d.note for d in scenario.differences if d.note))


def as_text(comparisons: Sequence[Comparison]) -> str:
    """Plain columns for a terminal."""
    lines: list[str] = []
    for comparison in comparisons:
        lines += [_title(comparison), ""]
        if said := _itself(comparison):
            lines += [f"note: {said}", ""]
        if comparison.changed:
            rows = [[c.what, c.before, c.after] for c in comparison.changed]
            lines += ["What is not the same:", *_columns(["", "baseline", "other"], rows), ""]
        else:
            lines += [_SAME, ""]
        for scenario in comparison.scenarios:
            lines.append(f"{scenario.scenario}:")
            if scenario.missing:
                lines += [f"  {'▼ worse' if scenario.worse else '?'}: {scenario.missing}"]
            lines += _columns(HEAD, [cells(d) for d in scenario.differences])
            lines += [f"  note: {n}" for n in _notes(scenario)]
            lines.append("")
    return redact("\n".join(lines).rstrip())


def _columns(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    if not rows:
        return []
    cut = [[c if len(c) <= 60 else f"{c[:59]}…" for c in row] for row in rows]
    widths = [max(len(h), *(len(r[n]) for r in cut)) for n, h in enumerate(head)]
    return ["  " + "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in [head, *cut]]


def as_markdown(comparisons: Sequence[Comparison]) -> str:
    """Tables for a comment or a document."""
    lines: list[str] = []
    for comparison in comparisons:
        lines += [f"## {markdown_text(_title(comparison))}", ""]
        if said := _itself(comparison):
            lines += [f"Note: {markdown_text(said)}.", ""]
        if comparison.changed:
            lines += ["| what is not the same | baseline | other |", "|---|---|---|"]
            lines += [
                f"| {' | '.join(markdown_text(v) for v in (c.what, c.before, c.after))} |" for c in comparison.changed
            ]
            lines.append("")
        for scenario in comparison.scenarios:
            lines += [f"### {markdown_text(scenario.scenario)}", ""]
            if scenario.missing:
                lines += [f"{'**▼ worse**' if scenario.worse else '?'}: {markdown_text(scenario.missing)}", ""]
            if scenario.differences:
                lines += [f"| {' | '.join(HEAD)} |", f"|{'---|' * len(HEAD)}"]
                lines += [f"| {' | '.join(markdown_text(c) for c in cells(d))} |" for d in scenario.differences]
                lines += ["", *(f"Note: {markdown_text(n)}." for n in _notes(scenario)), ""]
    return redact("\n".join(lines).rstrip())


def as_json(comparisons: Sequence[Comparison]) -> str:
    """Everything, for programs."""
    data: list[Mapping[str, Any]] = [redacted(encode(c)) for c in comparisons]
    return json.dumps({"schema": 1, "comparisons": data}, indent=2, ensure_ascii=False, allow_nan=False)


def as_html(comparisons: Sequence[Comparison]) -> str:
    """A page like the report's."""
    title = "Comparison" if len(comparisons) > 1 else _title(comparisons[0])
    sections = [part for c in comparisons for part in _sections(c, many=len(comparisons) > 1)]
    intro = el("p", "Changes are of the other against the baseline; intervals are of 95% confidence.", class_="soft")
    return redact(shell(title, el("header", el("div", el("div", el("h1", title), intro), class_="bar1")), sections))


def _sections(comparison: Comparison, *, many: bool) -> list[Html]:
    head = f"{_title(comparison)}: what is not the same" if many else "What is not the same"
    rows: list[Row] = [[c.what, c.before, c.after] for c in comparison.changed]
    runs = [f"{side}: {', '.join(names)}" for side, names in zip(("Baseline", "Other"), comparison.runs, strict=True)]
    runs += [f"Note: {said}."] if (said := _itself(comparison)) else []
    same = el("p", _SAME)
    made = Table(head, ["what", "baseline", "other"], rows, hide_caption=True).html() if rows else same
    found = [el("section", el("h2", head), [el("p", r, class_="soft") for r in runs], made)]
    for scenario in comparison.scenarios:
        found.append(_scenario(scenario))
    return found


def _scenario(scenario: ScenarioComparison) -> Html:
    parts: list[Content] = [el("h2", scenario.scenario)]
    if scenario.missing:
        parts.append(el("div", scenario.missing, class_="reason" if scenario.worse else "note"))
    if scenario.differences:
        rows: list[Row] = []
        for one in scenario.differences:
            name, before, after, change, interval, verdict, repeats = cells(one)
            kind = {"better": "good", "worse": "bad", "cannot tell": "warn"}.get(one.verdict, "")
            rows.append([
                name, Cell(before, one.before), Cell(after, one.after), Cell(change, one.change), interval,
                Cell(verdict, kind=kind), repeats,
            ])  # fmt: skip
        table = Table(f"Metrics of {scenario.scenario}", HEAD, rows, frozenset({1, 2, 3, 4}), hide_caption=True)
        bars = [Interval(d.metric, d.low, d.change, d.high, d.verdict) for d in scenario.differences if not d.absolute]
        parts += [table.html(), forest("Change against the baseline, with its interval", bars)]
        parts += [el("p", f"Note: {n}.", class_="soft") for n in _notes(scenario)]
    return el("section", parts, aria_label=scenario.scenario)


FORMATS: Mapping[str, Callable[[Sequence[Comparison]], str]] = {
    "table": as_text, "json": as_json, "markdown": as_markdown, "html": as_html,
}  # fmt: skip
