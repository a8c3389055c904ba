"""The pages: a list of runs, one run as it stands, its files, and the door."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from playbook_plugins.progress.board import duration
from playbook_plugins.reporters.html_.markup import Cell, Content, Html, Table, el
from playbook_plugins.reporters.html_.page import badge

REPORTS = (
    "report.html",
    "report.md",
    "summary.json",
    "scenarios.csv",
    "metrics.csv",
    "junit.xml",
    "log.jsonl",
    "journal.jsonl",
)
_MARKS = {"ok": "✓", "running": "▸", "": "·", "skipped": "⊘"}


def page(title: str, above: Html | None, main: Html, *, live: str = "", every: int = 0, plain: bool = False) -> str:
    """A whole page. ``live``: where the part that changes is asked for again, every so many milliseconds.

    ``plain``: its tables change too often to be sorted.
    """
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("title", title),
        Html('<link rel="stylesheet" href="/assets/report.css"><link rel="stylesheet" href="/assets/serve.css">'),
    )
    bar = el("div", el("div", above, el("h1", title)), class_="bar1")
    body = el(
        "body",
        el("a", "Skip to the content", href="#results", class_="skip"),
        el("header", bar),
        el(
            "main",
            main,
            id="results",
            data_live=live or None,
            data_every=every or None,
            data_plain=plain,
            data_tag=tag(main),
        ),
        el("div", id="said", class_="sr", role="status", aria_live="polite"),
        Html('<script src="/assets/report.js"></script><script src="/assets/serve.js"></script>'),
    )
    return f"<!doctype html>\n{el('html', head, body, lang='en')}\n"


def tag(part: Html) -> str:
    """What tells one state of a part from another."""
    return f'"{hashlib.sha256(part.encode("utf-8", "replace")).hexdigest()[:16]}"'


def address(run: str, *parts: str) -> str:
    """Where a run, or something of it, is."""
    return "/run/" + "/".join(quote(p, safe="") for p in (run, *parts)) + ("" if parts else "/")


def index(lines: Sequence[Mapping[str, Any]]) -> Html:
    """Every run in a row."""
    if not lines:
        return el("p", "There are no runs yet.", class_="soft")
    rows = [
        [
            el("a", line["name"], href=address(line["name"])),
            badge(line["status"]),
            f"{line['completed']} of {line['scenarios']}",
            line["started"].replace("T", " ").partition(".")[0],
            Cell(duration(line["seconds"]) if line["seconds"] else "", line["seconds"]),
        ]
        for line in lines
    ]
    head = ["run", "status", "completed", "started, UTC", "time"]
    return Table("Runs, newest first", head, rows, frozenset({2, 4}), hide_caption=True).html()


def run(state: Mapping[str, Any], *, report: bool) -> Html:
    """One run as it stands; ``report``: there is one. What is to be read aloud when it changes is in ``data-say``."""
    name, current, scenarios = state["run"], state["current"], state["scenarios"]
    done = sum(s["status"] not in ("pending", "running") for s in scenarios)
    words = f"{done} of {len(scenarios)} scenarios done"
    say = f"{state['status']}, {words}"
    parts = [el("p", badge(state["status"]), " ", el("strong", words), class_="head")]
    if report and not current:
        parts.append(el("p", el("a", "Open the report", href=address(name, "files", "report.html"))))
    if state["status"] == "interrupted":
        parts.append(
            el(
                "p",
                "No process of this run lives, and it did not end. ",
                el("code", f"playbook-kernel run --resume {name}"),
                " goes on with it.",
                class_="note",
            )
        )
    if state["status"] == "unknown":
        ago = duration(state["silent_seconds"])
        parts.append(el("p", f"Its processes cannot be seen from here; its last sign is {ago} old.", class_="note"))
    if current:
        running = next((p["phase"] for p in current["phases"] if p["status"] == "running"), "")
        say += f"; {current['scenario']} {running}"
        parts.append(_current(current))
    rows = [[el("a", s["name"], href=address(name, "files", s["name"]) + "/"), badge(s["status"])] for s in scenarios]
    table = Table("Scenarios", ["scenario", "status"], rows, hide_caption=True).html()
    parts.append(el("section", el("h2", "Scenarios"), table, aria_label="Scenarios"))
    return el("div", parts, data_say=say)


def _current(now: Mapping[str, Any]) -> Html:
    again = f", attempt {now['attempt']}" if now["attempt"] > 1 else ""
    phases = [
        el(
            "li",
            f"{_MARKS.get(p['status'], '✗')} {p['phase']}",
            el("small", "" if p["seconds"] is None else f" {duration(p['seconds'])}"),
            class_=f"phase {p['status']}",
        )
        for p in now["phases"]
    ]
    services = [
        [s["service"], s["node"], badge(s["status"]), duration(s["seconds"]), s["detail"]] for s in now["services"]
    ]
    head = ["service", "node", "status", "time", "detail"]
    return el(
        "section",
        el("h2", f"{now['scenario']}{again} ", el("small", duration(now["seconds"]))),
        el("ol", phases, class_="phases"),
        Table("Services", head, services, frozenset({3})).html() if services else None,
        [el("p", w, class_="note") for w in now["warnings"]],
        el("pre", "\n".join(now["output"]), class_="output", tabindex="0", aria_label="Last lines of output")
        if now["output"]
        else None,
        aria_label="Now",
    )


def links(name: str, folder: Path) -> Html:
    """What there is to read of a run."""
    there = [f for f in REPORTS if (folder / f).is_file()]
    items = [el("li", el("a", f, href=address(name, "files", f))) for f in there]
    return el(
        "nav",
        el("a", "All runs", href="/"),
        el("ul", items, el("li", el("a", "all files", href=address(name, "files", "")))),
        class_="links",
        aria_label="Files of the run",
    )


def files(name: str, folder: Path, within: Sequence[str]) -> Html:
    """What is in a folder of a run."""
    rows: list[Sequence[Cell | Content]] = []
    for path in sorted(folder.iterdir(), key=lambda p: (not p.is_dir(), p.name)):
        if path.name.startswith(".") or path.name == "lock" or not (path.is_dir() or path.is_file()):
            continue
        tail = "/" if path.is_dir() else ""
        size = None if path.is_dir() else path.stat().st_size
        shown = Cell("" if size is None else f"{size:,}", size)
        rows.append([el("a", path.name + tail, href=address(name, "files", *within, path.name) + tail), shown])
    return Table("Files", ["name", "bytes"], rows, frozenset({1}), hide_caption=True).html()


def door(*, wrong: bool) -> Html:
    """Where the token is asked for."""
    return el(
        "form",
        el(
            "p",
            "That is not the token." if wrong else "The terminal where it was started shows the token.",
            class_="note" if wrong else "",
        ),
        el(
            "label",
            "Token ",
            el("input", type="password", name="token", autocomplete="current-password", required=True, autofocus=True),
        ),
        " ",
        el("button", "Enter", type="submit", class_="tool"),
        method="post",
        action="/login",
    )
