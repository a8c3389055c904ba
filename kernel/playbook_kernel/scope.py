"""Deadlines and cancellation, carried along by the call and not by every signature.

The kernel runs each phase inside a scope; every wait of every driver is bounded by :func:`current`. A scope follows
a call through :func:`contextvars.copy_context`; threads that a plugin starts by itself have none, so it should use
:func:`run_all`.
"""

from __future__ import annotations

import contextvars
import functools
import math
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import AbstractContextManager, contextmanager
from typing import TypeVar

from attrs import define, field, frozen

from .errors import Cancelled, PhaseTimeout, PluginError, PluginTimeout

T = TypeVar("T")
_PIECE = 0.5


@define(eq=False)
class Cancel:
    """A flag that is raised once and wakes every waiter."""

    reason: str = ""
    _event: threading.Event = field(factory=threading.Event, repr=False)
    _watchers: list[Callable[[], None]] = field(factory=list, repr=False)
    _lock: threading.Lock = field(factory=threading.Lock, repr=False)

    def set(self, reason: str) -> None:
        """Raise the flag; later calls change nothing."""
        with self._lock:
            if self._event.is_set():
                return
            self.reason = reason
            self._event.set()
            watchers = list(self._watchers)
        for watcher in watchers:
            watcher()

    @property
    def requested(self) -> bool:
        """Whether the flag is up."""
        return self._event.is_set()

    def check(self) -> None:
        """Raise Cancelled if the flag is up."""
        if self._event.is_set():
            raise Cancelled(self.reason or "cancelled")

    @contextmanager
    def watching(self, callback: Callable[[], None]) -> Iterator[None]:
        """Call ``callback`` (from any thread, at most once) when the flag is raised within the block."""
        with self._lock:
            up = self._event.is_set()
            if not up:
                self._watchers.append(callback)
        if up:
            callback()
        try:
            yield
        finally:
            with self._lock:
                if callback in self._watchers:
                    self._watchers.remove(callback)

    def wait(self, seconds: float) -> bool:
        """Sleep, and say whether the flag went up meanwhile."""
        return patiently(self._event, seconds)


def patiently(event: threading.Event, seconds: float | None) -> bool:
    """Wait for an event, None: for ever, and say whether it came.

    In pieces, because a signal that another thread took does not wake the main thread, which alone can act on it.
    """
    end = math.inf if seconds is None else time.monotonic() + seconds
    while not event.wait(max(0.0, min(_PIECE, end - time.monotonic()))):
        if time.monotonic() >= end:
            return False
    return True


@frozen
class Deadline:
    """A point in monotonic time that must not be passed; None: none."""

    at: float | None = None

    @classmethod
    def after(cls, seconds: float | None) -> Deadline:
        """So many seconds from now."""
        return cls(None if seconds is None else time.monotonic() + seconds)

    def remaining(self) -> float | None:
        """Seconds left, never below 0; None: no limit."""
        return None if self.at is None else max(0.0, self.at - time.monotonic())

    def check(self) -> None:
        """Raise PhaseTimeout when no time is left."""
        if self.at is not None and time.monotonic() >= self.at:
            raise PhaseTimeout("the deadline passed")


@frozen
class Scope:
    """What bounds the running call."""

    deadline: Deadline = field(factory=Deadline)
    cancel: Cancel = field(factory=Cancel)

    def check(self) -> None:
        """Raise Cancelled or PhaseTimeout if this call should not go on."""
        self.cancel.check()
        self.deadline.check()

    def timeout(self, seconds: float | None = None) -> float | None:
        """How long a wait may take: ``seconds``, or less when the scope ends sooner; None: no limit."""
        left = self.deadline.remaining()
        if left is None or seconds is None:
            return seconds if left is None else left
        return min(left, seconds)

    def sleep(self, seconds: float) -> None:
        """Wait; raise Cancelled as soon as somebody cancels, PhaseTimeout when the deadline comes first."""
        bounded = self.timeout(seconds) or 0.0
        if self.cancel.wait(bounded):
            self.cancel.check()
        if bounded < seconds:
            self.deadline.check()


_current: contextvars.ContextVar[Scope] = contextvars.ContextVar("playbook_scope")
_UNBOUNDED = Scope()


def current() -> Scope:
    """The scope of the running call; one without end outside a campaign."""
    return _current.get(_UNBOUNDED)


def within(seconds: float | None = None, cancel: Cancel | None = None) -> AbstractContextManager[Scope]:
    """Run a block in a tighter scope: an earlier deadline, another flag, or both."""
    outer = current()
    earlier = min(
        Deadline.after(seconds), outer.deadline, key=lambda deadline: math.inf if deadline.at is None else deadline.at
    )
    return replaced(Scope(earlier, cancel or outer.cancel))


@contextmanager
def replaced(scope: Scope) -> Iterator[Scope]:
    """Run a block in ``scope`` whatever the outer one is: for cleaning up after a cancelled or late call."""
    token = _current.set(scope)
    try:
        yield scope
    finally:
        _current.reset(token)


def run_all(calls: Sequence[Callable[[], T]], *, limit: int | None = None) -> list[T | BaseException]:
    """Run calls side by side on threads that inherit the scope, and return every result or exception, in order.

    At most ``limit`` run at once. Nothing is raised: callers must look at what they got. Returns when all calls have
    ended; a call that ignores its scope is the caller's to bound.
    """
    results: list[T | BaseException] = [RuntimeError("did not run")] * len(calls)
    todo = iter(range(len(calls)))
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                index = next(todo, None)
            if index is None:
                return
            try:
                results[index] = calls[index]()
            except BaseException as error:  # noqa: BLE001 - handed to the caller as data
                results[index] = error

    width = min(len(calls), limit or len(calls))
    if width == 1:
        work()
        return results
    threads = [
        threading.Thread(target=contextvars.copy_context().run, args=(work,), daemon=True, name=f"run-all-{n}")
        for n in range(width)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def bounded(call: Callable[[], T], *, grace: float) -> T:
    """Make a call on a thread that inherits the scope, and return or raise what it does: for calling what may not come back.

    Past the scope's deadline plus ``grace`` (or its cancellation plus ``grace``) that thread is abandoned, and PluginTimeout
    or Cancelled is raised. SystemExit and KeyboardInterrupt become PluginError.
    """
    future: Future[T] = Future()
    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(fulfil, future, call), daemon=True, name="bounded").start()
    return outcome(future, grace=grace)


def fulfil(future: Future[T], call: Callable[[], T]) -> None:
    """Make a call for whoever waits for its future."""
    try:
        future.set_result(call())
    except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
        future.set_exception(error)


def outcome(future: Future[T], *, grace: float) -> T:
    """What a call gives or raises that runs on another thread; see :func:`bounded`."""
    scope = current()
    woken = threading.Event()
    future.add_done_callback(lambda _: woken.set())
    with scope.cancel.watching(woken.set):
        patiently(woken, scope.deadline.remaining())
    if not future.done() and not wait([future], grace).done:
        scope.cancel.check()
        raise PluginTimeout("it did not come back within its deadline")
    try:
        return future.result()
    except (SystemExit, KeyboardInterrupt) as error:
        raise PluginError(f"it raised {type(error).__name__}") from error


@define(eq=False)
class Hand:
    """A thread that makes calls one after the other.

    ``began``: when the one that runs now was begun, 0 if none runs. ``waiting``: those after it.
    """

    began: float = 0.0
    waiting: queue.SimpleQueue[Callable[[], None] | None] = field(factory=queue.SimpleQueue)

    def __attrs_post_init__(self) -> None:
        threading.Thread(target=self._work, daemon=True, name="hand").start()

    def ask(self, call: Callable[[], T]) -> Future[T]:
        """Have a call made, in the scope of whoever asks, once those before it have ended."""
        future: Future[T] = Future()
        self.waiting.put(functools.partial(contextvars.copy_context().run, fulfil, future, call))
        return future

    def leave(self) -> None:
        """Let the thread end, once what it was asked has been done."""
        self.waiting.put(None)

    def _work(self) -> None:
        while call := self.waiting.get():
            self.began = time.monotonic()
            call()
            self.began = 0.0
