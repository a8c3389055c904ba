"""A call that is bounded in time, whatever it does."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from typing import TypeVar

from playbook_kernel.errors import PhaseTimeout, PluginError
from playbook_kernel.scope import Cancel, current

T = TypeVar("T")


def bounded(call: Callable[[], T], *, grace: float, cancel: Cancel | None = None) -> T:
    """Make a call on a thread that inherits the scope, and return or raise what it does.

    Past the scope's deadline plus ``grace`` (or ``cancel`` plus ``grace``) the thread is abandoned, which a process
    that is going to end can afford, and PhaseTimeout or Cancelled is raised. SystemExit and KeyboardInterrupt become
    PluginError.
    """
    scope = current()
    flag = cancel or scope.cancel
    over = threading.Event()
    value: list[T] = []
    failure: list[BaseException] = []

    def work() -> None:
        try:
            value.append(call())
        except BaseException as error:  # noqa: BLE001 - raised again on the caller's thread
            failure.append(error)
        finally:
            over.set()

    thread = threading.Thread(target=contextvars.copy_context().run, args=(work,), daemon=True, name="bounded")
    woken = threading.Event()
    thread.start()
    with flag.watching(woken.set):
        while not over.is_set():
            left = scope.deadline.remaining()
            if flag.requested or left == 0:
                if not over.wait(grace):
                    flag.check()
                    raise PhaseTimeout("it did not come back within its deadline")
                break
            # short waits, for neither event wakes a wait on the other
            over.wait(min(0.05 if left is None else left, 0.05))
    if failure:
        error = failure[0]
        if isinstance(error, SystemExit | KeyboardInterrupt):
            raise PluginError(f"it raised {type(error).__name__}") from error
        raise error
    return value[0]
