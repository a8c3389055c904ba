"""What a trial's process is told: everything it needs, and nothing that it would have to look up again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from attrs import field, frozen

from playbook_kernel import logs
from playbook_kernel.context import Effect, TrialContext
from playbook_kernel.loading import HookManager, Loader, PluginSettings, load_hooks
from playbook_kernel.model import Event, Node, Trial, TrialResult
from playbook_kernel.redaction import Secret
from playbook_kernel.scope import Cancel

from .effects import TrialEffects
from .patience import Patience
from .phases import TrialRun
from .sessions import SessionPool


@frozen
class Job:
    """One trial to run, or to clean up after (``mode``); ``effects`` are those that may still be there.

    ``run``: the run's folder. ``survey``: only find out what is true of the nodes. ``memory``: how many bytes of it the
    process may take; 0: as it likes. ``secrets``: whatever it must not show.
    """

    run: Path
    trial: Trial
    directory: Path
    nodes: Mapping[str, Node]
    plugins: PluginSettings = field(factory=PluginSettings)
    mode: Literal["run", "cleanup", "survey"] = "run"
    effects: tuple[Effect, ...] = ()
    facts: Mapping[str, Mapping[str, Any]] = field(factory=dict)
    log_level: str = "INFO"
    patience: Patience = field(factory=Patience)
    memory: int = 0
    secrets: tuple[Secret, ...] = ()


def perform(
    job: Job,
    emit: Callable[[Event], None],
    record: Callable[[str, Mapping[str, Any]], None],
    cancel: Cancel,
    *,
    entered: Callable[[str], None] | None = None,
    hooks: HookManager | None = None,
    loader: Loader | None = None,
) -> TrialResult:
    """Run a job in this process. ``hooks`` and ``loader`` are made from the job's settings if not given.

    ``entered`` is told whose hook runs.
    """
    loader = loader or job.plugins.loader()
    hooks = hooks or load_hooks(loader)
    if entered is not None:
        hooks.entered = entered
    pool = SessionPool(job.nodes, job.trial.id, loader.build)
    job.directory.mkdir(parents=True, exist_ok=True)
    ctx = TrialContext(
        run=job.run.name,
        trial=job.trial,
        nodes=job.nodes,
        directory=job.directory,
        session=pool,
        effects=TrialEffects(record, job.effects),
        emit=emit,
        build=loader.build,
        log=logs.logger(f"trial.{job.trial.scenario.name}"),
        facts={n: dict(f) for n, f in job.facts.items()},
        emergency=job.mode != "run",
    )
    run = TrialRun(ctx, hooks, cancel, job.patience.grace)
    modes = {"run": run.run, "cleanup": run.clean_up_only, "survey": run.survey}
    try:
        return modes[job.mode]()
    finally:
        pool.close()
