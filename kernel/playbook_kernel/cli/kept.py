"""The runs of a results folder, of this tool and of the earlier one; and which of them is meant."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from playbook_kernel.engine.store import CAMPAIGN, JOURNAL, LOCK
from playbook_kernel.errors import ConfigError


def runs(folder: Path, most: int | None = None) -> list[dict[str, Any]]:
    """The runs of a results folder, newest first, those of the earlier tool too; ``most``: no more than so many."""
    found: list[dict[str, Any]] = []
    for modified, path in _folders(folder):
        if most is not None and len(found) >= most:
            break
        if (run := _run(path, dt.datetime.fromtimestamp(modified).isoformat(timespec="seconds"))) is not None:
            found.append(run)
    return found


def _folders(results: Path) -> list[tuple[float, Path]]:
    """What may be runs, newest first by the second, and then by name."""
    if not results.is_dir():
        return []
    with os.scandir(results) as entries:
        found = [(int(changed(e.path)), e.name) for e in entries if e.is_dir() and not e.name.startswith(".")]
    return [(modified, results / name) for modified, name in sorted(found, reverse=True)]


def changed(run: str | Path) -> float:
    """When a run last came to something, Unix seconds; a report that is written again makes no old run a new one."""
    try:
        return os.stat(os.path.join(run, CAMPAIGN)).st_mtime  # noqa: PTH116, PTH118 - a thousand of them
    except OSError:
        return os.stat(run).st_mtime  # noqa: PTH116


def _files(folder: Path) -> list[os.DirEntry[str]]:
    found: list[os.DirEntry[str]] = []
    # what vanishes meanwhile, or cannot be looked into, is not counted
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                found += _files(Path(entry.path))
            elif entry.is_file(follow_symlinks=False) and entry.name != LOCK:
                found.append(entry)
    return found


def _run(folder: Path, modified: str) -> dict[str, Any] | None:
    files = _files(folder)
    summary = _json(folder / CAMPAIGN)
    if not summary and not files:
        return None
    if not summary:
        return _earlier_tools(folder, files, modified)
    scenarios = summary.get("scenarios", [])
    counts: dict[str, int] = {}
    for scenario in scenarios:
        counts[scenario["status"]] = counts.get(scenario["status"], 0) + 1
    state = summary.get("status", "unknown")
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


def _earlier_tools(folder: Path, files: Sequence[os.DirEntry[str]], modified: str) -> dict[str, Any]:
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
    known = [path.name for _, path in _folders(folder) if (path / CAMPAIGN).is_file() or _files(path)]
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


def writable(run: Path) -> None:
    """Raise ConfigError unless somebody here may go on with a run, or clean up after it: both are written down in it."""
    for path in (run, run / JOURNAL, run / LOCK):
        if path.exists() and not os.access(path, os.W_OK):
            raise ConfigError(
                [f"{path}: cannot be written, and what is done after a run is written down there"],
                hint="become its owner, or name a copy of the run's folder",
            )
