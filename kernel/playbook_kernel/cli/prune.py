"""``results prune``: old runs are removed, and nothing that is not surely a finished run."""

from __future__ import annotations

import re
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from playbook_kernel.engine.recover import open_trials
from playbook_kernel.engine.store import JOURNAL, run_lock
from playbook_kernel.errors import ConfigError, PlaybookError

from .common import echo_json, json_option, results_dir, table
from .kept import changed, in_progress, runs
from .main import Command

_EARLIER = re.compile(r"\d{8}_\d{6}_.+")
_EARLIER_MARKS = ("test_suite_summary/test_suite_summary.json", "*/summary/result_summary.json")
_UNITS = {"m": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}
_GOING = ".removing-"
"""What the folder of a run is called while it is removed: a removal that was cut short leaves nothing like a run."""
_COMING, _COMING_SECONDS = ".importing-", 86400.0
"""What import works in, and the age from which such a folder is surely that of an import that died."""


class Age(click.ParamType[float]):
    """A number with a unit, in seconds: ``90m``, ``12h``, ``30d``, ``2w``; without one: days."""

    name = "age"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        found = re.fullmatch(r"(\d+(?:\.\d+)?)([mhdw]?)", str(value).strip())
        if found is None:
            self.fail(f"{value!r} is no age; say 90m, 12h, 30d or 2w", param, ctx)
        return float(found[1]) * _UNITS[found[2] or "d"]


@click.command(cls=Command)
@click.option("--keep", type=click.IntRange(min=0), metavar="N", help="The newest N runs stay.  [default: 1]")
@click.option("--older-than", type=Age(), metavar="AGE", help="Only those older than that: 90m, 12h, 30d, 2w.")
@click.option("--interrupted", is_flag=True, help="Also runs that were interrupted and could be resumed.")
@click.option("--dry-run", is_flag=True, help="List them, and remove nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@click.pass_obj
def prune(
    obj: dict[str, Any],
    *,
    keep: int | None,
    older_than: float | None,
    interrupted: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Remove old runs; lists them and asks before it does.

    What is at work, has something to be cleaned up after, or is not surely a run, stays, and is told.

    \b
    Example:  playbook-kernel results prune --keep 20 --older-than 30d --dry-run
    """  # noqa: D301 - click wants the character
    if keep is None and older_than is None:
        raise click.UsageError("Say which runs may go: --keep N, --older-than AGE, or both.")
    words = [] if older_than is None else [f"older than {_said(older_than)}"]
    words += [] if keep is None else [f"beyond the newest {keep}"]
    stay = 1 if keep is None else keep
    remove_old(
        runs(results_dir(obj)), " and ".join(words), stay, older_than or 0.0,
        interrupted=interrupted, dry_run=dry_run, yes=yes, as_json=as_json, rest=_rest(results_dir(obj)),
    )  # fmt: skip


def remove_old(
    found: Sequence[Mapping[str, Any]],
    words: str,
    keep: int,
    age: float,
    *,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    interrupted: bool = True,
    rest: Sequence[Path] = (),
) -> None:
    """Remove the runs (newest first) beyond so many that are older than so many seconds; asks before, unless ``yes``.

    Runs that are under way or have something to be cleaned up after stay, and folders that are no runs. ``rest``: what
    removals that were cut short have left. Raises ConfigError if there is nobody to ask.
    """
    reasons = {r["name"]: _why_not(Path(r["path"])) for r in found}
    surely = [r for r in found if not reasons[r["name"]] or reasons[r["name"]] != _NO_RUN]
    newest = {r["name"] for r in surely[:keep]}
    old = [r for r in found if r["name"] not in newest and time.time() - changed(r["path"]) >= age]
    kept = {r["name"]: why for r in old if (why := reasons[r["name"]] or _unfinished(r, allowed=interrupted))}
    due = [r for r in old if r["name"] not in kept]
    if not as_json:
        table(
            ["name", "modified", "files", "MB"],
            [[r["name"], r["modified_time"], r["file_count"], r["total_size_mb"]] for r in due],
        )
        for path in rest:
            what = "removal" if path.name.startswith(_GOING) else "import"
            click.echo(f"{path.name.removeprefix(_GOING)}: the rest of a run whose {what} was cut short")
    for name, why in kept.items():
        click.echo(f"{name} stays: {why}", err=True)
    folders = [Path(r["path"]) for r in due] + [*rest]
    removed = [] if dry_run else _remove(folders, yes=yes)
    if as_json:
        echo_json({"old": [r["name"] for r in due], "removed": removed, "kept": kept})
    elif dry_run or not folders:
        click.echo(f"{_count(len(due))} {words}" + (": nothing was removed" if dry_run else ""))
    else:
        click.echo(f"{_count(len(removed))} removed")


def _remove(due: Sequence[Path], *, yes: bool) -> list[str]:
    if due and not yes:
        if not sys.stdin.isatty():
            raise ConfigError(
                ["there is nobody to ask whether to remove these runs"], hint="--yes removes them, --dry-run lists them"
            )
        if not click.confirm(f"Remove {_count(len(due))} for good?", err=True):
            return []
    removed = []
    for folder in due:
        going = folder if folder.name.startswith((_GOING, _COMING)) else folder.with_name(_GOING + folder.name)
        name = going.name.removeprefix(_GOING)
        try:
            if going != folder:
                with run_lock(folder):
                    folder.rename(going)
        except (PlaybookError, OSError) as error:
            click.echo(f"{name} stays: {error}", err=True)
            continue
        try:
            shutil.rmtree(going)
        except OSError as error:
            click.echo(f"{name} could not be removed wholly: {error}; what is left is in {going}", err=True)
        else:
            removed.append(name)
    return removed


_NO_RUN = "it is not a run"


def _why_not(folder: Path) -> str:
    """Why a folder must stay; empty if it may go."""
    if folder.is_symlink():
        return "it is a link"
    if not (folder / JOURNAL).is_file():
        earlier = _EARLIER.fullmatch(folder.name) and any(any(folder.glob(m)) for m in _EARLIER_MARKS)
        return "" if earlier else _NO_RUN
    if in_progress(folder):
        return "a process of this run is still at work"
    try:
        left = open_trials(folder)
    except PlaybookError as error:
        return f"its journal cannot be read: {error}"
    return f"`playbook-kernel cleanup {folder.name}` has something to do" if left else ""


def _unfinished(run: Mapping[str, Any], *, allowed: bool) -> str:
    """Why a run stays that could be gone on with; one of the earlier tool never could."""
    if allowed or run["status"] in ("completed", "failed", "cancelled") or not (Path(run["path"]) / JOURNAL).is_file():
        return ""
    return (
        f"it was interrupted: `playbook-kernel run --resume {run['name']}` goes on with it (--interrupted removes it)"
    )


def _rest(results: Path) -> list[Path]:
    dead = [p for p in results.glob(f"{_COMING}*") if time.time() - p.stat().st_mtime > _COMING_SECONDS]
    return sorted(p for p in (*results.glob(f"{_GOING}*"), *dead) if p.is_dir() and not p.is_symlink())


def _said(seconds: float) -> str:
    unit = next(u for u in ("d", "h", "m") if seconds >= _UNITS[u] or u == "m")
    word = {"d": "day", "h": "hour", "m": "minute"}[unit]
    number = seconds / _UNITS[unit]
    return f"{number:g} {word}{'' if number == 1 else 's'}"


def _count(runs: int) -> str:
    return f"{runs} run" if runs == 1 else f"{runs} runs"
