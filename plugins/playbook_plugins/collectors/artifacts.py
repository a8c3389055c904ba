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

_LOOK = 'if [ -d "$1" ]; then echo d; elif [ -f "$1" ]; then echo "f $(stat -c %Y -- "$1")"; fi'
_SLACK = 2.0
"""Seconds: file systems and clocks are only so exact."""


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
            found, old = [], 0
            for file in files_below(source):
                if _older(ctx, file.stat().st_mtime):
                    old += 1
                    continue
                place = free(target / file.relative_to(source))
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(file, place)
                found.append(described("artifact", place, into, origin=str(file)))
            if old:
                ctx.warn(f"artifact {path}: {old} files in it are older than this trial: left where they are")
            return found
        if not source.is_file():
            ctx.warn(f"artifact {path} is not there: the test did not write it")
            return []
        if _older(ctx, source.stat().st_mtime):
            ctx.warn(f"artifact {path} is older than this trial: the test did not write it")
            return []
        target = free(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)
        return [described("artifact", target, into, origin=str(source))]

    def _remote(self, ctx: TrialContext, node: str, path: str, into: Path) -> list[Artifact]:
        session = ctx.session(node)
        base = ctx.nodes[node].work_dir
        source = path if path.startswith("/") else f"{base.rstrip('/')}/{path}"
        probe = session.run(["sh", "-c", _LOOK, "-", source])
        kind, _, changed = probe.text.strip().partition(" ")
        target = into / "artifacts" / landing(source, base)
        match kind:
            case "d":
                target = free(target) if target.exists() else target
                session.get_tree(source, target)
                return [described("artifact", f, into, node=node, origin=source) for f in files_below(target)]
            case "f" if _older(ctx, float(changed or "inf"), node):
                ctx.warn(f"artifact {path} is older than this trial: the test did not write it", node)
                return []
            case "f":
                target = free(target)
                target.parent.mkdir(parents=True, exist_ok=True)
                session.get(source, target)
                return [described("artifact", target, into, node=node, origin=source)]
            case _:
                ctx.warn(f"artifact {path} is not there: the test did not write it", node)
                return []


def _older(ctx: TrialContext, changed: float, node: str = "") -> bool:
    """Whether a file was there before the trial began, by the clock of its node: then an earlier one wrote it."""
    offset = ctx.facts.get(node, {}).get("clock_offset", 0.0) if node else 0.0
    return changed < ctx.began + (float(offset) if isinstance(offset, (int, float)) else 0.0) - _SLACK
