"""``journal``: what a run did, what is under way, and what may be left where."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from playbook_kernel.engine.journal import TrialState, read, trials
from playbook_kernel.engine.store import JOURNAL
from playbook_kernel.errors import ConfigError
from playbook_kernel.model.codec import encode
from playbook_kernel.model.record import Record, record_of
from playbook_kernel.redaction import redact, redacted

from .answer import answer
from .common import echo_json, json_option, results_dir
from .kept import find_run, in_progress
from .main import Command
from .results import lines_of

_QUIET = ("HealthChecked", "FactsFound", "ServiceChanged")
"""Events that would hide the others."""


@click.command(cls=Command)
@click.argument("run", required=False)
@click.option("--follow", is_flag=True, help="Go on as the run writes, until it ends.")
@json_option
@click.pass_obj
def journal(obj: dict[str, Any], run: str | None, *, follow: bool, as_json: bool) -> None:
    """Show what a RUN (default: the newest) did, record by record, and what may be left where.

    \b
    Example:  playbook-kernel journal --follow
    """  # noqa: D301 - click wants the character
    folder = find_run(results_dir(obj), run)
    path = folder / JOURNAL
    if not path.is_file():
        raise ConfigError([f"{folder}: is not a run's folder: it has no {JOURNAL}"])
    if as_json and not follow:
        records = read(path)
        echo_json({"run": folder, "records": records, "trials": list(trials(records).values())})
        return
    for record in _following(path, folder) if follow else read(path):
        if as_json:
            answer(json.dumps(redacted(encode(record)), ensure_ascii=False))
        elif line := _line(record):
            click.echo(redact(line))
    if not as_json:
        for line in _state(trials(read(path)).values(), alive=in_progress(folder)):
            click.echo(redact(line))


def _following(path: Path, folder: Path) -> Iterable[Record]:
    for line in lines_of(path, folder, follow=True):
        record = record_of(line.encode(errors="surrogateescape"))
        if record is None:
            return  # the torn end of a run that died
        yield record


def _line(record: Record) -> str:
    said = _words(record.type, record.data)
    return f"{record.utc}  {record.type:14} {record.trial:34} {said}".rstrip() if said is not None else ""


def _words(kind: str, data: Mapping[str, Any]) -> str | None:
    match kind:
        case "campaign":
            return f"{data['tool']}: {', '.join(data['scenarios'])}"
        case "trial":
            return f"{data['scenario']}, attempt {data['attempt']}, on {', '.join(data['nodes']) or 'no node'}"
        case "intent":
            return f"{data['id']}: {_thing(data['kind'], data['node'], data['data'])}"
        case "done" | "undone":
            return str(data["id"])
        case "event":
            return None if data["event"] in _QUIET else _event(data)
        case "trial_ended":
            return f"{data['status']}, {'clean' if data['clean'] else 'not verified to be clean'}"
        case _:
            return ", ".join(f"{k} {v}" for k, v in data.items() if k in ("status", "clean", "tool"))


def _event(data: Mapping[str, Any]) -> str:
    words = [str(data["event"])]
    outcome = data.get("outcome") or {}
    words += [
        str(v) for v in (data.get("phase"), outcome.get("phase"), outcome.get("status"), outcome.get("error")) if v
    ]
    if data["event"] == "FaultChanged":
        words += [str(data["what"]), str(data["status"])]
    words += [str(v) for v in (data.get("message"), (data.get("artifact") or {}).get("path")) if v]
    return " ".join(words)


def _thing(kind: str, node: str, data: Mapping[str, Any]) -> str:
    what = data.get("path") or data.get("name") or data.get("what") or ""
    return f"{kind} {what}".rstrip() + f" on {node or 'the controller'}"


def _state(states: Iterable[TrialState], *, alive: bool) -> list[str]:
    lines = []
    for state in states:
        if not state.ended:
            lines.append(
                f"{state.trial} ({state.scenario}) {'is under way' if alive else 'was under way when the run ended'}"
            )
        if state.open:
            lines.append(f"{state.trial}: this may be there:")
            lines += [f"  {_thing(e.kind, e.node, e.data)}, {e.state}" for e in state.open]
    return lines or ["nothing is under way, and nothing is left"]
