"""Ending containers: all at once, each asked as its image wishes, and none waited for that cannot hear the question.

A container's first process is told its stop signal and has ``stop_grace_period`` (10 s if the compose file says
nothing) to end. One that neither handles nor awaits that signal will never act on it, because the kernel keeps
unhandled signals from the first process of a pid namespace: a shell that wraps an engine, for example. Such a one is
killed at once.
"""

from __future__ import annotations

import functools
import signal
import time
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen
from playbook_kernel.api import Session, current, run_all

from .engine import Engine

GRACE_SECONDS = 10.0
_AT_ONCE = 4
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 0.5
_RUNNING = ("running", "paused", "restarting")

# Prints `pid caught-or-awaited signals...` (hexadecimal masks) for each pid that can be looked at.
_HEARING = r"""
for p in "$@"; do
  while read -r k v; do
    case $k in NSpid:) n=${v##*[!0-9]};; SigBlk:) b=$v;; SigCgt:) c=$v;; esac
  done 2>/dev/null <"/proc/$p/status" && echo "$p $n $b $c"
done
:
"""


@frozen
class _Guest:
    """A container that runs, and how it is to be ended."""

    container: str
    pid: int
    signal: str
    grace: float


def stop(session: Session, engine: Engine, containers: Sequence[Mapping[str, Any]]) -> None:
    """End containers, and keep them. Raises EngineDown; a container that is gone meanwhile is none the worse."""
    _say(session, engine, containers)
    _each([functools.partial(engine.call, "POST", f"/containers/{c['Id']}/stop", {"t": "0"}) for c in containers])


def remove(session: Session, engine: Engine, containers: Sequence[Mapping[str, Any]]) -> None:
    """End containers, and remove them with their anonymous volumes. Raises as :func:`stop`."""
    _say(session, engine, containers)
    force = {"force": "1", "v": "1"}
    _each([functools.partial(engine.call, "DELETE", f"/containers/{c['Id']}", force) for c in containers])


def _say(session: Session, engine: Engine, containers: Sequence[Mapping[str, Any]]) -> None:
    running = [str(c["Id"]) for c in containers if c["State"] in _RUNNING]
    guests = [g for g in _each([functools.partial(_guest, engine, i) for i in running]) if g is not None]
    deaf = _deaf(session, guests)
    patient = [g for g in guests if g.container not in deaf and g.grace > 0]
    _each([functools.partial(_tell, engine, g) for g in patient])
    _wait(engine, {g.container: g.grace for g in patient})


def _guest(engine: Engine, container: str) -> _Guest | None:
    seen = engine.inspect(container)
    if not seen:
        return None
    config = seen.get("Config", {})
    state = seen.get("State", {})
    grace = config.get("StopTimeout")
    seconds = GRACE_SECONDS if grace is None else float(grace)
    paused = bool(state.get("Paused"))  # it cannot act on anything
    return _Guest(
        container, int(state.get("Pid") or 0), str(config.get("StopSignal") or "SIGTERM"), 0.0 if paused else seconds
    )


def _deaf(session: Session, guests: Sequence[_Guest]) -> set[str]:
    """The containers whose first process will not act on its stop signal."""
    by_pid = {str(g.pid): g for g in guests if g.pid}
    if not by_pid:
        return set()
    rows = session.run(["sh", "-c", _HEARING, "-", *by_pid], check=False).text.splitlines()
    found = set()
    for pid, inner, blocked, caught in (row.split() for row in rows if row.count(" ") == 3):
        guest = by_pid[pid]
        number = _number(guest.signal)
        heard = int(blocked, 16) | int(caught, 16)
        if inner == "1" and number and not heard >> (number - 1) & 1:
            found.add(guest.container)
    return found


def _number(name: str) -> int | None:
    if name.isdigit():
        return int(name)
    full = name.upper() if name.upper().startswith("SIG") else f"SIG{name.upper()}"
    found = getattr(signal, full, None)
    return int(found) if isinstance(found, signal.Signals) else None


def _tell(engine: Engine, guest: _Guest) -> None:
    engine.call("POST", f"/containers/{guest.container}/kill", {"signal": guest.signal})


def _wait(engine: Engine, grace: Mapping[str, float]) -> None:
    """Until none of them runs, or each has had its time."""
    began, pause = time.monotonic(), _FIRST_PAUSE
    while grace:
        running = {c["Id"] for c in engine.containers_with_ids(list(grace)) if c["State"] in _RUNNING}
        waited = time.monotonic() - began
        if not any(waited < seconds for container, seconds in grace.items() if container in running):
            return
        current().sleep(pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE)


def _each(calls: Sequence[Any]) -> list[Any]:
    results = run_all(calls, limit=_AT_ONCE)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results
