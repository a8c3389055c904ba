"""``results --cleanup``: old runs are removed, and nothing that is not surely a run."""

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

from .common import echo_json, table

_EARLIER = re.compile(r"\d{8}_\d{6}_.+")
_EARLIER_MARKS = ("test_suite_summary/test_suite_summary.json", "*/summary/result_summary.json")
_DAY = 86400.0


def prune(
    found: Sequence[Mapping[str, Any]], *, days: float, newest: bool, dry_run: bool, yes: bool, as_json: bool
) -> None:
    """Remove the runs (newest first) that are older than so many days; asks before it does, unless ``yes``.

    The newest run of all stays, unless ``newest``; so do runs that are under way or have something to be cleaned up
    after, and folders that are no runs. Raises ConfigError if there is nobody to ask.
    """
    old = [r for r in found[0 if newest else 1 :] if time.time() - Path(r["path"]).stat().st_mtime > days * _DAY]
    kept = {r["name"]: why for r in old if (why := _why_not(Path(r["path"])))}
    due = [r for r in old if r["name"] not in kept]
    if not as_json:
        table(
            ["name", "modified", "files", "MB"],
            [[r["name"], r["modified_time"], r["file_count"], r["total_size_mb"]] for r in due],
        )
    for name, why in kept.items():
        click.echo(f"{name} stays: {why}", err=True)
    removed = [] if dry_run else _remove(due, yes=yes)
    if as_json:
        echo_json({"old": [r["name"] for r in due], "removed": removed, "kept": kept})
    elif dry_run or not due:
        click.echo(f"{_count(len(due))} older than {days:g} days" + (": nothing was removed" if dry_run else ""))
    else:
        click.echo(f"{_count(len(removed))} removed")


def _remove(due: Sequence[Mapping[str, Any]], *, yes: bool) -> list[str]:
    if due and not yes:
        if not sys.stdin.isatty():
            raise ConfigError(
                ["there is nobody to ask whether to remove these runs"], hint="--yes removes them, --dry-run lists them"
            )
        if not click.confirm(f"Remove {_count(len(due))} for good?", err=True):
            return []
    removed = []
    for run in due:
        folder = Path(run["path"])
        try:
            with run_lock(folder):
                shutil.rmtree(folder)
        except (PlaybookError, OSError) as error:
            click.echo(f"{folder.name} stays: {error}", err=True)
        else:
            removed.append(folder.name)
    return removed


def _why_not(folder: Path) -> str:
    """Why a folder must stay; empty if it may go."""
    if folder.is_symlink():
        return "it is a link"
    if not (folder / JOURNAL).is_file():
        earlier = _EARLIER.fullmatch(folder.name) and any(any(folder.glob(m)) for m in _EARLIER_MARKS)
        return "" if earlier else "it is not a run"
    try:
        left = open_trials(folder)
    except PlaybookError as error:
        return f"its journal cannot be read: {error}"
    return f"`playbook-kernel cleanup {folder.name}` has something to do" if left else ""


def _count(runs: int) -> str:
    return f"{runs} run" if runs == 1 else f"{runs} runs"
