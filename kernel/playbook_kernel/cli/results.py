"""``results`` and ``logs``: what earlier runs left."""

from __future__ import annotations

import datetime as dt
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from playbook_kernel.engine.store import CAMPAIGN, JOURNAL, LOCK, LOG, safe_name
from playbook_kernel.errors import ConfigError
from playbook_kernel.model.codec import encode
from playbook_kernel.redaction import redact, redacted

from .common import echo_json, json_option, results_dir, table
from .main import Command


@click.command(cls=Command)
@click.option(
    "-f", "--format", "form", type=click.Choice(["table", "json", "yaml"]), default="table", show_default=True
)
@click.option("--cleanup", is_flag=True, help="Remove the runs that are older than --days; asks first.")
@click.option("--days", type=click.FloatRange(min=0), help="With --cleanup: how old a run must be.")
@click.option("--dry-run", is_flag=True, help="With --cleanup: list them, and remove nothing.")
@click.option("--yes", is_flag=True, help="With --cleanup: do not ask.")
@click.option("--newest", is_flag=True, help="With --cleanup: the newest run, too, if it is old enough.")
@json_option
@click.pass_obj
def results(
    obj: dict[str, Any],
    form: str,
    *,
    cleanup: bool,
    days: float | None,
    dry_run: bool,
    yes: bool,
    newest: bool,
    as_json: bool,
) -> None:
    """List the runs, newest first (the table shows ten, json and yaml all); or remove old ones.

    \b
    Example:  playbook-kernel results --cleanup --days 30 --dry-run
    """  # noqa: D301 - click wants the character
    if cleanup != (days is not None) or ((dry_run or yes or newest) and not cleanup):
        raise click.UsageError("--cleanup and --days N belong together; --dry-run, --yes and --newest belong to them.")
    found = runs(results_dir(obj))
    if cleanup and days is not None:
        from .prune import prune

        prune(found, days=days, newest=newest, dry_run=dry_run, yes=yes, as_json=as_json or form == "json")
        return
    if as_json or form == "json":
        echo_json(found)
    elif form == "yaml":
        import yaml

        click.echo(yaml.safe_dump(redacted(encode(list(found))), sort_keys=False, allow_unicode=True), nl=False)
    else:
        rows = [
            [r["name"], r["modified_time"], r["status"], r["completed"], r["file_count"], r["total_size_mb"]]
            for r in found[:10]
        ]
        table(["name", "modified", "status", "completed", "files", "MB"], rows)
        if not rows:
            click.echo(f"no runs in {results_dir(obj)}", err=True)


def runs(folder: Path) -> list[dict[str, Any]]:
    """Every run of a results folder, newest first; those of the earlier tool too."""
    if not folder.is_dir():
        return []
    found = [_run(p) for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")]
    return sorted((r for r in found if r is not None), key=lambda r: (r["modified_time"], r["name"]), reverse=True)


def _run(folder: Path) -> dict[str, Any] | None:
    files = [p for p in folder.rglob("*") if p.is_file() and not p.is_symlink() and p.name != LOCK]
    summary = _json(folder / CAMPAIGN)
    if not summary and not files:
        return None
    scenarios = summary.get("scenarios", [])
    modified = dt.datetime.fromtimestamp(folder.stat().st_mtime).isoformat(timespec="seconds")
    counts: dict[str, int] = {}
    for scenario in scenarios:
        counts[scenario["status"]] = counts.get(scenario["status"], 0) + 1
    state = summary.get("status", "unknown")
    if not summary:
        return _earlier_tools(folder, files, modified)
    return {
        "name": folder.name,
        "path": str(folder),
        "modified_time": modified,
        "file_count": len(files),
        "total_size_mb": round(sum(f.stat().st_size for f in files) / 1e6, 2),
        "has_summary": True,
        "status": "interrupted" if state == "running" and not in_progress(folder) else state,
        "completed": f"{counts.get('completed', 0)}/{len(scenarios)}",
        "summary": counts,
    }


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _earlier_tools(folder: Path, files: Sequence[Path], modified: str) -> dict[str, Any]:
    """A run of the earlier tool: what its suite summary counts; single runs called themselves failed whatever happened."""
    suite = _json(folder / "test_suite_summary" / "test_suite_summary.json").get("execution_summary")
    counted = suite if isinstance(suite, dict) else {}
    counts = {s: n for s in ("completed", "failed", "skipped", "cancelled") if (n := counted.get(s))}
    state = "unknown" if not counted else "failed" if counts.get("failed") else "completed"
    return {
        "name": folder.name,
        "path": str(folder),
        "modified_time": modified,
        "file_count": len(files),
        "total_size_mb": round(sum(f.stat().st_size for f in files) / 1e6, 2),
        "has_summary": bool(counted) or any(f.name == "result_summary.json" for f in files),
        "status": state,
        "completed": f"{counted.get('completed', 0)}/{counted.get('total', '?')}" if counted else "?",
        "summary": counts,
    }


def isolation(found: Sequence[Mapping[str, Any]], latest: int = 10) -> dict[str, Any]:
    """How well the latest of these runs cleaned up after themselves: trials, those verified clean, seconds, classes of errors."""
    trials: list[Mapping[str, Any]] = []
    for run in found[:latest]:
        for scenario in _json(Path(run["path"]) / CAMPAIGN).get("scenarios", []):
            trials += scenario.get("trials", [])
    cleanups = [p for t in trials for p in t.get("phases", []) if p["phase"] == "cleanup" and p["status"] != "skipped"]
    errors: dict[str, int] = {}
    for phase in (p for t in trials for p in t.get("phases", []) if p["status"] in ("failed", "timeout")):
        errors[phase["error_class"]] = errors.get(phase["error_class"], 0) + 1
    return {
        "runs": min(latest, len(found)),
        "trials": len(trials),
        "clean": sum(t.get("clean") is True for t in trials),
        "mean_cleanup_s": round(sum(p["seconds"] for p in cleanups) / len(cleanups), 3) if cleanups else None,
        "errors": dict(sorted(errors.items())),
    }


def in_progress(folder: Path) -> bool:
    """Whether a process of that run lives."""
    import fcntl

    try:
        with (folder / LOCK).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def find_run(folder: Path, name: str | None) -> Path:
    """The run of that name (or path, or unique beginning); the newest for None. Raises ConfigError."""
    if name and (Path(name) / JOURNAL).is_file():
        return Path(name)
    known: list[str] = [r["name"] for r in runs(folder)]
    if not known:
        raise ConfigError([f"{folder}: there are no runs"])
    if name is None:
        return folder / known[0]
    matches = [k for k in known if k == name] or [k for k in known if k.startswith(name)]
    if len(matches) == 1:
        return folder / matches[0]
    import difflib

    near = difflib.get_close_matches(name, known, n=1)
    several = f"{name!r} may mean {', '.join(matches[:5])}"
    hint = f"did you mean {near[0]!r}?" if near else "`playbook-kernel results` lists them"
    raise ConfigError([several if matches else f"no run is called {name!r}"], hint=hint)


@click.command(cls=Command)
@click.argument("run", required=False)
@click.argument("scenario", required=False)
@click.option("--follow", is_flag=True, help="Go on as the run writes, until it ends.")
@json_option
@click.pass_obj
def logs(obj: dict[str, Any], run: str | None, scenario: str | None, *, follow: bool, as_json: bool) -> None:
    """Show the log of a RUN (default: the newest), or the kept output of its SCENARIO."""
    folder = find_run(results_dir(obj), run)
    if scenario is None:
        for line in lines_of(folder / LOG, folder, follow=follow):
            click.echo(line if as_json else _readable(line))
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
