"""Whether a call comes back when it has to."""

from __future__ import annotations

import threading
from collections.abc import Callable

from playbook_kernel.errors import Cancelled, PlaybookError
from playbook_kernel.scope import Cancel, Deadline, Scope, replaced

_PATIENCE = 10.0


def check_honours_deadline(call: Callable[[], object]) -> None:
    """A call that would never end by itself comes back soon after its scope's deadline, and not with a result."""
    must_stop(call, Scope(Deadline.after(0.2)), "its deadline passed")


def check_honours_cancel(call: Callable[[], object]) -> None:
    """A call that would never end by itself comes back soon after it is cancelled, with Cancelled."""
    cancel = Cancel()
    timer = threading.Timer(0.2, cancel.set, args=("the test cancels",))
    timer.start()
    try:
        error = must_stop(call, Scope(cancel=cancel), "it was cancelled")
    finally:
        timer.cancel()
        timer.join()
    assert isinstance(error, Cancelled), f"it was cancelled, and raised {type(error).__name__} instead of Cancelled"


def must_stop(call: Callable[[], object], scope: Scope, why: str) -> BaseException:
    outcome = off_thread(call, scope)
    assert outcome, f"{why}, and it goes on"
    error = outcome[0]
    assert isinstance(error, BaseException), f"{why}, and it returned {error!r} as if nothing had happened"
    assert isinstance(error, PlaybookError | OSError), f"{why}, and it raised {type(error).__name__}: {error}"
    return error


def off_thread(call: Callable[[], object], scope: Scope) -> list[object]:
    """What it returned or raised on a thread of its own; nothing, if it does not come back."""
    outcome: list[object] = []

    def work() -> None:
        try:
            with replaced(scope):
                outcome.append(call())
        except BaseException as error:  # noqa: BLE001 - whoever asked looks at it
            outcome.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(_PATIENCE)
    return outcome
