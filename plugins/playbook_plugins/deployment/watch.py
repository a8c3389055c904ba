"""The states of a node's services, looked up once for everybody who asks at the same moment."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping

from attrs import define, field
from playbook_kernel.api import Composer, Session, Share, State

FRESH = 0.04
"""Seconds for which a look is good enough for the next who asks."""


@define(eq=False)
class Watch:
    """One node's services."""

    composer: Composer[object]
    session: Session
    share: Share
    _states: Mapping[str, State] = field(factory=dict)
    _at: float = -1e9
    _lock: threading.Lock = field(factory=threading.Lock)

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
