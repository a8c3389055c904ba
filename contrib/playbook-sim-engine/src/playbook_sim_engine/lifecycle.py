"""How a process lives: starting, ready, draining, and the faults that strike the process as a whole."""

from __future__ import annotations

import asyncio
import logging
import os
import sys

from playbook_sim_engine.faults import Faults

_LOG = logging.getLogger("playbook_sim_engine")
_MIB = 1024 * 1024
_LEAK_INTERVAL = 0.25


class Lifecycle:
    """State of the process, and timers for its faults."""

    def __init__(self, faults: Faults, startup_delay: float, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._startup_delay = startup_delay
        self._timers: list[asyncio.TimerHandle] = []
        self._leaked: list[bytes] = []
        self._sick = False
        self._requests = 0
        self.starting = startup_delay > 0
        self.draining = False
        self.faults = faults
        self.set_faults(faults)

    def begin(self) -> None:
        """Start the start-up delay."""
        if self.starting:
            self._loop.call_later(self._startup_delay, self._ready)
        else:
            _LOG.info("ready")

    def _ready(self) -> None:
        self.starting = False
        _LOG.info("ready after %g s", self._startup_delay)

    def problem(self) -> str | None:
        """Say why the process is not healthy, or None."""
        if self.starting:
            return "starting"
        if self.draining:
            return "shutting down"
        return "unhealthy, as asked" if self._sick else None

    def set_faults(self, faults: Faults) -> None:
        """Switch to these faults; times and counts begin anew."""
        for timer in self._timers:
            timer.cancel()
        self.faults = faults
        self._sick = False
        self._requests = 0
        self._leaked.clear()
        self._timers = []
        if faults.unhealthy_after_s:
            self._timers.append(self._loop.call_later(faults.unhealthy_after_s, self._fall_sick))
        if faults.exit_after_s:
            self._timers.append(self._loop.call_later(faults.exit_after_s, self._exit))
        if faults.leak_mb_s:
            self._leak(self._loop.time())

    def count_request(self) -> None:
        """Note a completion request; it may be the one that the process does not survive."""
        self._requests += 1
        if self._requests == self.faults.exit_after_requests:
            self._exit()

    def _fall_sick(self) -> None:
        self._sick = True
        _LOG.warning("unhealthy from now on, as asked")

    def _exit(self) -> None:
        _LOG.error("exiting with status %d, as asked", self.faults.exit_code)
        sys.stdout.flush()
        os._exit(self.faults.exit_code)  # a crash: nothing is finished, nobody is told

    def _leak(self, since: float) -> None:
        wanted = int((self._loop.time() - since) * self.faults.leak_mb_s * _MIB) - sum(map(len, self._leaked))
        if wanted > 0:
            self._leaked.append(b"\1" * wanted)  # not zeros, which might cost no memory
        self._timers[:] = [t for t in self._timers if t.when() > self._loop.time()]
        self._timers.append(self._loop.call_later(_LEAK_INTERVAL, self._leak, since))
