"""Which request leaves next, and when: one worker's share of a plan. Every time is monotonic nanoseconds."""

from __future__ import annotations

import heapq
import math

from .clock import SECOND
from .plan import ENDLESS, Plan


class Dispatcher:
    """Asked by an engine whenever something may leave; decides without knowing connections.

    A conversation holds its slot from its first request to its last. ``intended`` is when the request that
    :meth:`take` gave last should have left: when it was due, or when its slot became free.
    """

    def __init__(self, plan: Plan, share: int, start: int) -> None:
        settings, order = plan.settings, plan.order
        parts = settings.processes
        self._due, self._then, self._pause = order.due, order.then, order.pause
        self._roots = order.roots()[share::parts]
        self._open = settings.open_loop
        cap = settings.concurrency
        self._cap = cap // parts + (share < cap % parts) if cap else ENDLESS
        self._start = start
        self._ramp = round(settings.ramp * SECOND) if cap else 0
        self._end = start + round(settings.duration * SECOND) if settings.duration else ENDLESS
        self._wrap = settings.wrap
        # Slots of all processes open in turn, so the ramp is the same for any number of them.
        self._steps = (share, parts, cap)
        self._at = 0
        self._follow: list[tuple[int, int]] = []
        self._stopped = False
        self.active = 0
        self.intended = 0
        self.wrapped = 0

    @property
    def slots(self) -> int:
        """How many requests may be in flight at once."""
        return self._cap

    def stop(self) -> None:
        """Let nothing leave any more."""
        self._stopped = True
        self._follow.clear()

    @property
    def rate(self) -> float:
        """Requests due per second, on average over this share's schedule; infinite in a closed loop."""
        due = [self._due[index] for index in self._roots] if self._open else []
        span = max(due) - min(due) if due else 0
        return len(due) / span * SECOND if span else math.inf

    @property
    def exhausted(self) -> bool:
        """Whether nothing will leave any more, but for conversations that are under way."""
        return self._stopped or (self._at >= len(self._roots) and not self._follow)

    def take(self, now: int, freed: int = 0) -> int:
        """The index of a request that is to leave at ``now``, or -1. ``freed``: when the slot for it became free."""
        if now >= self._end:
            self.stop()
        if self._stopped:
            return -1
        if self._follow and self._follow[0][0] <= now:
            self.intended, index = heapq.heappop(self._follow)
            return index
        if self._at >= len(self._roots) or self.active >= self._cap:
            return -1
        if self._ramp and now < self._start + self._ramp and now < self._opening(self.active):
            return -1
        index = self._roots[self._at]
        if self._open:
            due = self._start + self._due[index]
            if due > now or due >= self._end:
                return -1
            self.intended = due
        else:
            self.intended = freed or min(now, max(self._start, self._opening(self.active)))
        self._at += 1
        if self._wrap and self._at >= len(self._roots):
            self._at = 0
            self.wrapped += 1
        self.active += 1
        return index

    def done(self, index: int, now: int, *, ok: bool) -> None:
        """Request ``index`` was answered or given up at ``now``; a failed one ends its conversation."""
        follower = self._then[index]
        if follower < 0 or not ok or self._stopped:
            self.active -= 1
        else:
            heapq.heappush(self._follow, (now + self._pause[index], follower))

    def next_at(self, now: int) -> int | None:
        """When to ask again, None if only an answer can change anything."""
        if self._stopped:
            return None
        at = self._end if self._end < ENDLESS else ENDLESS
        if self._follow:
            at = min(at, self._follow[0][0])
        if self._at < len(self._roots) and self.active < self._cap:
            if self._open:
                at = min(at, self._start + self._due[self._roots[self._at]])
            elif self._ramp and now < self._start + self._ramp:
                at = min(at, self._opening(self.active))
            else:
                at = now
        return None if at >= ENDLESS else max(at, now)

    def _opening(self, slot: int) -> int:
        """When this share's slot number ``slot`` opens."""
        share, parts, cap = self._steps
        if not self._ramp or not cap:
            return self._start
        return self._start + self._ramp * (share + slot * parts) // cap
