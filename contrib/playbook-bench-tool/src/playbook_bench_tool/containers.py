"""A tool that runs in a container: announced before it is made, gone when the trial is, whatever happened."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from playbook_kernel.api import (
    CommandFailed,
    Deployment,
    NodeError,
    Residue,
    Session,
    TrialContext,
    hookimpl,
)

KIND = "bench-container"


class Wanted(Protocol):
    """The options that say which container."""

    @property
    def node(self) -> str: ...
    @property
    def image(self) -> str: ...
    @property
    def docker(self) -> str: ...
    @property
    def env(self) -> Iterable[str]: ...


def contained(
    ctx: TrialContext, session: Session, options: Wanted, argv: Sequence[object], folder: str
) -> tuple[list[object], str]:
    """The command that runs ``argv`` in a container, and that container's name.

    It shares the node's network, sees ``folder`` under the same name, and runs as the session's user.
    """
    name = f"bench-{ctx.trial.id}"
    effect = ctx.effects.intend(KIND, options.node, name=name, docker=options.docker)
    user = session.run(["sh", "-c", 'echo "$(id -u):$(id -g)"']).text.strip()
    program, *words = argv
    line: list[object] = [options.docker, "run", "--rm", "--init", "--name", name, "--network", "host", "--user", user]
    line += ["--label", f"playbook.trial={ctx.trial.id}", "-v", f"{folder}:{folder}", "-w", folder]
    line += ["-e", f"HOME={folder}", *(word for variable in options.env for word in ("-e", variable))]
    ctx.effects.done(effect)
    return [*line, "--entrypoint", program, options.image, *words], name


def removed(ctx: TrialContext, session: Session, name: str) -> bool:
    """Remove the container, look again, and say whether it is gone."""
    gone = True
    for effect in [e for e in ctx.effects.open(KIND, session.node.name) if e.data["name"] == name]:
        docker = str(effect.data["docker"])
        session.run([docker, "rm", "--force", "--volumes", name], check=False)
        left = session.run([docker, "ps", "--all", "--quiet", "--filter", f"name=^{name}$"]).text.strip()
        if left:
            gone = False
        else:
            ctx.effects.undone(effect)
    return gone


@hookimpl
def playbook_cleanup(ctx: TrialContext, deployment: Deployment | None) -> Iterable[Residue]:
    """Containers that a benchmark left: it was killed, or this process died."""
    for effect in ctx.effects.open(KIND):
        name = str(effect.data["name"])
        try:
            if not removed(ctx, ctx.session(effect.node), name):
                yield Residue(effect.node, "container", name)
        except (NodeError, CommandFailed) as error:
            yield Residue(effect.node, "unverified", name, f"could not be looked at: {error}")
