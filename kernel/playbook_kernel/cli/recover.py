"""``cleanup``: remove what a run left behind whose process died, or what any run left on the nodes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from playbook_kernel.engine import recover
from playbook_kernel.engine.recover import Recovered
from playbook_kernel.engine.store import new_run
from playbook_kernel.errors import PlaybookError
from playbook_kernel.redaction import redact

from .common import Setup, checked, echo_json, json_option, results_dir
from .main import Command
from .results import find_run, in_progress, runs


@click.command(cls=Command)
@click.argument("run", required=False)
@click.option(
    "--all-orphans", is_flag=True, help="After every run whose process died, and of whatever else is on the nodes."
)
@click.option("--dry-run", is_flag=True, help="Say what may be left, and touch nothing.")
@json_option
@click.pass_obj
def cleanup(obj: dict[str, Any], run: str | None, *, all_orphans: bool, dry_run: bool, as_json: bool) -> None:
    """Clean up after a RUN (default: the newest) whose process died; harmless when nothing is left.

    With --all-orphans after every run of the results folder, and after every trial of anybody that left something on
    the configured nodes. What this tool did not make is never touched.

    \b
    Example:  playbook-kernel cleanup --all-orphans --dry-run
    Exit status: 0 nothing is left, 1 something is, 4 another campaign is at work on a node.
    """  # noqa: D301 - click wants the character
    if all_orphans:
        if run:
            raise click.UsageError("Give a RUN, or --all-orphans.")
        _everything(obj, dry_run=dry_run, as_json=as_json)
        return
    folder = find_run(results_dir(obj), run)
    left = recover.open_trials(folder)
    if dry_run or not left:
        if as_json:
            echo_json([{"trial": t.trial, "scenario": t.scenario, "effects": t.open} for t in left])
            return
        _may_be_left(left)
        click.echo("nothing is left to clean up" if not left else f"{len(left)} trials to clean up after")
        return
    setup = checked(obj)
    _tell(recover.cleanup_run(folder, setup.config.nodes, setup.settings, lambda _event: None), [], as_json=as_json)


def _everything(obj: dict[str, Any], *, dry_run: bool, as_json: bool) -> None:
    setup = checked(obj)
    results = results_dir(obj)
    done: list[Recovered] = []
    wrong: list[str] = []
    for folder in (Path(r["path"]) for r in runs(results)):
        try:
            left = [] if in_progress(folder) else recover.open_trials(folder)
            if left and dry_run and not as_json:
                _may_be_left(left)
            elif left and not dry_run:
                done += recover.cleanup_run(folder, setup.config.nodes, setup.settings, lambda _event: None)
        except PlaybookError as error:  # a run of the earlier tool, or one that needs a node that is not configured
            if error.exit_code != 2:
                wrong.append(f"{folder.name}: {error}")
    found, more, unseen = _on_nodes(setup, results, remove=not dry_run)
    wrong += unseen
    if dry_run:
        if as_json:
            echo_json({"trials": found, "problems": wrong})
        else:
            for trial, where in found.items():
                click.echo(f"{trial} on {', '.join(where)}")
            click.echo(f"trials that have left something on the nodes: {len(found)}")
        for problem in wrong:
            click.echo(f"warning: {redact(problem)}", err=True)
        return
    _tell([*done, *more], wrong, as_json=as_json)


def _on_nodes(setup: Setup, results: Path, *, remove: bool) -> Any:
    nodes = {n: v for n, v in setup.config.nodes.items() if v.enabled}
    folder = new_run(results / ".cleanup", "orphans")
    return recover.orphans(folder, nodes, setup.settings, lambda _event: None, remove=remove)


def _may_be_left(left: Sequence[Any]) -> None:
    for trial in left:
        click.echo(f"{trial.trial} ({trial.scenario})")
        for effect in trial.open:
            click.echo(f"  {effect.kind} on {effect.node or 'the controller'}, {effect.state}")


def _tell(done: Sequence[Recovered], wrong: Sequence[str], *, as_json: bool) -> None:
    if as_json:
        echo_json(done)
    else:
        for one in done:
            failure = one.result.failure
            why = f": {failure.error}" if failure else ""
            click.echo(redact(f"{'✓' if one.result.clean else '✗'} {one.trial}{why}"))
        if not done:
            click.echo("nothing was left")
    for problem in wrong:
        click.echo(f"warning: {redact(problem)}", err=True)
    if wrong or not all(one.result.clean for one in done):
        raise click.exceptions.Exit(1)
