"""``cleanup``: remove what a run left behind whose process died, or what any run left on the nodes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click

from playbook_kernel.engine import recover
from playbook_kernel.engine.journal import TrialState
from playbook_kernel.engine.recover import Recovered
from playbook_kernel.engine.store import new_run
from playbook_kernel.errors import PlaybookError
from playbook_kernel.redaction import redact

from .common import Setup, checked, echo_json, json_option, results_dir
from .kept import find_run, in_progress, runs, writable
from .main import Command


@click.command(cls=Command)
@click.argument("run", required=False)
@click.option("--all-orphans", is_flag=True, help="Also after whatever else of ours is on the nodes.")
@click.option("--dry-run", is_flag=True, help="Say what may be left, and touch nothing.")
@json_option
@click.pass_obj
def cleanup(obj: dict[str, Any], run: str | None, *, all_orphans: bool, dry_run: bool, as_json: bool) -> None:
    """Clean up after a RUN (default: every one here) whose process died; harmless when nothing is left.

    With --all-orphans also after every trial of anybody that left something on the configured nodes. What this tool
    did not make is never touched.

    \b
    Example:  playbook-kernel cleanup --all-orphans --dry-run
    Exit status: 0 nothing is left, 1 something is, 4 another campaign is at work on a node.
    """  # noqa: D301 - click wants the character
    if all_orphans:
        if run:
            raise click.UsageError("Give a RUN, or --all-orphans.")
        _everything(obj, dry_run=dry_run, as_json=as_json)
        return
    results = results_dir(obj)
    if run is None and not runs(results, 1):
        find_run(results, None)  # says that there is none
    if run:
        folder = find_run(results, run)
        found = recover.open_trials(folder)
        left: dict[Path, Sequence[TrialState]] = {folder: found} if found else {}
    else:
        left = left_behind(results)
    trials = [trial for open_ in left.values() for trial in open_]
    if dry_run or not left:
        if as_json:
            echo_json([{"trial": t.trial, "scenario": t.scenario, "effects": t.open} for t in trials])
            return
        _may_be_left(trials)
        count = f"{len(trials)} {'trial' if len(trials) == 1 else 'trials'} to clean up after; nothing was touched"
        click.echo(count if left else "no run has died and left something: there is nothing to clean up")
        return
    setup = checked(obj)
    if run:
        [folder] = left
        writable(folder)
        done = recover.cleanup_run(folder, setup.config.nodes, setup.usable, lambda _event: None)
        _tell(done, [], as_json=as_json)
    else:
        _tell(*_cleaned(setup, left), as_json=as_json)


def left_behind(results: Path, most: int | None = None) -> dict[Path, Sequence[TrialState]]:
    """The runs whose process died, of the newest so many, with their trials that may have left something."""
    found: dict[Path, Sequence[TrialState]] = {}
    for folder in (Path(r["path"]) for r in runs(results, most)):
        with contextlib.suppress(PlaybookError):  # a run of the earlier tool
            if not in_progress(folder) and (trials := recover.open_trials(folder)):
                found[folder] = trials
    return found


def _cleaned(setup: Setup, folders: Iterable[Path]) -> tuple[list[Recovered], list[str]]:
    """Clean up after runs, one after the other; what goes wrong with one is told, and hurts no other."""
    done: list[Recovered] = []
    wrong: list[str] = []
    for folder in folders:
        try:
            writable(folder)
            done += recover.cleanup_run(folder, setup.config.nodes, setup.usable, lambda _event: None)
        except PlaybookError as error:
            wrong.append(f"{folder.name}: {error}")
    return done, wrong


def _everything(obj: dict[str, Any], *, dry_run: bool, as_json: bool) -> None:
    setup = checked(obj)
    results = results_dir(obj)
    left = left_behind(results)
    done, wrong = ([], []) if dry_run else _cleaned(setup, left)
    if dry_run and not as_json:
        _may_be_left([trial for open_ in left.values() for trial in open_])
    found, more, unseen = _on_nodes(setup, results, remove=not dry_run)
    wrong += unseen
    if dry_run:
        if as_json:
            echo_json({"trials": found, "problems": wrong})
        else:
            for trial, where in found.items():
                click.echo(f"{trial} on {', '.join(where)}")
            click.echo(f"trials that have left something on the nodes: {len(found)}; nothing was touched")
        for problem in wrong:
            click.echo(f"warning: {redact(problem)}", err=True)
        return
    _tell([*done, *more], wrong, as_json=as_json)


def _on_nodes(setup: Setup, results: Path, *, remove: bool) -> Any:
    nodes = {n: v for n, v in setup.config.nodes.items() if v.enabled}
    folder = new_run(results / ".cleanup", "orphans")
    return recover.orphans(folder, nodes, setup.usable, lambda _event: None, remove=remove)


def _may_be_left(left: Sequence[Any]) -> None:
    for trial in left:
        click.echo(f"{trial.trial} ({trial.scenario})")
        for effect in trial.open:
            made = "was made" if effect.state == "done" else "may have been made"
            click.echo(f"  would look for and remove: {effect.kind} on {effect.node or 'the controller'}, which {made}")


def _tell(done: Sequence[Recovered], wrong: Sequence[str], *, as_json: bool) -> None:
    if as_json:
        echo_json(done)
    else:
        for one in done:
            failure = one.result.failure
            why = f": {failure.error}" if failure else ""
            click.echo(redact(f"{'✓' if one.result.clean else '✗'} {one.trial}{why}"))
            for left in (r for r in one.result.residue if r.detail and not r.foreign):
                click.echo(redact(f"  {left.kind} {left.name} on {left.node}: {left.detail}"))
        if not done and not wrong:
            click.echo("nothing was left")
    for problem in wrong:
        click.echo(f"warning: {redact(problem)}", err=True)
    if wrong or not all(one.result.clean for one in done):
        raise click.exceptions.Exit(1)
