"""An event loop whose timers are accurate to some tens of microseconds instead of a millisecond."""

from __future__ import annotations

import asyncio
import select
import selectors
import sys

if sys.platform == "linux":

    class FineEpollSelector(selectors.EpollSelector):
        """Waits to the microsecond.

        epoll rounds its timeout up to a whole millisecond; select() takes microseconds and can wait for the epoll
        descriptor itself, so waiting there first makes timers fine-grained for any number of connections.
        """

        def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
            if timeout is not None and timeout > 0:
                select.select([self.fileno()], [], [], timeout)
                timeout = 0
            return super().select(timeout)


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Return a loop with fine timers where the platform has epoll, else asyncio's own."""
    if sys.platform == "linux":
        return asyncio.SelectorEventLoop(FineEpollSelector())
    return asyncio.new_event_loop()
