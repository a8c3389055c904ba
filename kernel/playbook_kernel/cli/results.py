"""``results`` and ``logs``: what earlier runs left."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from playbook_kernel.engine.store import LOG, safe_name
from playbook_kernel.errors import ConfigError
from playbook_kernel.model.codec import encode
from playbook_kernel.redaction import redact, redacted

from .answer import answer
from .common import echo_json, json_option, results_dir, table
from .kept import find_run, in_progress, runs
from .main import Command, Family


@click.group(
    cls=Family,
    members={
        "verify": ("verify", "Say what of a run is missing, changed or extra."),
        "export": ("archive", "Put a run into one file."),
        "import": ("archive", "Take a run out of such a file."),
        "prune": ("prune", "Remove old runs."),
    },
)
@click.option(
    "-f", "--format", "form", type=click.Choice(["table", "json", "yaml"]), default="table", show_default=True
)
@click.option("--cleanup", is_flag=True, help="The same as prune --older-than; needs --days.")
@click.option("--days", type=click.FloatRange(min=0), help="With --cleanup: how old a run must be.")
@click.option("--dry-run", is_flag=True, help="With --cleanup: list them, and remove nothing.")
@click.option("--yes", is_flag=True, help="With --cleanup: do not ask.")
@click.option("--newest", is_flag=True, help="With --cleanup: the newest run, too, if it is old enough.")
@json_option
@click.pass_context
def results(
    ctx: click.Context,
    /,
    form: str,
    *,
    cleanup: bool,
    days: float | None,
    dry_run: bool,
    yes: bool,
    newest: bool,
    as_json: bool,
) -> None:
    """List the runs, newest first (the table shows ten, json and yaml all); the commands below look after them.

    \b
    Example:  playbook-kernel results prune --older-than 30d --dry-run
    """  # noqa: D301 - click wants the character
    if ctx.invoked_subcommand is not None:
        return
    obj = ctx.obj
    if cleanup != (days is not None) or ((dry_run or yes or newest) and not cleanup):
        raise click.UsageError("--cleanup and --days N belong together; --dry-run, --yes and --newest belong to them.")
    every = cleanup or as_json or form != "table"
    found = runs(results_dir(obj), None if every else 10)
    if cleanup and days is not None:
        from .prune import remove_old

        words, keep = f"older than {days:g} days", 0 if newest else 1
        remove_old(found, words, keep, days * 86400.0, dry_run=dry_run, yes=yes, as_json=as_json or form == "json")
        return
    if as_json or form == "json":
        echo_json(found)
    elif form == "yaml":
        import yaml

        click.echo(yaml.safe_dump(redacted(encode(list(found))), sort_keys=False, allow_unicode=True), nl=False)
    else:
        rows = [
            [r["name"], r["modified_time"], r["status"], r["completed"], r["file_count"], r["total_size_mb"]]
            for r in found
        ]
        table(["name", "modified", "status", "completed", "files", "MB"], rows)
        if not rows:
            click.echo(f"no runs in {results_dir(obj)}", err=True)


@click.command(cls=Command)
@click.argument("run", required=False)
@click.argument("scenario", required=False)
@click.option("--follow", is_flag=True, help="Go on as the run writes, until it ends.")
@json_option
@click.pass_obj
def logs(obj: dict[str, Any], run: str | None, scenario: str | None, *, follow: bool, as_json: bool) -> None:
    """Show the log of a RUN (default: the newest) and what else it kept, or the kept output of its SCENARIO."""
    folder = find_run(results_dir(obj), run)
    if scenario is None:
        for line in lines_of(folder / LOG, folder, follow=follow):
            answer(line if as_json else _readable(line))
        if not as_json and not follow:
            _tell_kept(folder)
        return
    place = folder / safe_name(scenario)
    if not place.is_dir():
        names = ", ".join(sorted(p.name for p in folder.iterdir() if p.is_dir())) or "none"
        raise ConfigError([f"{folder.name} has no scenario {scenario!r}"], hint=f"it has: {names}")
    if follow:
        for line in lines_of(place / "logs" / "test_output.log", folder, follow=True):
            click.echo(redact(line))
        return
    files = sorted(p for p in place.glob("**/logs/**/*") if p.is_file())
    if as_json:
        echo_json([{"file": str(p.relative_to(folder)), "size": p.stat().st_size} for p in files])
        return
    for file in files:
        click.echo(f"==> {file.relative_to(folder)} <==")
        click.echo(redact(file.read_text(encoding="utf-8", errors="replace")))


def _tell_kept(run: Path) -> None:
    """What services and scripts said is not in the run's log: say where it is."""
    for scenario in sorted(p for p in run.iterdir() if p.is_dir()):
        files = sorted(
            p.relative_to(scenario) for p in scenario.glob("**/logs/**/*") if p.is_file() and p.stat().st_size
        )
        if files:
            click.echo(
                f"{scenario.name} kept {', '.join(map(str, files))}: `playbook-kernel logs {run.name} {scenario.name}`"
            )


def lines_of(path: Path, run: Path, *, follow: bool) -> Iterator[str]:
    """Every line of a file; with ``follow`` also those that come, until the run ends. Raises ConfigError."""
    while follow and not path.exists() and in_progress(run):
        time.sleep(0.2)
    if not path.exists():
        raise ConfigError([f"{path}: is not there"])
    with path.open(encoding="utf-8", errors="replace") as file:
        while True:
            line = file.readline()
            if line.endswith("\n"):
                yield line.rstrip("\n")
            elif not follow or not in_progress(run):
                if line:
                    yield line
                return
            else:
                file.seek(file.tell() - len(line.encode()))
                time.sleep(0.2)


def _readable(line: str) -> str:
    try:
        record = json.loads(line)
    except ValueError:
        return redact(line)
    rest = " ".join(
        f"{k}={v}" for k, v in record.items() if k not in ("timestamp", "level", "event", "logger", "exception")
    )
    head = f"{record.get('timestamp', '')}  {record.get('level', '').upper():7}  {record.get('event', '')}"
    return redact(f"{head}  {rest}".rstrip())
