"""Taking a trial's services down, on every node at once, and looking whether they are gone."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from playbook_kernel.api import (
    CommandFailed,
    Deployment,
    NodeError,
    PlaybookError,
    Residue,
    TrialContext,
    current,
    run_all,
)

from .choose import composer_for

_TRIES = 3
_PAUSE = 1.0


def cleanup(ctx: TrialContext, deployment: Deployment | None) -> Sequence[Residue]:
    """Remove what the journal says was brought up, and return what is left."""
    nodes = sorted({e.node for e in ctx.effects.open("stack")})
    left: list[Residue] = []
    for node, result in zip(nodes, run_all([functools.partial(_take_down, ctx, n) for n in nodes]), strict=True):
        if isinstance(result, (NodeError, CommandFailed)):
            left.append(Residue(node, "unverified", "services", f"could not be taken down: {result}"))
        elif isinstance(result, BaseException):
            raise result
        else:
            left += result
    return left


def _take_down(ctx: TrialContext, node: str) -> Sequence[Residue]:
    """Several tries: an engine that has just been restarted answers the second time."""
    session = ctx.session(node)
    composer = composer_for(ctx, node)
    left: Sequence[Residue] = ()
    failure: PlaybookError | None = None
    for attempt in range(_TRIES):
        if attempt:
            current().sleep(_PAUSE)
        try:
            composer.down(ctx, session, ctx.trial.id)
            left = composer.residue(session, ctx.trial.id)
            failure = None
        except (NodeError, CommandFailed) as error:
            failure = error
            continue
        if not left:
            for effect in ctx.effects.open("stack", node):
                ctx.effects.undone(effect)
            return ()
    if failure is not None:
        raise failure
    return left
