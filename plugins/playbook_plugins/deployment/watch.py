"""What happens to a node's services: looked up once for everybody who asks, and waited for by one thread for all."""

from __future__ import annotations

import contextvars
import math
import threading
import time
from collections.abc import Mapping

from attrs import define, field
from playbook_kernel.api import Composer, Session, Share, State, current

from playbook_plugins.web import refuses

FRESH = 0.04
"""Seconds for which a look is good enough for the next who asks."""
TICK = 0.05
FIRST_PAUSE, LONGEST_PAUSE = 0.04, 1.0
LATE = 0.04
"""A wait that took a while may be noticed as over later by this part of it: so much lies between two looks."""


def pause(waited: float) -> float:
    """Seconds from one look to the next, after having waited so long; it ends at a moment common to all who wait."""
    now = time.monotonic()
    return math.ceil((now + min(FIRST_PAUSE + waited * LATE, LONGEST_PAUSE)) / TICK) * TICK - now


def _kind(state: State | None) -> object:
    """What of a state is worth another look: not for how long it has been so."""
    return state and (state.status, state.health, state.restarts)


@define(eq=False)
class _Waiter:
    service: str
    address: tuple[str, int]
    seen: object
    began: float
    due: float
    woken: threading.Event = field(factory=threading.Event)


@define(eq=False)
class Watch:
    """One node's services."""

    composer: Composer[object]
    session: Session
    share: Share
    _states: Mapping[str, State] = field(factory=dict)
    _at: float = -1e9
    _lock: threading.Lock = field(factory=threading.Lock)
    _context: contextvars.Context = field(factory=contextvars.copy_context)
    _waiters: list[_Waiter] = field(factory=list)
    _waiting: threading.Lock = field(factory=threading.Lock)
    _another: threading.Event = field(factory=threading.Event)
    _looking_out: bool = False

    def state(self, service: str) -> State:
        """The state of one service, not older than FRESH and not looked up before the call began to wait."""
        with self._lock:
            if time.monotonic() - self._at > FRESH:
                self._states = self.composer.states(self.session, self.share)
                self._at = time.monotonic()
            return self._states.get(service) or State(service, "absent")

    def forget(self) -> None:
        """The next to ask looks again."""
        with self._lock:
            self._at = -1e9

    def until_open(self, service: str, address: tuple[str, int], began: float, longest: float) -> None:
        """Wait while the address refuses and the service is as it was, ``longest`` seconds at most.

        A refusal costs far less than waking the thread that wants to know. ``began``: when its wait did, monotonic.
        """
        now = time.monotonic()
        waiter = _Waiter(service, address, _kind(self._states.get(service)), began, now + pause(now - began))
        with self._waiting:
            self._waiters = [*self._waiters, waiter]
            self._another.set()
            if not self._looking_out:
                self._looking_out = True
                work = self._context.copy().run
                threading.Thread(target=work, args=(self._look_out,), daemon=True, name="look-out").start()
        try:
            with current().cancel.watching(waiter.woken.set):
                waiter.woken.wait(current().timeout(max(longest, 0.0)))
        finally:
            waiter.woken.set()
        current().check()

    def _look_out(self) -> None:
        """Wake whoever has reason to look himself; ends when nobody waits."""
        while True:
            with self._waiting:
                self._another.clear()
                waiters = self._waiters = [w for w in self._waiters if not w.woken.is_set()]
                if not waiters:
                    self._looking_out = False
                    return
            if self._another.wait(max(0.0, min(w.due for w in waiters) - time.monotonic())):
                continue
            try:
                states = self.composer.states(self.session, self.share)
            except Exception:  # noqa: BLE001 - each of them will meet it himself, and tell it
                states = {}
            for waiter in waiters:
                now = time.monotonic()
                if _kind(states.get(waiter.service)) != waiter.seen:
                    waiter.woken.set()
                elif waiter.due <= now + TICK / 2:  # a wait may end a little early
                    waiter.due = now + pause(now - waiter.began)
                    if not refuses(*waiter.address):
                        waiter.woken.set()
