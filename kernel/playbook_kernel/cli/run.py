"""``run``: the main job."""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Sequence
from typing import Any

import click

from playbook_kernel.engine.plan import Plan
from playbook_kernel.engine.resume import Resume, asked_for
from playbook_kernel.errors import ConfigError
from playbook_kernel.redaction import redact

from .common import check_required, echo_json, everything_wrong, json_option, read, results_dir, warn
from .kept import find_run, runs, writable
from .main import Command
from .plan import show

NEWEST = "newest"
_RECENT = 10
"""Runs that are looked at for what they left when they died."""


@click.command(cls=Command)
@click.argument("name", required=False)
@click.option("-a", "--all", "run_all", is_flag=True, help="Run every scenario, in order.")
@click.option("--dry-run", is_flag=True, help="Show the plan (of NAME, or of everything) and touch nothing.")
@click.option("--in-process", is_flag=True, help="Run the phases in this process: for debugging plugins.")
@click.option(
    "--resume", is_flag=False, flag_value=NEWEST, metavar="[RUN]", help="Go on with a run that was interrupted."
)
@click.option("--rerun-failed", metavar="RUN", help="Go on with a run, and try again what failed in it.")
@click.option("--accept-changes", is_flag=True, help="Go on although the configuration has changed since.")
@click.option(
    "--wait", is_flag=False, flag_value=math.inf, type=float, default=0.0, metavar="[SECONDS]",
    help="Wait while another campaign is at work on the nodes.",
)  # fmt: skip
@json_option
@click.pass_obj
def run(
    obj: dict[str, Any],
    name: str | None,
    *,
    run_all: bool,
    dry_run: bool,
    in_process: bool,
    resume: str | None,
    rerun_failed: str | None,
    accept_changes: bool,
    wait: float,
    as_json: bool,
) -> None:
    """Run the scenario NAME, or all of them with --all.

    \b
    Example:  playbook-kernel run --all
              playbook-kernel run --resume
    Exit status: 0 good, 1 a scenario failed, 2 usage or files, 3 a plugin, 4 a node, 130 interrupted.
    """  # noqa: D301 - click wants the character
    again = resume or rerun_failed
    if again and (name or run_all or dry_run or (resume and rerun_failed)):
        raise click.UsageError("--resume and --rerun-failed go on with what that run was asked for, and nothing else.")
    if name is not None and run_all:
        raise click.UsageError(f"Give {name}, or --all, not both.")
    if name is None and not run_all and not dry_run and not again:
        raise click.UsageError("Give a scenario's name, or --all. `playbook-kernel scenarios` lists them.")
    names: Sequence[str] | None = [name] if name is not None else None
    earlier = _earlier(obj, again, failed=rerun_failed is not None, accept=accept_changes) if again else None
    if earlier:
        writable(earlier.run)
    if earlier is not None:
        names = asked_for(earlier.run)
    setup = read(obj)
    plan, error = everything_wrong(setup, names)
    warn(setup.problems.warnings)
    if error is not None:
        raise error
    assert plan is not None
    if not plan.scenarios:
        raise ConfigError(
            ["there are no scenarios"], hint="`playbook-kernel config show` says where they are looked for"
        )
    if dry_run:
        show(plan, as_json=as_json)
        return
    if not plan.runnable and not earlier:
        _nothing(plan, as_json=as_json)
        return
    from pathlib import Path

    from playbook_kernel.engine import campaign
    from playbook_kernel.engine.store import new_run

    from .interrupt import Interrupts
    from .recover import left_behind

    check_required(setup.loader)
    dead = [run for run in left_behind(results_dir(obj), _RECENT) if earlier is None or run != earlier.run]
    warn([f"{run.name} died and may have left something at work: `playbook-kernel cleanup`" for run in dead])
    folder = earlier.run if earlier else new_run(results_dir(obj), names[0] if names else "all_scenarios")
    request = campaign.RunRequest(
        folder,
        in_process,
        setup.usable,
        str(obj.get("log_level", "INFO")).upper(),
        Path("logs"),
        tuple(sys.argv),
        only=None if names is None else tuple(names),
        resume=earlier,
        wait=wait,
    )
    interrupts = Interrupts(folder)
    with interrupts.watched():
        outcome = campaign.run(plan, request, setup.hooks, setup.loader, interrupts.cancel)
    with contextlib.suppress(OSError):  # the terminal may be gone
        if as_json:
            echo_json({"run": outcome.folder, "result": outcome.result, "reports": outcome.reports})
        else:
            _summary(outcome)
    sys.exit(interrupts.code or outcome.exit_code)


def _nothing(plan: Plan, *, as_json: bool) -> None:
    """Say why nothing is run: every scenario is disabled, or left out by the filters."""
    why = {s.name: s.skip or "Scenario is disabled" for s in plan.scenarios}
    if as_json:
        echo_json({"run": None, "skipped": why})
    for name, reason in why.items():
        click.echo(f"⊘ Scenario {name} was skipped: {reason}", err=as_json)
    if len(plan.scenarios) == 1 and not plan.scenarios[0].enabled:
        click.echo(f"`playbook-kernel scenario {plan.scenarios[0].name} --enable` enables it", err=True)


def _earlier(obj: dict[str, Any], name: str, *, failed: bool, accept: bool) -> Resume:
    folder = results_dir(obj)
    if name != NEWEST:
        return Resume(find_run(folder, name), failed, accept)
    open_ones = [r["name"] for r in runs(folder) if r["status"] not in ("completed", "failed")]
    if not open_ones:
        raise ConfigError([f"{folder}: no run was interrupted"], hint="`playbook-kernel results` lists all of them")
    return Resume(folder / open_ones[0], failed, accept)


def _summary(outcome: Any) -> None:
    result = outcome.result
    signs = {"completed": "✓", "failed": "✗", "skipped": "⊘", "cancelled": "⊘"}
    for scenario in result.scenarios:
        tail = f": {redact(scenario.reason)}" if scenario.reason else ""
        click.echo(f"{signs.get(scenario.status, '?')} {scenario.scenario} {scenario.status}{tail}")
    total = len(result.scenarios)
    rate = 100.0 * result.count("completed") / total if total else 0.0
    counts = ", ".join(f"{n} {s}" for s in signs if (n := result.count(s)))
    click.echo(f"Success rate: {rate:.1f}% of {total} ({counts or 'nothing ran'})")
    for path in outcome.reports[:1] or [outcome.folder]:
        click.echo(_near(path))


def _near(path: Any) -> str:
    from pathlib import Path

    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
