"""What the process does that holds a campaign's nodes: claim them, say so, and renew the claims until it is told to end."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable

from playbook_kernel.context import TrialContext
from playbook_kernel.errors import NodeInUse
from playbook_kernel.loading import HookManager
from playbook_kernel.model import NodesClaimed, PhaseOutcome, TrialResult, Waiting
from playbook_kernel.scope import Cancel, run_all, within

from .store import now

RENEW = 15.0
_CLAIM = 30.0
_DYING = 75.0
"""How long a dead process of the same run may seem to hold a node, when nothing told the node that it has died."""


def hold(ctx: TrialContext, hooks: HookManager, cancel: Cancel, wait: float) -> TrialResult:
    """In a process of its own: claim every node, say so, and keep them until cancelled."""
    began, told = time.monotonic(), False
    released: list[Callable[[], None]] = []
    while not cancel.requested:
        taken = _claim(ctx, hooks, released)
        if not taken:
            ctx.emit(NodesClaimed(tuple(ctx.nodes)))
            break
        # Whoever holds some and waits for others may wait for ever.
        _release(released)
        patience = max(wait, _DYING) if all(error.ours for error in taken) else wait
        if time.monotonic() - began >= patience:
            return _ended(ctx, began, taken[0])
        if not told:
            told = True
            ctx.emit(Waiting(f"for a node: {taken[0]}", patience))
        cancel.wait(1.0)
    while not cancel.wait(RENEW):
        for error in _claim(ctx, hooks, released):
            ctx.warn(str(error), error.node)
    _release(released)
    return _ended(ctx, began, None)


def _claim(ctx: TrialContext, hooks: HookManager, released: list[Callable[[], None]]) -> list[NodeInUse]:
    """Ask for every node at once. One that cannot be reached is nobody's: its trials will say so."""

    def ask(name: str) -> None:
        with within(_CLAIM):
            session = ctx.session(name)
            for _, call in hooks.calls("playbook_claim", ctx=ctx, node=ctx.nodes[name], session=session):
                release = call()
                if callable(release) and release not in released:
                    released.append(release)

    results = run_all([functools.partial(ask, name) for name in ctx.nodes])
    for result in results:
        if isinstance(result, BaseException) and not isinstance(result, NodeInUse):
            ctx.log.warning("a node could not be claimed", error=str(result))
    return [r for r in results if isinstance(r, NodeInUse)]


def _release(released: list[Callable[[], None]]) -> None:
    run_all(released)
    released.clear()


def _ended(ctx: TrialContext, began: float, error: NodeInUse | None) -> TrialResult:
    said, node = (str(error), error.node) if error else ("", "")
    outcome = PhaseOutcome(
        "discover", "failed" if error else "ok", time.monotonic() - began, now(), said, "node", node=node
    )
    return TrialResult(ctx.trial.id, ctx.trial.scenario.name, "failed" if error else "completed", phases=(outcome,))
