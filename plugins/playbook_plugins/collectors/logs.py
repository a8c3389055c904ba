"""What the services and their nodes said: service logs, and in mode comprehensive the state of each node."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from playbook_kernel.api import (
    Artifact,
    ArtifactKept,
    Collector,
    Deployment,
    PlaybookError,
    TrialContext,
    frozen,
    redact,
    run_all,
)

from playbook_plugins.deployment import composer_for, share_for

from .keep import clean, described, safe_name

_MIB = 1024 * 1024
_SYSTEM = (
    ("docker_info.txt", ["docker", "info"]),
    ("docker_images.txt", ["docker", "images", "--digests"]),
    ("docker_containers.txt", ["docker", "ps", "--all", "--no-trunc"]),
)
_RESOURCES = (
    "uptime; echo; free -m 2>/dev/null; echo; df -h 2>/dev/null; echo; "
    "nvidia-smi 2>/dev/null || npu-smi info 2>/dev/null || rocm-smi 2>/dev/null; true"
)


@frozen
class Options:
    """``limit_mib``: at most so much of each service's log is kept, its end."""

    mode: Literal["standard", "comprehensive"] = "standard"
    limit_mib: int = 64


class LogsCollector(Collector[Options]):
    """Keeps the log of every service on every node; all nodes at once, also after a failure."""

    def collect(self, ctx: TrialContext, deployment: Deployment | None, into: Path) -> Sequence[Artifact]:
        nodes = ctx.trial.scenario.node_names
        results = run_all([lambda n=n: self._node(ctx, n, into) for n in nodes])  # type: ignore[misc]
        kept: list[Artifact] = []
        for node, result in zip(nodes, results, strict=True):
            if isinstance(result, BaseException):
                ctx.warn(f"logs could not be kept: {result}", node)
            else:
                kept += result
        for artifact in kept:
            ctx.emit(ArtifactKept(artifact, trial=ctx.trial.id, scenario=ctx.trial.scenario.name))
        return kept

    def _node(self, ctx: TrialContext, node: str, into: Path) -> list[Artifact]:
        session, composer, share = ctx.session(node), composer_for(ctx, node), share_for(ctx, node)
        folder = into / "logs" / safe_name(node)
        folder.mkdir(parents=True, exist_ok=True)
        kept = []
        limit = self.options.limit_mib * _MIB
        for service in share.services:
            try:
                file = composer.logs(session, share, service.name, folder, limit=limit)
            except PlaybookError as error:
                ctx.warn(f"the log of {service.name} could not be kept: {error}", node)
                begun = folder / f"{service.name}.log"
                if begun.is_file() and begun.stat().st_size:
                    kept.append(
                        described("log", begun, into, node=node, origin=service.name, note=f"broke off: {error}")
                    )
                continue
            if file is not None:
                clean(file)
                note = f"only its last {self.options.limit_mib} MiB" if file.stat().st_size >= limit else ""
                kept.append(described("log", file, into, node=node, origin=service.name, note=note))
        status = folder / "service_states.txt"
        states = composer.states(session, share)
        status.write_text(
            "".join(f"{s.service}\t{s.status}\t{s.health}\t{s.exit_code}\t{s.detail}\n" for s in states.values())
        )
        kept.append(described("log", status, into, node=node))
        if self.options.mode == "comprehensive":
            commands = [("system_resources.txt", ["sh", "-c", _RESOURCES])]
            if ctx.facts.get(node, {}).get("docker"):
                commands += [(name, list(argv)) for name, argv in _SYSTEM]
            for name, argv in commands:
                done = session.run(argv, check=False, timeout=30.0)
                (folder / name).write_text(redact(done.text + done.errors))
                kept.append(described("log", folder / name, into, node=node))
        return kept
