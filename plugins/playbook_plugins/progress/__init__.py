"""Shows a campaign while it runs: a live picture on a terminal, one plain line a change everywhere else.

All of it goes to standard error, so that standard output stays for results. ``NO_COLOR`` and ``TERM=dumb`` are honoured.
"""

from __future__ import annotations

import os
import sys
from weakref import WeakKeyDictionary

from playbook_kernel.api import CampaignContext, Event, hookimpl

from .board import Board
from .plain import PlainView, View

_views: WeakKeyDictionary[CampaignContext, tuple[Board, View]] = WeakKeyDictionary()


@hookimpl
def playbook_event(ctx: CampaignContext, event: Event) -> None:
    """Show what changed."""
    if ctx.quiet:
        return
    if ctx not in _views:
        board = Board()
        _views[ctx] = board, make_view(board)
    board, view = _views[ctx]
    board.apply(event)
    view.show(event)


def make_view(board: Board) -> View:
    """The live view where standard error is a terminal that can move its cursor, else the plain one."""
    if sys.stderr.isatty() and os.environ.get("TERM", "") not in ("", "dumb"):
        from .live import LiveView  # imports rich, which nobody without a terminal pays for

        return LiveView(board, sys.stderr)
    return PlainView(board, sys.stderr)
