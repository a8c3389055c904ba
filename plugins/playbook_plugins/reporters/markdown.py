"""The report that people read first."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from playbook_kernel.api import (
    CampaignResult,
    PhaseOutcome,
    Reporter,
    ScenarioResult,
    TrialResult,
    redact,
)

from playbook_plugins.stats import faults, records

from .files import Files, files
from .source import Options
from .words import amount, clean, left_clean, number, seconds, size, why
from .words import markdown_text as text

_SIGNS = {"completed": "✅", "failed": "❌", "skipped": "⊘", "cancelled": "⏹", "running": "…", "pending": "…"}
_PHASE = {"ok": "✅", "failed": "❌", "timeout": "⏱", "skipped": "⊘", "cancelled": "⏹"}


class MarkdownReporter(Reporter[Options]):
    """``report.md``: the verdict first, then each scenario with its phases, services, metrics and evidence."""

    def write(self, result: CampaignResult, into: Path) -> Sequence[Path]:
        path = into / "report.md"
        lines = _report(result, self.options.folder(into), self.options.links(into))
        path.write_text(redact("\n".join(lines) + "\n"), encoding="utf-8")
        return [path]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'|'.join('---' for _ in head)}|"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _report(result: CampaignResult, source: Path, links: str) -> Iterator[str]:
    total = len(result.scenarios)
    good = result.count("completed")
    yield f"# Campaign {text(result.id)}"
    yield ""
    verdict = f"{good} of {total} scenarios completed" if total else "No scenario was run"
    bad = [f"{n} {s}" for s in ("failed", "skipped", "cancelled") if (n := result.count(s))]
    yield f"{_SIGNS.get(result.status, '')} **{verdict}**" + (f" ({', '.join(bad)})" if bad else "") + "."
    yield ""
    yield f"{text(result.started)} to {text(result.ended)}, {seconds(result.seconds)}. {text(result.tool)}."
    yield ""
    if isolation := left_clean(result):
        yield from (f"{isolation}.", "")
    yield from _table(
        ["scenario", "verdict", "time", "attempts", "clean", "why"],
        [
            [
                f"[{text(s.scenario)}](#{_anchor(s.scenario)})" if s.trials else text(s.scenario),
                f"{_SIGNS.get(s.status, '')} {s.status}",
                seconds(sum(t.seconds for t in s.trials)) if s.trials else "",
                str(len(s.trials)) if s.trials else "",
                "**no**" if clean(s.last) == "no" else clean(s.last),
                text(why(s)),
            ]
            for s in result.scenarios
        ],
    )
    for warning in result.warnings:
        yield from ("", f"> ⚠ {text(warning)}")
    for scenario in result.scenarios:
        if scenario.trials:
            yield from _scenario(scenario, source, links)


def _anchor(name: str) -> str:
    return re.sub(r"[^\w -]", "", name.lower()).replace(" ", "-")


def _scenario(scenario: ScenarioResult, source: Path, links: str) -> Iterator[str]:
    yield from ("", f"## {text(scenario.scenario)}", "")
    if scenario.description:
        yield from (text(scenario.description), "")
    for trial in scenario.trials:
        if len(scenario.trials) > 1:
            yield from (f"### Attempt {trial.attempt}: {trial.status}", "")
        yield from _trial(trial, scenario.scenario, source, links)


def _link(kept: Files, path: str, name: str = "") -> str:
    return f"[{text(name or kept.named(path))}]({kept.link(path)})"


def _hint(hint: str, kept: Files) -> str:
    """The hint; a file of the trial that it names is a link, with the folder of its attempt."""
    found = kept.mentioned(hint)
    if found is None:
        return text(hint)
    before, path, after = found
    spaces = [" " if before.endswith(" ") else "", " " if after.startswith(" ") else ""]
    return f"{text(before)}{spaces[0]}{_link(kept, path)}{spaces[1]}{text(after)}"


def _failure(failure: PhaseOutcome, kept: Files) -> Iterator[str]:
    blame = ", ".join(
        part
        for part in (
            f"class {text(failure.error_class)}" if failure.error_class else "",
            f"node {text(failure.node)}" if failure.node else "",
            f"plugin {text(failure.plugin)}" if failure.plugin else "",
        )
        if part
    )
    yield f"**{failure.phase} {failure.status}**: {text(failure.error)}" + (f" ({blame})" if blame else "")
    if failure.hint:
        yield from ("", f"Hint: {_hint(failure.hint, kept)}")
    told = kept.mentioned(failure.hint or "")
    for log in kept.own:
        if told is None or told[1] != log.path:
            yield from ("", f"Log: {_link(kept, log.path)}")
    yield ""


def _trial(trial: TrialResult, scenario: str, source: Path, links: str) -> Iterator[str]:
    kept = files(trial, scenario, source, links)
    if trial.failure:
        yield from _failure(trial.failure, kept)
    if trial.measurement:
        measured = trial.measurement
        rows = [
            [text(n), text(amount(m)), "" if m.samples is None else str(m.samples)] for n, m in measured.metrics.items()
        ]
        yield from _table(["metric", "value", "samples"], rows)
        notes = [
            f"{number(n)} {what}"
            for n, what in ((measured.requests, "requests"), (measured.errors, "errors"))
            if n is not None
        ]
        yield from ("", " · ".join([*notes, text(measured.method)]), "")
    place = source / kept.folder
    if struck := faults.load_faults(place):
        rows = faults.told(records.of_trial(place, trial), struck)
        yield from _table(faults.HEAD, [[text(cell) for cell in row] for row in rows])
        yield ""
    yield from _table(
        ["phase", "status", "time"],
        [[p.phase, f"{_PHASE.get(p.status, '')} {p.status}", seconds(p.seconds)] for p in trial.phases],
    )
    if trial.deployment and trial.deployment.instances:
        yield ""
        composers = trial.deployment.composers
        yield from _table(
            ["service", "node", "composer", "state", "up after", "attempts"],
            [
                [
                    text(i.service),
                    text(i.node),
                    text(composers.get(i.node, "")),
                    i.status,
                    seconds(i.seconds),
                    str(i.attempts),
                ]
                for i in trial.deployment.instances
            ],
        )
    if trial.health:
        yield ""
        yield from _table(
            ["check", "service", "node", "verdict", "seen"],
            [
                [
                    text(h.probe), text(h.service), text(h.node),
                    ("good" if h.ok else "**bad**") + (" (advisory)" if h.advisory else ""), text(h.detail),
                ]
                for h in trial.health
            ],
        )  # fmt: skip
    for residue in trial.residue:
        owner = "foreign" if residue.foreign else "ours"
        yield from (
            "",
            f"> left on {text(residue.node)}: {residue.kind} {text(residue.name)} ({owner}) {text(residue.detail)}",
        )
    for warning in trial.warnings:
        yield from ("", f"> ⚠ {text(warning)}")
    if kept.kept:
        yield from ("", f"<details><summary>{len(kept.kept)} files kept</summary>", "")
        yield from _table(
            ["file", "kind", "node", "size"],
            [
                [
                    _link(kept, a.path, a.path),
                    text(a.kind),
                    text(a.node),
                    size(a.size) + (" ⚠ " + text(a.note) if a.partial else ""),
                ]
                for a in kept.kept
            ],
        )
        yield from ("", "</details>")
    yield ""
