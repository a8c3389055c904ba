"""Which composer serves a node, and what it is to do there."""

from __future__ import annotations

from playbook_kernel.api import (
    Composer,
    DriverNotFound,
    DriverRef,
    Fact,
    Node,
    NodeError,
    PlaybookError,
    Session,
    Share,
    TrialContext,
)

PREFERENCE = ("v2", "v1")
"""In which order ``auto`` asks; on a local node without any of them services run as plain processes."""

_STASH = "deployment.composers"


def discover(ctx: TrialContext, node: Node, session: Session) -> dict[str, Fact]:
    """Find the composer of a node. Raises NodeError if none fits."""
    names = [node.composer] if node.composer != "auto" else [*PREFERENCE]
    if node.composer == "auto" and node.transport.use == "local":
        names.append("process")
    reasons: list[str] = []
    frozen: NodeError | None = None
    for name in names:
        try:
            composer = _built(ctx, name, node)
        except DriverNotFound:
            if node.composer != "auto":
                raise
            continue
        try:
            why_not = composer.fit(session)
        except NodeError as error:
            if error.error_class != "engine":
                raise
            frozen = error
            continue
        if why_not is None:
            return {"composer": name}
        reasons.append(f"{name}: {why_not}")
    if frozen is not None:
        raise frozen
    raise NodeError(
        node.name,
        "cannot bring services up: " + "; ".join(reasons),
        hint="install Docker with Compose on it, or set `composer: process` to run services as plain processes",
    )


def composer_for(ctx: TrialContext, node: str) -> Composer[object]:
    """The composer that discovery found for a node. Raises PlaybookError if there was no discovery."""
    name = ctx.facts.get(node, {}).get("composer")
    if not isinstance(name, str):
        marks = ctx.effects.open("stack", node)
        name = str(marks[0].data["composer"]) if marks else ctx.nodes[node].composer
    if name == "auto":
        raise PlaybookError(f"{node}: it is not known which composer serves it")
    return _built(ctx, name, ctx.nodes[node])


def share_for(ctx: TrialContext, node: str) -> Share:
    """What is to run on a node."""
    scenario = ctx.trial.scenario
    return Share(
        ctx.nodes[node],
        ctx.trial.id,
        scenario.directory.resolve(),
        tuple(s for s in scenario.services if node in s.nodes),
        scenario.env_file,
        scenario.uploads,
    )


def _built(ctx: TrialContext, name: str, node: Node) -> Composer[object]:
    made: dict[tuple[str, str], Composer[object]] = ctx.stash.setdefault(_STASH, {})
    key = (name, node.name if node.composer_options else "")
    if key not in made:
        made[key] = ctx.build(Composer, DriverRef(name, node.composer_options))
    return made[key]
