"""``cleanup``: remove what a run left behind whose process died."""

from __future__ import annotations

from typing import Any

import click

from .common import checked, echo_json, json_option, results_dir
from .main import Command
from .results import find_run


@click.command(cls=Command)
@click.argument("run", required=False)
@click.option("--dry-run", is_flag=True, help="Say what may be left, and touch nothing.")
@json_option
@click.pass_obj
def cleanup(obj: dict[str, Any], run: str | None, *, dry_run: bool, as_json: bool) -> None:
    """Clean up after a RUN (default: the newest) whose process died; harmless when nothing is left."""
    from playbook_kernel.engine import recover

    folder = find_run(results_dir(obj), run)
    left = recover.open_trials(folder)
    if dry_run or not left:
        if as_json:
            echo_json([{"trial": t.trial, "scenario": t.scenario, "effects": t.open} for t in left])
            return
        for trial in left:
            click.echo(f"{trial.trial} ({trial.scenario})")
            for effect in trial.open:
                click.echo(f"  {effect.kind} on {effect.node or 'the controller'}, {effect.state}")
        click.echo("nothing is left to clean up" if not left else f"{len(left)} trials to clean up after")
        return
    setup = checked(obj)
    done = recover.cleanup_run(folder, setup.config.nodes, setup.settings, lambda _event: None)
    if as_json:
        echo_json(done)
    else:
        for one in done:
            failure = one.result.failure
            click.echo(f"{'✓' if one.result.clean else '✗'} {one.trial}" + (f": {failure.error}" if failure else ""))
    if not all(one.result.clean for one in done):
        raise click.exceptions.Exit(1)
