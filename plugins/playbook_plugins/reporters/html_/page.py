"""The whole page: what came of the campaign, when, at what speed, and what ran where."""

from __future__ import annotations

import base64
import datetime as dt
import functools
import hashlib
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path

from attrs import frozen
from playbook_kernel.api import PHASES, CampaignResult, ScenarioResult

from playbook_plugins.reporters.words import clean, left_clean, number, seconds, why
from playbook_plugins.stats.metrics import REQUEST_RATE, THROUGHPUT, find

from .charts import OVER_TIME
from .fingerprint import fingerprint
from .markup import Cell, Content, Html, Table, el, shared
from .rows import Bar, gantt
from .scenario import scenario_section
from .tradeoff import tradeoff

SIGNS = {"completed": "✓", "failed": "✗", "skipped": "-", "cancelled": "■"}


CLOSER_CSS = ("uplot/uPlot.min.css", "zoom.css")
CLOSER_JS = ("uplot/uPlot.iife.min.js", "zoom.js")


@frozen
class Column:
    """A figure that the overview shows of each scenario: its title, unit, and the names it goes by."""

    title: str
    unit: str
    names: Sequence[str]


COLUMNS = (
    Column("req/s", "req/s", REQUEST_RATE),
    Column("tok/s", "tok/s", THROUGHPUT),
    Column("TTFT p50 ms", "ms", ("ttft_p50_ms",)),
    Column("TTFT p99 ms", "ms", ("ttft_p99_ms",)),
    Column("TPOT p50 ms", "ms", ("tpot_p50_ms",)),
    Column("E2EL p99 ms", "ms", ("e2el_p99_ms", "latency_p99")),
)


@functools.cache
def asset(name: str) -> str:
    """A file that goes into the page as it is."""
    return resources.files(__package__).joinpath("assets", name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def render(result: CampaignResult, source: Path, links: str) -> str:
    """The page. ``source``: the run's folder, for the records in it; ``links``: what leads there from the page."""
    title = f"{SIGNS.get(result.status, '')} {result.id}"
    return shell(title, _header(result), list(_main(result, source, links)), _footer(result))


def shell(title: str, header: Html, main: Sequence[Html], footer: Html | None = None) -> str:
    """A page that allows its own style and script and nothing else; ``header`` has a box of class ``bar1``.

    What a closer look needs is on pages that have something to look at only.
    """
    closer = any(f'<figure class="{OVER_TIME}"' in part for part in main)
    css = "".join(map(asset, ["report.css", *(CLOSER_CSS if closer else ())]))
    js = "".join(map(asset, ["report.js", "curves.js", *(CLOSER_JS if closer else ())]))
    policy = (
        f"default-src 'none'; style-src 'sha256-{_hash(css)}'; script-src 'sha256-{_hash(js)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=policy),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="referrer", content="no-referrer"),
        el("title", title),
        el("style", Html(css)),
    )
    body = shared(
        el(
            "body",
            el("a", "Skip to the results", href="#results", class_="skip"),
            header,
            el("main", main, id="results"),
            footer,
            el("div", id="said", class_="sr", role="status", aria_live="polite"),
            Html(f"<!-- uPlot, a part of the script below. {asset('uplot/LICENSE')} -->") if closer else None,
            el("script", Html(js)),
        )
    )
    return f"<!doctype html>\n{el('html', head, body, lang='en')}\n"


def badge(status: str) -> Html:
    """A verdict, in words and with a sign, not by colour alone."""
    return el("span", f"{SIGNS.get(status, '')} {status}".strip(), class_=f"badge {status}")


def _header(result: CampaignResult) -> Html:
    total, good = len(result.scenarios), result.count("completed")
    words = f"{good} of {total} scenarios completed" if total else "No scenario was run"
    bad = [f"{n} {s}" for s in ("failed", "skipped", "cancelled") if (n := result.count(s))]
    verdict = [badge(result.status), el("strong", words), f"({', '.join(bad)})" if bad else ""]
    when = f"{_instant(result.started)} to {_instant(result.ended)} UTC, {seconds(result.seconds)}; {result.tool}"
    isolation = el("p", f"{said}.", class_="soft") if (said := left_clean(result)) else None
    command = el("p", el("code", " ".join(result.command))) if result.command else None
    title = el("div", el("h1", result.id), el("p", when, class_="soft"))
    return el("header", el("div", title, class_="bar1"), el("p", _spaced(verdict), class_="head"), isolation, command)


def _spaced(parts: Sequence[Content]) -> list[Content]:
    return [piece for part in parts for piece in (part, " ")]


def _instant(text: str) -> str:
    return text.replace("T", " ").removesuffix("Z").partition(".")[0]


def _main(result: CampaignResult, source: Path, links: str) -> Iterator[Html]:
    warnings = [el("p", w, class_="note") for w in result.warnings]
    yield el("section", el("h2", "Scenarios"), warnings, _overview(result).html(), aria_label="Scenarios")
    if any(s.trials for s in result.scenarios):
        yield el("section", el("h2", "When"), timeline_chart(result), class_="wide", aria_label="Phase timeline")
    if drawn := tradeoff(result):
        yield el(
            "section",
            el("h2", "Throughput against latency"),
            drawn,
            class_="broad",
            aria_label="Throughput against latency",
        )
    for n, scenario in enumerate(result.scenarios, 1):
        if scenario.trials:
            yield scenario_section(scenario, n, source, links, badge(scenario.status), many=len(result.scenarios))
    yield fingerprint(result, source)


def anchor(n: int) -> str:
    """The id of a scenario's section."""
    return f"s{n}"


def _overview(result: CampaignResult) -> Table:
    shown = [c for c in COLUMNS if any(_value(s, c) is not None for s in result.scenarios)]
    head = ["scenario", "verdict", "why", "time", "attempts", "clean", *(c.title for c in shown), "errors"]
    again = any(len(s.trials) > 1 for s in result.scenarios)
    dirty = any(s.last and not s.last.clean for s in result.scenarios)
    rows = []
    for n, scenario in enumerate(result.scenarios, 1):
        spent = sum(t.seconds for t in scenario.trials)
        name: Content = el("a", scenario.scenario, href=f"#{anchor(n)}") if scenario.trials else scenario.scenario
        measured = scenario.last.measurement if scenario.last else None
        errors = "" if measured is None or measured.errors is None else str(measured.errors)
        rows.append(
            [
                name,
                badge(scenario.status),
                Cell(why(scenario), kind="why"),
                Cell(seconds(spent) if scenario.trials else "", spent),
                str(len(scenario.trials) or "") if again else "",
                Cell(clean(scenario.last) if dirty else "", kind="bad" if clean(scenario.last) == "no" else ""),
                *(_cell(_value(scenario, c)) for c in shown),
                Cell(errors, kind="bad" if errors not in ("", "0") else ""),
            ]
        )
    columns = frozenset({3, 4, *range(6, 7 + len(shown))})
    return Table("Verdicts and figures of each scenario's last trial", head, rows, columns, hide_caption=True)


def _value(scenario: ScenarioResult, column: Column) -> float | None:
    metrics = scenario.last.measurement.metrics if scenario.last and scenario.last.measurement else {}
    name = find(metrics, *column.names)
    return None if name is None else metrics[name].value


def _cell(value: float | None) -> Cell:
    return Cell("") if value is None else Cell(number(value), f"{value:.9g}")


def timeline_chart(result: CampaignResult) -> Html:
    """Who did what when, on one scale."""
    began = _epoch(result.started)
    rows: list[tuple[str, list[Bar]]] = []
    cells: list[list[Cell | Content]] = []
    for scenario in result.scenarios:
        for trial in scenario.trials:
            label = scenario.scenario if len(scenario.trials) == 1 else f"{scenario.scenario} ({trial.attempt})"
            bars = []
            for p in trial.phases:
                at = _epoch(p.started or trial.started) - began
                bad = p.status not in ("ok", "skipped")
                title = f"{label}, {p.phase}: {p.status}, {seconds(p.seconds)}"
                bars.append(Bar(max(0.0, at), p.seconds, p.phase, title, bad))
                cells.append(
                    [
                        label,
                        p.phase,
                        Cell(p.status, kind=p.status),
                        Cell(f"{at:,.1f}", round(at, 3)),
                        Cell(f"{p.seconds:,.2f}", p.seconds),
                    ]
                )
            rows.append((label, bars))
    head = ["scenario", "phase", "status", "began after s", "took s"]
    table = Table("Phases of each trial", head, cells, frozenset({3, 4}))
    return gantt("Phases of each trial", rows, table, PHASES)


def _epoch(text: str) -> float:
    try:
        return dt.datetime.fromisoformat(text).timestamp()
    except ValueError:
        return 0.0


def _footer(result: CampaignResult) -> Html:
    return el("footer", f"Written by {result.tool} from the run's record, schema {result.schema}. ", "Times are UTC.")
