"""A node belongs to one campaign at a time: plugins hold the nodes of a campaign while it runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from playbook_kernel.errors import NodeInUse
from playbook_kernel.model import Node, Waiting
from playbook_kernel.scope import Cancel, run_all

from .guests import Guests

_DYING = 75.0
"""How long a dead process of the same run may seem to hold a node, when nothing told the node that it has died."""
_AGAIN = 2.0


@contextmanager
def claimed(
    guests: Guests,
    nodes: Mapping[str, Node],
    wait: float,
    seconds: float,
    cancel: Cancel,
) -> Iterator[None]:
    """Hold the nodes within the block.

    Raises NodeInUse if another campaign still has one of them after ``wait`` seconds. ``seconds``: for one plugin to claim.
    """
    began, told = time.monotonic(), False
    held: list[Callable[[], None]] = []
    try:
        while nodes and not cancel.requested:
            try:
                for release in guests.call("playbook_claim", seconds, cancel, nodes=tuple(nodes.values())):
                    held += [release] if release else []
                break
            except NodeInUse as error:
                _give_back(held)
                longest = max(wait, _DYING) if error.ours else wait
                if time.monotonic() - began >= longest:
                    raise
                if not told:
                    told = True
                    guests.tell(Waiting(f"for a node: {error}", longest))
                cancel.wait(_AGAIN)
        yield
    finally:
        _give_back(held)


def _give_back(held: list[Callable[[], None]]) -> None:
    """Whoever holds some nodes and waits for others may wait for ever."""
    run_all(held)
    held.clear()
