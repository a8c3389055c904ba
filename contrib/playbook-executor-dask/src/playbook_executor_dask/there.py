"""What happens on a worker: this source is sent there as text, so nothing has to be installed on it.

Each function is called by the worker's event loop and returns at once. A guard, a process of its own, runs the program;
it ends it (SIGTERM, then SIGKILL) when it is told to, at its deadline, when the worker is gone, or when nobody has asked
for it for a while. The guard removes the folder if nobody else does.
"""

from __future__ import annotations

import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

GUARD = r"""
import ctypes, os, shutil, signal, subprocess, sys, time
folder, seconds, lease, grace = sys.argv[1], *map(float, sys.argv[2:])
parent, began = os.getppid(), time.monotonic()
at = lambda name: os.path.join(folder, name)
with open(at("share"), "rb") as stdin, open(at("out"), "wb") as out, open(at("err"), "wb") as err:
    libc = ctypes.CDLL(None)
    die_with_me = lambda: libc.prctl(1, int(signal.SIGKILL), 0, 0, 0)
    child = subprocess.Popen(
        [sys.executable, at("program")], stdin=stdin, stdout=out, stderr=err, env={**os.environ, "TMPDIR": folder},
        start_new_session=True, preexec_fn=die_with_me,
    )
def end(number):
    try:
        os.killpg(child.pid, number)
    except ProcessLookupError:
        pass
seen = heard = stopping = why = None
while os.path.isdir(folder) and not os.path.exists(at("leave")):
    now = time.monotonic()
    try:
        asked = os.stat(at("asked")).st_mtime_ns
    except OSError:
        asked = None
    if asked != seen:
        seen, heard = asked, now
    running = child.poll() is None
    lonely = os.getppid() != parent or now - (heard or now) > lease
    if lonely:
        break
    if running and not stopping:
        why = "stop" if os.path.exists(at("stop")) else "late" if now - began > seconds else None
        if why:
            stopping = now
            end(signal.SIGTERM)
    elif running and now - stopping > grace:
        end(signal.SIGKILL)
    if not running and not os.path.exists(at("status")):
        end(signal.SIGKILL)
        with open(at("status.part"), "w") as file:
            file.write("%d %s" % (child.returncode, why or "-"))
        os.rename(at("status.part"), at("status"))
    time.sleep(0.02 if now - began < 2 or stopping else 0.1)
end(signal.SIGKILL)
child.wait()
shutil.rmtree(folder, ignore_errors=True)
"""


def hello(dask_worker: Any) -> dict[str, Any]:
    """Who this worker is."""
    name = dask_worker.name
    return {"name": str(name), "host": socket.gethostname(), "python": platform.python_version(), "pid": os.getpid()}


def clock() -> int:
    """Its real-time clock, nanoseconds."""
    return time.time_ns()


def members(dask_scheduler: Any) -> list[str]:
    """The addresses of the workers, on the scheduler."""
    return list(dask_scheduler.workers)


def folder_of(token: str) -> Path:
    """Where everything of one run lies."""
    return Path(tempfile.gettempdir()) / f"playbook-load-{token}"


def start(token: str, program: bytes, share: bytes, limits: tuple[float, float, float], dask_worker: Any) -> None:
    """Start the program on its share. Limits: the guard's, in seconds."""
    folder = folder_of(token)
    folder.mkdir(mode=0o700)
    for name, data in (("program", program), ("share", share), ("asked", b"")):
        (folder / name).write_bytes(data)
    command = [sys.executable, "-c", GUARD, str(folder), *map(repr, limits)]
    guards = dask_worker.__dict__.setdefault("playbook_guards", {})
    guards[token] = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)


def look(token: str, stop: bool, dask_worker: Any) -> tuple[int, str, int, str] | None:  # noqa: FBT001
    """None while it runs; then its status, why it was ended (or -), the size of its output, and its last words."""
    folder, guard = folder_of(token), dask_worker.playbook_guards[token]
    if stop:
        (folder / "stop").touch()
    if not (folder / "status").exists():
        if guard.poll() is not None:
            return guard.returncode or 1, "guard", 0, "its guard was killed"
        os.utime(folder / "asked")
        return None
    status, why = (folder / "status").read_text().split()
    said = (folder / "err").read_bytes()[-4096:].decode("utf-8", "replace")
    return int(status), why, (folder / "out").stat().st_size, said


def fetch(token: str, at: int, size: int) -> bytes:
    """A part of the output."""
    folder = folder_of(token)
    os.utime(folder / "asked")
    with (folder / "out").open("rb") as file:
        file.seek(at)
        return file.read(size)


def clean(token: str, dask_worker: Any) -> bool:
    """Let the guard kill what still runs and remove the folder; whether it is gone."""
    folder = folder_of(token)
    guard = dask_worker.__dict__.get("playbook_guards", {}).pop(token, None)
    if guard is not None and guard.poll() is None:
        (folder / "leave").touch()
        try:
            guard.wait(5)
        except subprocess.TimeoutExpired:
            return False
    shutil.rmtree(folder, ignore_errors=True)
    return not folder.exists()
