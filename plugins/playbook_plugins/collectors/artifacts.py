"""What the test wrote: result files and folders, from here or from the node it ran on."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from playbook_kernel.api import (
    Artifact,
    ArtifactKept,
    Collector,
    CommandFailed,
    Deployment,
    NodeError,
    TransferFailed,
    TrialContext,
    field,
    frozen,
)

from .keep import described, files_below, free, landing


@frozen
class Options:
    """``paths``: files and folders; relative ones lie in the scenario's folder, or in the work_dir of ``node``."""

    paths: list[str] = field(factory=list)
    node: str = "local"


class ArtifactsCollector(Collector[Options]):
    """Keeps the result paths of the test with their folders; equal names never overwrite one another."""

    def collect(self, ctx: TrialContext, deployment: Deployment | None, into: Path) -> Sequence[Artifact]:
        name = self.options.node
        if name in ("auto", "remote"):
            name = next(iter(ctx.trial.scenario.node_names), "local")
        kept: list[Artifact] = []
        for path in self.options.paths:
            try:
                kept += self._local(ctx, path, into) if name == "local" else self._remote(ctx, name, path, into)
            except (OSError, NodeError, CommandFailed, TransferFailed) as error:
                ctx.warn(f"artifact {path} could not be kept: {error}", "" if name == "local" else name)
        scenario = ctx.trial.scenario.name
        for artifact in kept:
            ctx.emit(ArtifactKept(artifact, trial=ctx.trial.id, scenario=scenario))
        return kept

    def _local(self, ctx: TrialContext, path: str, into: Path) -> list[Artifact]:
        base = ctx.trial.scenario.directory.resolve()
        source = base / path
        target = into / "artifacts" / landing(str(source), str(base))
        if source.is_dir():
            found = []
            for file in files_below(source):
                place = free(target / file.relative_to(source))
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(file, place)
                found.append(described("artifact", place, into, origin=str(file)))
            return found
        if not source.is_file():
            ctx.warn(f"artifact {path} is not there: the test did not write it")
            return []
        target = free(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)
        return [described("artifact", target, into, origin=str(source))]

    def _remote(self, ctx: TrialContext, node: str, path: str, into: Path) -> list[Artifact]:
        session = ctx.session(node)
        base = ctx.nodes[node].work_dir
        source = path if path.startswith("/") else f"{base.rstrip('/')}/{path}"
        probe = session.run(["sh", "-c", 'if [ -d "$1" ]; then echo d; elif [ -f "$1" ]; then echo f; fi', "-", source])
        target = into / "artifacts" / landing(source, base)
        match probe.text.strip():
            case "d":
                target = free(target) if target.exists() else target
                session.get_tree(source, target)
                return [described("artifact", f, into, node=node, origin=source) for f in files_below(target)]
            case "f":
                target = free(target)
                target.parent.mkdir(parents=True, exist_ok=True)
                session.get(source, target)
                return [described("artifact", target, into, node=node, origin=source)]
            case _:
                ctx.warn(f"artifact {path} is not there: the test did not write it", node)
                return []
