"""What the test wrote: result files and folders, from here or from the node it ran on."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from attrs import evolve
from playbook_kernel.api import (
    Artifact,
    ArtifactKept,
    Collector,
    CommandFailed,
    Deployment,
    NodeError,
    Session,
    TransferFailed,
    TrialContext,
    field,
    frozen,
)

from .keep import described, files_below, free, landing

_LOOK = 'if [ -d "$1" ]; then echo d; elif [ -f "$1" ]; then echo "f $(stat -c %Y -- "$1")"; fi'
_SUMS = (
    'if [ -d "$1" ]; then cd -- "$1" && find . -type f -exec sha256sum -- {} +; else sha256sum <"$1"; fi 2>/dev/null'
)
_SUM_SECONDS = 300.0
_TOLD = 5
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
        if name == "local" and not kept and ctx.trial.scenario.benchmark.use == "script":
            self._tell_written(ctx)
        scenario = ctx.trial.scenario.name
        for artifact in kept:
            ctx.emit(ArtifactKept(artifact, trial=ctx.trial.id, scenario=scenario))
        return kept

    def _tell_written(self, ctx: TrialContext) -> None:
        """Where nothing was brought home, and the script has written something: say what, and what would bring it."""
        named = {p.removeprefix("./").partition("/")[0] for p in self.options.paths}
        written = sorted(
            f"{path.name}/" if path.is_dir() else path.name
            for path in ctx.trial.scenario.directory.iterdir()
            if path.name[:1] not in "._" and path.name not in named and not _older(ctx, path.stat().st_mtime)
        )
        if written:
            names = ", ".join(written[:_TOLD])
            ctx.warn(
                f"the test wrote {names} in the scenario's folder, where it stays: result_paths: [{names}] brings it home"
            )

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
            _tell_missing(ctx, path, "")
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
                broken = ""
                try:
                    session.get_tree(source, target)
                except (NodeError, TransferFailed, CommandFailed) as error:
                    broken = f"the copy of its folder broke off: {error}"
                    ctx.warn(f"artifact {path} came only in part: {error}", node)
                found = list(files_below(target)) if target.is_dir() else []
                sums = {} if broken else _sums(session, source)
                names = [f.relative_to(target).as_posix() for f in found]
                kept = [
                    _compared(f, into, node, source, sums.get(n), broken) for f, n in zip(found, names, strict=True)
                ]
                return _told(ctx, node, kept)
            case "f" if _older(ctx, float(changed or "inf"), node):
                ctx.warn(f"artifact {path} is older than this trial: the test did not write it", node)
                return []
            case "f":
                target = free(target)
                target.parent.mkdir(parents=True, exist_ok=True)
                session.get(source, target)
                return _told(ctx, node, [_compared(target, into, node, source, _sums(session, source).get(""), "")])
            case _:
                _tell_missing(ctx, path, node)
                return []


def _tell_missing(ctx: TrialContext, path: str, node: str) -> None:
    if ctx.trial.scenario.benchmark.use == "script":  # paths are the script's: no other benchmark owes them
        ctx.warn(f"artifact {path} is not there: the test did not write it", node)


def _older(ctx: TrialContext, changed: float, node: str = "") -> bool:
    """Whether a file was there before the trial began, by the clock of its node: then an earlier one wrote it."""
    offset = ctx.facts.get(node, {}).get("clock_offset", 0.0) if node else 0.0
    return changed < ctx.began + (float(offset) if isinstance(offset, (int, float)) else 0.0) - _SLACK


def _sums(session: Session, source: str) -> dict[str, str]:
    """SHA-256 of every file of a folder of the node by its place in it, or of one file, named ``""``.

    Empty if the node has no means to tell. Names that sha256sum would have to escape are left out.
    """
    done = session.run(["sh", "-c", _SUMS, "-", source], check=False, timeout=_SUM_SECONDS)
    rows = (line.partition("  ") for line in done.text.splitlines() if not line.startswith("\\"))
    return {"" if name == "-" else name.removeprefix("./"): digest for digest, _, name in rows}


def _compared(file: Path, into: Path, node: str, origin: str, digest: str | None, broken: str) -> Artifact:
    """A file as it came, marked if it is not what the node has."""
    kept = described("artifact", file, into, node=node, origin=origin, note=broken)
    if digest is None or digest == kept.sha256:
        return kept
    return evolve(kept, partial=True, note="differs from the file on the node: it was written to while it was copied")


def _told(ctx: TrialContext, node: str, kept: list[Artifact]) -> list[Artifact]:
    for artifact in kept:
        if artifact.note.startswith("differs"):
            ctx.warn(f"artifact {artifact.path} {artifact.note}", node)
    return kept
