"""One scenario: the verdict and why, what was measured, how it went, and the evidence."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from playbook_kernel.api import Measurement, PhaseOutcome, ScenarioResult, TrialResult

from playbook_plugins.reporters.files import Files, files
from playbook_plugins.reporters.words import number, seconds, size, why
from playbook_plugins.stats import faults, records
from playbook_plugins.stats.metrics import REQUEST_RATE, THROUGHPUT, find, meaning

from .load import error_table, load_charts
from .markup import Cell, Content, Html, Row, Table, el
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
    kept = files(scenario.last, scenario.scenario, source, links) if scenario.last else None
    reason = _reason(scenario, failure, kept) if scenario.status not in ("completed", "skipped") else None
    parts: list[Html] = []
    for trial in scenario.trials[:-1]:
        said = [
            _blame(trial.failure, files(trial, scenario.scenario, source, links)) if trial.failure else None,
            _phases(trial).html(),
            _files(files(trial, scenario.scenario, source, links)),
        ]
        parts.append(
            el("details", el("summary", f"Attempt {trial.attempt}: {trial.status}, {seconds(trial.seconds)}"), said)
        )
    if scenario.last:
        if len(scenario.trials) > 1:
            parts.append(el("h3", f"Attempt {scenario.last.attempt}"))
        parts += list(_trial(scenario.last, source, files(scenario.last, scenario.scenario, source, links), many))
    return el("section", head, about, tags, reason, parts, id=f"s{n}", aria_labelledby=f"h{n}")


def _reason(scenario: ScenarioResult, failure: PhaseOutcome | None, kept: Files | None) -> Html:
    if failure is None or kept is None:
        return el("div", why(scenario), class_="reason")
    return _blame(failure, kept)


def _blame(failure: PhaseOutcome, kept: Files) -> Html:
    named = (("class", failure.error_class), ("node", failure.node), ("plugin", failure.plugin))
    blame = ", ".join(f"{word} {value}" for word, value in named if value)
    told = kept.mentioned(failure.hint or "")
    return el(
        "div",
        el("strong", f"{failure.phase} {failure.status}: "),
        failure.error,
        f" ({blame})" if blame else None,
        el("p", "Hint: ", _with_links(failure.hint, kept)) if failure.hint else None,
        [el("p", "Log: ", _link(kept, a.path)) for a in kept.own if told is None or a.path != told[1]],
        class_="reason",
    )


def _link(kept: Files, path: str) -> Html:
    return el("a", kept.named(path), href=kept.link(path))


def _with_links(hint: str, kept: Files) -> Content:
    """The hint; a file of the trial that it names is a link, with the folder of its attempt."""
    found = kept.mentioned(hint)
    return hint if found is None else [found[0], _link(kept, found[1]), found[2]]


def _trial(trial: TrialResult, source: Path, kept: Files, many: int) -> Iterator[Html]:
    folder = source / kept.folder
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
    yield _files(kept)


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


def _files(kept: Files) -> Html:
    if not kept.kept:
        return el("p", "No files were kept.", class_="soft")
    rows: list[Row] = [
        [
            el("a", a.path, href=kept.link(a.path)),
            a.kind,
            a.node,
            Cell(size(a.size), a.size),
            el("code", a.sha256[:12]) if a.sha256 else "",
            a.note,
        ]
        for a in kept.kept
    ]
    table = Table("Files kept", ["file", "kind", "node", "size", "SHA-256", "note"], rows, frozenset({3}))
    return el("details", el("summary", f"{len(rows)} files kept: logs and artifacts"), table.html())
