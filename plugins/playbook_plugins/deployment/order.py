"""Order: what waits for what, how long that must take, and doing it as early as possible.

A graph is a mapping from each name to the names it waits for (``{"router": ["prefill", "decode"]}``).

* :func:`remaining` says how long that must take.
* :func:`run_ready_first` works through it: a node starts the moment all it waits for is ready.
"""

from __future__ import annotations

import contextvars
import graphlib
import heapq
import queue
import threading
from collections.abc import Callable, Collection, Hashable, Mapping
from functools import partial
from typing import Any, Generic, Literal, TypeVar

from attrs import define, field, frozen
from playbook_kernel.api import Condition, current

T = TypeVar("T")
After = Mapping[str, Collection[str]]
Conditions = Mapping[str, Mapping[str, Condition]]


def remaining(after: After, seconds: Mapping[str, float]) -> dict[str, float]:
    """For each name, the seconds from its start to the end of the longest chain that begins with it.

    Names that are not in ``seconds`` take no time. Raises ValueError if there is a cycle.
    """
    left: dict[str, float] = {}
    beyond: dict[str, float] = {}
    for name in reversed(tuple(graphlib.TopologicalSorter(after).static_order())):
        left[name] = seconds.get(name, 0.0) + beyond.get(name, 0.0)
        for needed in after.get(name, ()):
            beyond[needed] = max(beyond.get(needed, 0.0), left[name])
    return left


@define(eq=False)
class Schedule:
    """Which node may start now: the decisions of :func:`run_ready_first`, without threads or clocks.

    At most ``limit`` nodes run at once. When more are ready than may run, those go first behind which the longest
    chain remains: ``seconds`` estimates each node. Names that come first in ``after`` go first among equals.
    """

    after: Conditions
    limit: int
    seconds: Mapping[str, float] = field(factory=dict)
    running: set[str] = field(factory=set, init=False)
    blocked: dict[str, str] = field(factory=dict, init=False)
    _unmet: dict[str, dict[str, Condition]] = field(init=False)
    _followers: dict[str, list[str]] = field(factory=dict, init=False)
    _ready: list[tuple[float, int, str]] = field(factory=list, init=False)
    _rank: dict[str, tuple[float, int]] = field(init=False)

    def __attrs_post_init__(self) -> None:
        if self.limit < 1:
            raise ValueError("limit must be at least 1")
        if missing := {needed for needs in self.after.values() for needed in needs} - self.after.keys():
            raise ValueError(f"unknown names: {', '.join(sorted(missing))}")
        left = remaining(self.after, self.seconds or dict.fromkeys(self.after, 1.0))
        self._rank = {name: (-left[name], place) for place, name in enumerate(self.after)}
        self._unmet = {name: dict(needs) for name, needs in self.after.items()}
        for name, needs in self.after.items():
            for needed in needs:
                self._followers.setdefault(needed, []).append(name)
            if not needs:
                self._offer(name)

    def _offer(self, name: str) -> None:
        heapq.heappush(self._ready, (*self._rank[name], name))

    def take(self) -> list[str]:
        """The nodes to start now; they count as running from here on."""
        taken = []
        while self._ready and len(self.running) < self.limit:
            *_, name = heapq.heappop(self._ready)
            self.running.add(name)
            taken.append(name)
        return taken

    def started(self, name: str) -> None:
        """A running node has started: nodes that wait for no more than that may start."""
        self._meet(name, {"started"})

    def ended(self, name: str, *, ok: bool) -> None:
        """A running node came to its end. If not well, all that still waits for it is blocked."""
        self.running.discard(name)
        if ok:
            self._meet(name, {"started", "healthy", "completed"})
            return
        doomed = [follower for follower in self._followers.get(name, ()) if name in self._unmet.get(follower, ())]
        while doomed:
            follower = doomed.pop()
            if self._unmet.pop(follower, None) is not None:
                self.blocked[follower] = name
                doomed += self._followers.get(follower, ())

    def _meet(self, name: str, conditions: set[Condition]) -> None:
        for follower in self._followers.get(name, ()):
            needs = self._unmet.get(follower)
            if needs and needs.get(name) in conditions:
                del needs[name]
                if not needs:
                    self._offer(follower)


@frozen
class Outcome(Generic[T]):
    """What became of one node: ``value`` if ``done``; ``error`` if ``failed``; ``because`` names who blocked it.

    ``stopped``: it never ran, or never came back, because the scope ended.
    """

    status: Literal["done", "failed", "blocked", "stopped"]
    value: T | None = None
    error: BaseException | None = None
    because: str = ""


def run_ready_first(
    after: Conditions,
    work: Callable[[str, Callable[[], None]], T],
    *,
    limit: int,
    seconds: Mapping[str, float] | None = None,
    patience: float = 30.0,
) -> dict[str, Outcome[T]]:
    """Call ``work(name, started)`` for each node as soon as what it waits for allows; threads inherit the scope.

    ``work`` returns when its node is ready (healthy, or completed if it is to complete), and may call ``started()``
    before. What it raises fails that node and blocks those that wait for it, nothing else. When the scope is
    cancelled or late nothing new is started; calls that run are given ``patience`` seconds to notice. Nothing is
    raised, the outcomes say it all. Raises ValueError for a cycle or an unknown name.
    """
    schedule = Schedule(after, limit, seconds or {})
    outcomes: dict[str, Outcome[T]] = {}
    scope = current()
    news: queue.SimpleQueue[tuple[str, Outcome[T] | Literal["started", "cancel"]]] = queue.SimpleQueue()

    def perform(name: str) -> None:
        try:
            done = Outcome("done", work(name, partial(news.put, (name, "started"))))
        except BaseException as error:  # noqa: BLE001 - handed to the caller as data
            done = Outcome("failed", error=error)
        news.put((name, done))

    def next_news() -> bool:
        over = scope.cancel.requested or scope.deadline.remaining() == 0.0
        try:
            name, what = news.get(timeout=patience if over else scope.deadline.remaining())
        except queue.Empty:
            return not over  # the deadline just passed: those that run get their patience from here on
        if what == "started":
            schedule.started(name)
        elif what != "cancel":
            outcomes[name] = what
            schedule.ended(name, ok=what.status == "done")
        return True

    with scope.cancel.watching(partial(news.put, ("", "cancel"))):
        while True:
            if not (scope.cancel.requested or scope.deadline.remaining() == 0.0):
                for name in schedule.take():
                    _thread(name, partial(perform, name))
            if not schedule.running or not next_news():
                break
    for name, because in schedule.blocked.items():
        outcomes[name] = Outcome("blocked", because=because)
    return {name: outcomes.get(name) or Outcome("stopped") for name in after}


def _thread(name: Hashable, call: Callable[[], Any]) -> None:
    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(call,), daemon=True, name=f"ready-{name}").start()
