"""What the exit status of a process says in words."""

from __future__ import annotations

import signal


def by_signal(code: int | None) -> str:
    """`` (SIGKILL)`` for the status of a process that a signal ended, as shells and engines tell it.

    >>> by_signal(137), by_signal(3)
    (' (SIGKILL)', '')
    """
    names = {128 + s.value: s.name for s in signal.Signals}
    return f" ({names[code]})" if code in names else ""
