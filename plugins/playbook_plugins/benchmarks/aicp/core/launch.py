"""Starts the workers of a plan, together, and waits for them. Nothing of theirs passes through here while they run."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from .clock import SECOND, now
from .plan import Settings
from .spool import Follower, Glance
from .worker import spool_of

_LEAD = SECOND // 50
_STOPPING = 5.0


class LaunchError(Exception):
    """The load cannot be started, or a worker died."""


class Running(Protocol):
    """Workers of a plan, wherever they are; see Workers."""

    spools: list[Path]
    start: int
    told: dict[str, Any]
    """What is worth keeping of where the load came from."""

    def launch(self, timeout: float = ...) -> None: ...

    def wait(self, interval: float = ..., look: Callable[[], bool] | None = ...) -> None: ...

    def news(self) -> list[Glance]: ...

    def start_of(self, spool: Path) -> int: ...


class Workers:
    """The processes of one load point. ``start`` is when it starts, in monotonic nanoseconds.

    ``shares``: those of the plan that are made here; all, unless said otherwise.
    """

    def __init__(
        self,
        folder: Path,
        settings: Settings,
        command: Sequence[str] | None = None,
        shares: Sequence[int] | None = None,
    ) -> None:
        self.folder, self.settings = folder, settings
        self.shares = range(settings.processes) if shares is None else shares
        self.spools = [spool_of(folder, share) for share in self.shares]
        self.start = self.ready = 0
        self.told: dict[str, Any] = {}
        self.opened = 0
        self._command = list(command or [sys.executable, "-m", f"{__package__}.worker"])
        self._processes: list[subprocess.Popen[bytes]] = []
        self._stopped = False
        self._followers = [Follower(path) for path in self.spools]

    def news(self) -> list[Glance]:
        """What ended since the last call."""
        return [glance for follower in self._followers for glance in follower.news()]

    def start_of(self, spool: Path) -> int:
        """When the load of this spool started."""
        return self.start

    def launch(self, timeout: float = 120.0, at: int = 0) -> None:
        """Start all, wait until their connections are open, and let them go at the same moment: ``at``, if given.

        Raises LaunchError.
        """
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        for share in self.shares:
            with self._said(share).open("wb") as said:
                process = subprocess.Popen(
                    [*self._command, str(self.folder), str(share)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=said,
                    env=environment,
                )
            self._processes.append(process)
        guard = threading.Timer(timeout, self.kill)
        guard.start()
        try:
            for process in self._processes:
                words = process.stdout.readline().split() if process.stdout else []
                if len(words) != 2 or words[0] != b"ready":
                    raise LaunchError(f"a load process did not come up: {self._why()}")
                self.opened += int(words[1])
        except LaunchError:
            self.kill()
            raise
        finally:
            guard.cancel()
        self.ready = now()
        self.start = at or self.ready + _LEAD
        if self.start < self.ready:
            self.kill()
            raise LaunchError(f"it was ready {(self.ready - self.start) / SECOND:.3f} s after the start")
        for process in self._processes:
            if process.stdin:
                try:
                    process.stdin.write(b"go %d\n" % self.start)
                    process.stdin.flush()
                except OSError as error:
                    self.kill()
                    raise LaunchError(f"a load process died before the start: {self._why()}") from error

    def wait(self, interval: float = 0.5, look: Callable[[], bool] | None = None) -> None:
        """Wait for the end; ``look`` is called now and then, and stops the load by returning True.

        Raises LaunchError if a worker died; what it recorded is there all the same.
        """
        running = list(self._processes)
        asked = 0.0
        while running:
            with suppress(subprocess.TimeoutExpired):
                running[0].wait(interval)
            running = [p for p in running if p.poll() is None]
            if running and look is not None and not asked and look():
                self.stop()
            if self._stopped and not asked:
                asked = time.monotonic()
            if asked and time.monotonic() - asked > _STOPPING:
                self.kill()
        bad = [p.returncode for p in self._processes if p.returncode not in (0, 1)]
        self._close()
        if bad and not self._stopped:
            raise LaunchError(f"a load process ended with status {bad[0]}: {self._why()}")

    def stop(self) -> None:
        """Ask all to stop now; what is in flight is recorded as cancelled. Safe from any thread."""
        self._stopped = True
        for process in self._processes:
            if process.poll() is None:
                process.terminate()

    def kill(self) -> None:
        """End all at once."""
        for process in self._processes:
            if process.poll() is None:
                process.kill()
        for process in self._processes:
            process.wait()
        self._close()

    def _close(self) -> None:
        for process in self._processes:
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    try:
                        pipe.close()
                    except OSError:
                        continue

    def _said(self, share: int) -> Path:
        return self.folder / f"worker-{share}.err"

    def _why(self) -> str:
        for share in self.shares:
            try:
                lines = self._said(share).read_text("utf-8", "replace").strip().splitlines()
            except OSError:
                continue
            if lines:
                return lines[-1]
        return "it said nothing"


def file_limit(wanted: int) -> str:
    """Raise this process's limit of open files if that is needed and allowed; why it is not enough, or ""."""
    needed = wanted + 64
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= needed or soft == resource.RLIM_INFINITY:
        return ""
    allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    if allowed > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < needed:
        return f"{wanted} connections need {needed} open files, and the limit is {allowed} (ulimit -n)"
    return ""


def cpu_times() -> dict[str, float]:
    """Seconds since the start in which this machine's cores were busy, or other machines had them (steal)."""
    with Path("/proc/stat").open("rb") as file:
        user, nice, system, _, _, irq, softirq, steal, *_ = (int(v) for v in file.readline().split()[1:])
    ticks = os.sysconf("SC_CLK_TCK")
    return {"busy": (user + nice + system + irq + softirq + steal) / ticks}
