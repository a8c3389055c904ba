"""A scenario's test_config.json lies on every node of the trial, where scripts of the earlier tool look for it."""

from __future__ import annotations

import functools
from collections.abc import Generator, Iterable
from pathlib import Path

from playbook_kernel.api import Deployment, Residue, Scenario, Session, TrialContext, hookimpl, run_all

NAMES = ("test_config.json", "test_config.yaml", "config.json")
_LOOK = '[ -e "$1" ] || [ -L "$1" ]'
_KEEP = 'cp -pP -- "$1" "$2.part" && mv -f -- "$2.part" "$2"'
_BACK = 'if [ -e "$2" ] || [ -L "$2" ]; then mv -f -- "$2" "$1"; fi; rm -f -- "$2.part"'


@hookimpl(wrapper=True)
def playbook_deploy(ctx: TrialContext, scenario: Scenario) -> Generator[None, Deployment | None, Deployment | None]:
    """Before any service starts, for a container may mount it."""
    if source(scenario) is not None:
        for result in run_all([functools.partial(_on, ctx, n) for n in scenario.node_names]):
            if isinstance(result, BaseException):
                raise result
    return (yield)


@hookimpl
def playbook_cleanup(ctx: TrialContext, deployment: Deployment | None) -> Iterable[Residue]:
    """Put back what was there; a file that was new is removed with all others."""
    for effect in ctx.effects.open("replaced"):
        if effect.data.get("path") == target(ctx.trial.scenario):
            ctx.session(effect.node).run(
                ["sh", "-c", _BACK, "-", target(ctx.trial.scenario), str(effect.data["backup"])]
            )
            ctx.effects.undone(effect)
    return ()


def target(scenario: Scenario) -> str:
    """Where it lies on a node."""
    return f"/tmp/test_config_{scenario.name}.json"  # noqa: S108 - the place is a promise


def source(scenario: Scenario) -> Path | None:
    """The file of the scenario, if it has one and its name can be part of a file's."""
    if "/" in scenario.name or "\0" in scenario.name:
        return None
    return next((p for n in NAMES if (p := scenario.directory / n).is_file()), None)


def place(ctx: TrialContext, session: Session, node: str) -> None:
    """Put it on a node, readable by its owner only, unless it is there already. Raises what a session raises."""
    scenario = ctx.trial.scenario
    file, path = source(scenario), target(scenario)
    if file is None or any(e.data.get("path") == path for e in ctx.effects.open(node=node)):
        return
    if session.run(["sh", "-c", _LOOK, "-", path], check=False).ok:
        backup = f"{path}.playbook-{ctx.trial.id}"
        effect = ctx.effects.intend("replaced", node, path=path, backup=backup)
        session.run(["sh", "-c", _KEEP, "-", path, backup])
    else:
        effect = ctx.effects.intend("file", node, path=path)
    session.put(file, path, mode=0o600)
    ctx.effects.done(effect)


def _on(ctx: TrialContext, node: str) -> None:
    place(ctx, ctx.session(node), node)
