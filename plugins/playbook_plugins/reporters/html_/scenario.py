"""One scenario: the verdict and why, what was measured, how it went, and the evidence."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from playbook_kernel.api import Measurement, PhaseOutcome, ScenarioResult, TrialResult

from playbook_plugins.reporters.words import number, seconds, size, why
from playbook_plugins.stats import faults, records
from playbook_plugins.stats.metrics import REQUEST_RATE, THROUGHPUT, find, meaning
from playbook_plugins.stats.runs import trial_place

from .load import error_table, load_charts
from .markup import Cell, Html, Row, Table, el
from .telemetry import telemetry_charts

_STATISTICS = ("mean", "std", "min", "p1", "p5", "p10", "p25", "p50", "p75", "p90", "p95", "p99", "p99.9", "max")
_TILES = (
    ("requests/s", REQUEST_RATE),
    ("output tokens/s", THROUGHPUT),
    ("TTFT p50", ("ttft_p50_ms",)),
    ("TTFT p99", ("ttft_p99_ms",)),
    ("TPOT p50", ("tpot_p50_ms",)),
    ("E2EL p50", ("e2el_p50_ms", "latency_p50")),
    ("E2EL p99", ("e2el_p99_ms", "latency_p99")),
)


def scenario_section(scenario: ScenarioResult, n: int, source: Path, links: str, badge: Html, *, many: int) -> Html:
    """The section of one scenario; its last trial in full, earlier ones in short."""
    head = el("div", el("h2", scenario.scenario, id=f"h{n}"), badge, class_="head")
    about = el("p", scenario.description) if scenario.description else None
    tags = el("p", "Tags: ", ", ".join(scenario.tags), class_="soft") if scenario.tags else None
    failure = scenario.last.failure if scenario.last else None
    reason = _reason(scenario, failure) if scenario.status not in ("completed", "skipped") else None
    parts: list[Html] = []
    for trial in scenario.trials[:-1]:
        said = [
            _blame(trial.failure) if trial.failure else None,
            _phases(trial).html(),
            _files(trial, scenario, source, links),
        ]
        parts.append(
            el("details", el("summary", f"Attempt {trial.attempt}: {trial.status}, {seconds(trial.seconds)}"), said)
        )
    if scenario.last:
        if len(scenario.trials) > 1:
            parts.append(el("h3", f"Attempt {scenario.last.attempt}"))
        parts += list(_trial(scenario.last, scenario, source, links, many))
    return el("section", head, about, tags, reason, parts, id=f"s{n}", aria_labelledby=f"h{n}")


def _reason(scenario: ScenarioResult, failure: PhaseOutcome | None) -> Html:
    if failure is None:
        return el("div", why(scenario), class_="reason")
    return _blame(failure)


def _blame(failure: PhaseOutcome) -> Html:
    named = (("class", failure.error_class), ("node", failure.node), ("plugin", failure.plugin))
    blame = ", ".join(f"{word} {value}" for word, value in named if value)
    return el(
        "div",
        el("strong", f"{failure.phase} {failure.status}: "),
        failure.error,
        f" ({blame})" if blame else None,
        el("p", f"Hint: {failure.hint}") if failure.hint else None,
        class_="reason",
    )


def _trial(trial: TrialResult, scenario: ScenarioResult, source: Path, links: str, many: int) -> Iterator[Html]:
    folder = source / trial_place(source, trial, scenario.scenario)
    for warning in trial.warnings:
        yield el("p", warning, class_="note")
    for residue in trial.residue:
        owner = "not ours" if residue.foreign else "ours"
        yield el(
            "p", f"Left on {residue.node}: {residue.kind} {residue.name} ({owner}) {residue.detail}", class_="note"
        )
    if trial.measurement:
        yield _tiles(trial.measurement)
        requests = records.of_trial(folder, trial)
        struck = faults.load_faults(folder)
        if struck:
            yield Table("Faults", faults.HEAD, faults.told(requests, struck), frozenset()).html()
        charts = load_charts(requests, struck, many=many) if requests is not None else []
        charts += telemetry_charts(folder, trial, requests.span() if requests is not None else None, struck, many=many)
        yield el("div", charts, class_="pair")
        if requests is not None and requests.errors:
            yield error_table(requests).html()
        yield from _metrics(trial.measurement)
    else:
        yield from telemetry_charts(folder, trial, None, faults.load_faults(folder), many=many)
    yield el("h3", "How it went")
    tables = [_phases(trial).html()]
    if trial.deployment and trial.deployment.instances:
        tables.append(_services(trial).html())
    if trial.health:
        tables.append(_health(trial).html())
    yield el("div", tables, class_="tables")
    yield _files(trial, scenario, source, links)


def _tiles(measured: Measurement) -> Html:
    items = []
    for title, names in _TILES:
        name = find(measured.metrics, *names)
        if name is not None:
            metric = measured.metrics[name]
            unit = el("small", f" {metric.unit}") if metric.unit in ("ms", "s") else None
            items.append(el("li", el("b", number(metric.value), unit), el("span", title)))
    for count, title in ((measured.requests, "requests"), (measured.errors, "errors")):
        if count is not None:
            bad = "bad" if title == "errors" and count else None
            items.append(el("li", el("b", number(count), class_=bad), el("span", title)))
    return el("ul", items, class_="tiles", aria_label="Main figures")


def _metrics(measured: Measurement) -> Iterator[Html]:
    """Latencies as one table with a column a statistic, everything else as a list."""
    grid: dict[tuple[str, str], dict[str, str]] = {}
    rest = []
    for name, metric in measured.metrics.items():
        said = meaning(name)
        if said.statistic in _STATISTICS:
            grid.setdefault((said.base, metric.unit), {})[said.statistic] = name
        else:
            rest.append(name)
    shown = [s for s in _STATISTICS if any(s in row for row in grid.values())]
    small = [key for key, row in grid.items() if len(row) == 1 and len(shown) > 2]
    for key in small:
        rest += grid.pop(key).values()
    parts = []
    if grid:
        rows: list[Row] = [
            [f"{base}{'' if unit == '1' else f' ({unit})'}", *(_value(measured, row.get(s)) for s in shown)]
            for (base, unit), row in grid.items()
        ]
        parts.append(Table("Latencies", ["metric", *shown], rows, frozenset(range(1, len(shown) + 1))).html())
    if rest:
        rows = [
            [n, _value(measured, n), "" if measured.metrics[n].unit == "1" else measured.metrics[n].unit,
             "" if measured.metrics[n].samples is None else str(measured.metrics[n].samples)]
            for n in rest
        ]  # fmt: skip
        table = Table("Figures", ["metric", "value", "unit", "samples"], rows, frozenset({1, 3}))
        parts.append(table.html())
    method = el("p", f"Method: {measured.method}", class_="soft") if measured.method else None
    yield el(
        "details",
        el("summary", f"All {len(measured.metrics)} metrics"),
        el("div", parts, class_="tables"),
        method,
        open=len(grid) > 0,
    )


def _value(measured: Measurement, name: str | None) -> Cell:
    return (
        Cell("") if name is None else Cell(number(measured.metrics[name].value), f"{measured.metrics[name].value:.9g}")
    )


def _phases(trial: TrialResult) -> Table:
    rows: list[Row] = [
        [p.phase, Cell(p.status, kind=p.status), Cell(seconds(p.seconds), p.seconds), Cell(p.error, kind="why")]
        for p in trial.phases
    ]
    return Table("Phases", ["phase", "status", "time", "error"], rows, frozenset({2}))


def _services(trial: TrialResult) -> Table:
    assert trial.deployment is not None
    composers = trial.deployment.composers
    rows: list[Row] = [
        [
            i.service, i.node, composers.get(i.node, ""), Cell(i.status, kind=i.status), Cell(seconds(i.seconds), i.seconds),
            str(i.attempts), i.error,
        ]
        for i in trial.deployment.instances
    ]  # fmt: skip
    head = ["service", "node", "composer", "state", "up after", "attempts", "error"]
    return Table("Services", head, rows, frozenset({4, 5}))


def _health(trial: TrialResult) -> Table:
    rows: list[Row] = [
        [
            h.service or "(all)", h.node, h.probe,
            Cell(("good" if h.ok else "bad") + (" (advisory)" if h.advisory else ""), kind="good" if h.ok else "bad"), h.detail,
        ]
        for h in trial.health
    ]  # fmt: skip
    return Table("Health checks", ["service", "node", "check", "verdict", "seen"], rows)


def _files(trial: TrialResult, scenario: ScenarioResult, source: Path, links: str) -> Html:
    if not trial.artifacts:
        return el("p", "No files were kept.", class_="soft")
    folder = trial_place(source, trial, scenario.scenario)
    rows: list[Row] = [
        [
            el("a", a.path, href=f"{quote(f'{links}{folder}/{a.path}')}"),
            a.kind,
            a.node,
            Cell(size(a.size), a.size),
            el("code", a.sha256[:12]),
            a.note,
        ]
        for a in trial.artifacts
    ]
    table = Table("Files kept", ["file", "kind", "node", "size", "SHA-256", "note"], rows, frozenset({3}))
    return el("details", el("summary", f"{len(rows)} files kept: logs and artifacts"), table.html())
