"""Nothing of a trial outlives it: each node is looked at before and after, and what differs is undone, or told.

The first look is an effect of kind ``isolation`` in the journal: it stays open until the last look found nothing of ours, so
a node that could not be looked at is remembered.
"""

from __future__ import annotations

import functools
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence

from playbook_kernel.api import (
    Artifact,
    CampaignContext,
    CommandFailed,
    Deployment,
    Fact,
    Node,
    NodeError,
    PlaybookError,
    Residue,
    Session,
    TrialContext,
    current,
    hookimpl,
    run_all,
)

from . import compare, undo
from .claims import Claims
from .look import Seen, look, parse
from .processes import end_processes, shared_memory

EFFECT = "isolation"
_MEMORY_SECONDS = 15
"""How long an accelerator's driver may take to give memory back."""


@hookimpl
def playbook_claim(ctx: CampaignContext, nodes: Sequence[Node]) -> Callable[[], None]:
    """Hold the lock of every node."""
    claims = Claims(ctx, nodes)
    claims.take()
    return claims.give_back


@hookimpl(tryfirst=True)
def playbook_discover(ctx: TrialContext, node: Node, session: Session) -> Mapping[str, Fact]:
    """The first look. A node that still has things of other trials says so."""
    text = look(session, node.stage_dir)
    others = sorted(parse(text).trials() - {ctx.trial.id})
    if ctx.emergency:  # nothing is going to be done
        return {"left_behind": list[object](others)}
    if node.transport.use == "local":
        ctx.effects.intend(EFFECT, node.name, seen=text, host=platform.node())
        others = []  # its other users are no business of ours, and may be at work
    else:
        ctx.effects.intend(EFFECT, node.name, seen=text)
    if others:
        names = ", ".join(others[:3]) + (f" and {len(others) - 3} more" if len(others) > 3 else "")
        ctx.warn(f"things of other trials are there: {names}; `cleanup --all-orphans` removes them", node.name)
        return {"left_behind": list[object](others)}
    return {}


@hookimpl(trylast=True)
def playbook_collect(ctx: TrialContext, deployment: Deployment | None) -> Iterable[Artifact]:
    """While its processes live, note what they use of the node's shared memory: it would outlive them."""
    for effect in ctx.effects.open(EFFECT):
        before = parse(str(effect.data["seen"])).shared
        for path in shared_memory(ctx.session(effect.node), ctx.trial.id):
            if path.removeprefix(f"{compare.SHARED}/") not in before:
                ctx.effects.intend("file", effect.node, path=path)
    return ()


@hookimpl(trylast=True)
def playbook_cleanup(ctx: TrialContext, deployment: Deployment | None) -> Iterable[Residue]:
    """On every node at once: end what still runs, remove what was put there, look again."""
    nodes = sorted({*ctx.trial.scenario.node_names, *(e.node for e in ctx.effects.open())} & {*ctx.nodes, "local"})
    results = run_all([functools.partial(_node, ctx, n) for n in nodes])
    left: list[Residue] = []
    for node, result in zip(nodes, results, strict=True):
        if isinstance(result, NodeError | CommandFailed):
            left.append(Residue(node, "unverified", "node", f"could not be looked at: {result}"))
        elif isinstance(result, BaseException):
            raise result
        else:
            left += result
    return left


def _node(ctx: TrialContext, node: str) -> Sequence[Residue]:
    first = next(iter(ctx.effects.open(EFFECT, node)), None)
    host = first.data.get("host", "") if first else ""
    if host not in ("", platform.node()):  # a copy of the run: what lies here under the same names is somebody else's
        return [Residue(node, "unverified", "node", f"is {host}, and this is {platform.node()}: clean up there")]
    try:
        session = ctx.session(node)
    except PlaybookError:
        if ctx.effects.open(node=node) or ctx.emergency:
            raise
        return ()  # nothing was ever done there
    before = parse(str(first.data["seen"])) if first else None
    stage = ctx.nodes[node].stage_dir if node in ctx.nodes else ""
    ended = end_processes(session, ctx.trial.id)
    ours = undo.remove_files(ctx, session, node)
    after = parse(look(session, stage))
    marked = compare.carrying(after, node, ctx.trial.id)
    if marked:
        undo.sweep(ctx, session, node, marked)
        after = parse(look(session, stage))
        marked = compare.carrying(after, node, ctx.trial.id)
    known = {r.name for r in ours}
    ours += [Residue(node, "process", pid, command) for pid, command in ended]
    ours += [r for r in marked if r.name not in known and r.kind != "process"]
    if before is None:
        return ours
    told = compare.changed(before, after, node, ctx.trial.id, crowded=session.node.transport.use == "local")
    told += _memory(session, stage, node, before, after)
    if after.blind and not before.blind:
        ours.append(Residue(node, "unverified", after.blind[0], "did not answer to the last look"))
    if first and not ours and all(r.foreign for r in told):
        ctx.effects.undone(first)
    return [*ours, *told]


def _memory(session: Session, stage: str, node: str, before: Seen, after: Seen) -> list[Residue]:
    left = compare.memory(before, after, node)
    for _ in range(_MEMORY_SECONDS):
        if not left:
            break
        current().sleep(1.0)
        left = compare.memory(before, parse(look(session, stage)), node)
    return left
