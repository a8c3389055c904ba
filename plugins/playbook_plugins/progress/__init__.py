"""Shows a campaign while it runs: a live picture on a terminal, one plain line a change everywhere else.

All of it goes to standard error, so that standard output stays for results. ``NO_COLOR`` and ``TERM=dumb`` are honoured.
The same lines go to the log, but for what scripts print, which has a file of its own and is in the log at level DEBUG.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from weakref import WeakKeyDictionary

from playbook_kernel.api import CampaignContext, Event, Output, hookimpl

from .board import Board
from .console import take_over
from .plain import PlainView, View

_shown: WeakKeyDictionary[CampaignContext, tuple[Board, View, PlainView]] = WeakKeyDictionary()


@hookimpl
def playbook_event(ctx: CampaignContext, event: Event) -> None:
    """Show what changed."""
    if ctx not in _shown:
        board = Board()
        _shown[ctx] = board, make_view(board), PlainView(board, sys.stderr)
        take_over(_shown[ctx][1])
    board, view, words = _shown[ctx]
    board.apply(event)
    tell = ctx.log.debug if isinstance(event, Output) else ctx.log.info
    for line in words.lines(event):
        tell(line.strip(), **({"scenario": event.scenario} if event.scenario else {}))
    view.show(event)


def make_view(board: Board, wall: Callable[[], float] = time.time) -> View:
    """The live view where standard error is a terminal that can move its cursor, else the plain one.

    ``wall``: when what is shown happened, in Unix seconds.
    """
    if sys.stderr.isatty() and os.environ.get("TERM", "") not in ("", "dumb"):
        from .live import LiveView  # imports rich, which nobody without a terminal pays for

        return LiveView(board, sys.stderr)
    return PlainView(board, sys.stderr, wall)
