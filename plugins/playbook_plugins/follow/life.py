"""Whether a run that has not ended is still at work."""

from __future__ import annotations

import fcntl
import hashlib
import os
import time

from attrs import frozen

from .follower import JOURNAL, Follower

_SIGNS = (JOURNAL, "log.jsonl", "campaign.json")
QUIET = 300.0
"""Seconds without a sign after which a run of another machine is worth a word."""


@frozen
class Life:
    """``alive``: a process of the run is at work; None: it cannot be seen from here. ``silent``: seconds since its last sign."""

    alive: bool | None
    silent: float


def life(follower: Follower) -> Life:
    """Look at the lock that every process of a run holds, and at how old its files are."""
    return Life(_held(follower), max(0.0, time.time() - _last_sign(follower)))


def _held(follower: Follower) -> bool | None:
    try:
        with (follower.folder / "lock").open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return None
    return False if _is_here(follower) else None


def _is_here(follower: Follower) -> bool:
    """Whether this is the machine and the place of the run, and not a copy of it or a mount."""
    place = hashlib.sha256(str(follower.folder.resolve()).encode()).hexdigest()
    return follower.host in ("", os.uname().nodename) and place.startswith(follower.mark or "?")


def _last_sign(follower: Follower) -> float:
    files = [follower.folder / name for name in _SIGNS]
    files += [follower.output] if follower.output else []
    return max((p.stat().st_mtime for p in files if p.exists()), default=0.0)
