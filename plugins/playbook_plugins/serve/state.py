"""Where runs stand, as data: every run of a folder in a line, and one run as its live view would show it."""

from __future__ import annotations

import json
import threading
import time
from collections import OrderedDict
from pathlib import Path
from typing import Any

from attrs import define, field
from playbook_kernel.api import JournalDamaged, redacted

from playbook_plugins.follow import Follower, life
from playbook_plugins.follow.follower import JOURNAL
from playbook_plugins.progress.board import Board
from playbook_plugins.stats import runs

_KEPT = 16
"""Runs that are followed at once; the one that nobody asked for longest is forgotten."""
FILES = (JOURNAL, runs.CAMPAIGN, runs.SUMMARY)


@define(eq=False)
class _Followed:
    follower: Follower
    board: Board
    at: list[float]
    lock: threading.Lock = field(factory=threading.Lock)


@define(eq=False)
class Runs:
    """The runs of a folder, or one alone. Safe for many threads."""

    folder: Path
    only: str = ""
    _followed: OrderedDict[str, _Followed] = field(factory=OrderedDict)
    _lines: dict[str, tuple[tuple[int, int], dict[str, Any]]] = field(factory=dict)
    _lock: threading.Lock = field(factory=threading.Lock)

    def names(self) -> list[str]:
        """Newest first."""
        return [self.only] if self.only else runs.names(self.folder, FILES)[::-1]

    def find(self, name: str) -> Path | None:
        """The folder of a run; None for what is not exactly the name of one."""
        if self.only:
            return self.folder / name if name == self.only else None
        harmless = name and "/" not in name and "\0" not in name and not name.startswith(".")
        return self.folder / name if harmless and any((self.folder / name / f).is_file() for f in FILES) else None

    def listing(self) -> list[dict[str, Any]]:
        """Every run in a line."""
        return [self._line(name) for name in self.names()]

    def _line(self, name: str) -> dict[str, Any]:
        folder = self.folder / name
        path = folder / (runs.CAMPAIGN if (folder / runs.CAMPAIGN).is_file() else runs.SUMMARY)
        try:
            found = path.stat()
            key = (found.st_mtime_ns, found.st_size)
        except OSError:
            key = (0, 0)
        known = self._lines.get(name)
        if known is None or known[0] != key:
            known = self._lines[name] = (key, _summary(path))
        line = {"name": name, **known[1]}
        if line["status"] in ("running", "unknown") and (folder / JOURNAL).is_file():
            now = self.state(name, folder)
            over = [s["status"] for s in now["scenarios"] if s["status"] not in ("pending", "running")]
            line.update(status=now["status"], completed=over.count("completed"), scenarios=len(now["scenarios"]))
        return line

    def state(self, name: str, folder: Path) -> dict[str, Any]:
        """One run as it stands now. Raises OSError, JournalDamaged."""
        with self._lock:
            one = self._followed.get(name)
            if one is None:
                at: list[float] = []
                board = Board(lambda: time.monotonic() - (time.time() - at[0] if at else 0.0))
                one = self._followed[name] = _Followed(Follower(folder), board, at)
            self._followed.move_to_end(name)
            while len(self._followed) > _KEPT:
                self._followed.popitem(last=False)
        with one.lock:
            for seen in one.follower.poll():
                one.at[:] = [seen.at]
                one.board.apply(seen.event)
            one.at.clear()
            said: dict[str, Any] = redacted(_told(one.follower, one.board))
            return said


def _told(follower: Follower, board: Board) -> dict[str, Any]:
    sign = life(follower)
    status = follower.status or {True: "running", False: "interrupted"}.get(bool(sign.alive), "running")
    if not follower.status and sign.alive is None:
        status = "unknown"
    ended = dict(board.ended)
    current: dict[str, Any] | None = None
    if board.scenario and not follower.status:
        current = {
            "scenario": board.scenario,
            "attempt": board.attempt,
            "seconds": round(board.seconds(), 1),
            "phases": [
                {"phase": p, "status": s, "seconds": None if took is None else round(took, 1)}
                for p, s, took in board.phase_words()
            ],
            "services": [
                {
                    "service": r.service, "node": r.node, "status": r.status, "detail": r.detail, "attempt": r.attempt,
                    "seconds": round(r.took if r.took is not None else time.monotonic() - r.since, 1),
                }
                for r in board.rows.values()
            ],
            "output": list(board.lines),
            "warnings": board.warnings[-5:],
        }  # fmt: skip
    names = dict.fromkeys((*board.scenarios, *ended))
    return {
        "run": board.run or follower.folder.name,
        "status": status,
        "silent_seconds": round(sign.silent, 1),
        "scenarios": [
            {"name": n, "status": ended.get(n, "running" if current and n == board.scenario else "pending")}
            for n in names
        ],
        "current": current,
    }


def _summary(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        statuses = [str(s["status"]) for s in found.get("scenarios", ())]
        return {
            "status": str(found.get("status", "unknown")),
            "started": str(found.get("started", "")),
            "seconds": float(found.get("seconds", 0.0)),
            "completed": statuses.count("completed"),
            "scenarios": len(statuses),
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {"status": "unknown", "started": "", "seconds": 0.0, "completed": 0, "scenarios": 0}


__all__ = ["JournalDamaged", "Runs"]
