"""What a trial's process is told: everything it needs, and nothing that it would have to look up again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from attrs import field, frozen

from playbook_kernel import logs
from playbook_kernel.context import Effect, TrialContext
from playbook_kernel.loading import HookManager, Loader, load_hooks
from playbook_kernel.model import Event, Node, PluginPolicy, Trial, TrialResult
from playbook_kernel.scope import Cancel

from .effects import TrialEffects
from .hold import hold
from .phases import TrialRun
from .sessions import SessionPool
from .store import LOG


@frozen
class PluginSettings:
    """How plugins are loaded: in the parent, and again in each child."""

    policy: PluginPolicy = field(factory=PluginPolicy)
    blocked: tuple[str, ...] = ()
    files: tuple[str, ...] = ()

    def loader(self) -> Loader:
        """A loader of these settings."""
        return Loader(self.policy, self.blocked, self.files)


@frozen
class Patience:
    """How long the kernel waits for a trial's process, in seconds.

    ``grace``: for a call to come back by itself after its deadline or a cancellation, before it is left behind.
    ``silence``: without a word, until the process counts as gone; it says that it is alive every third of that.
    ``leave``: for the process to end by itself when all is said, before it is killed.
    """

    grace: float = 5.0
    silence: float = 30.0
    leave: float = 5.0


@frozen
class Job:
    """One trial to run, or to clean up after (``mode``); ``effects`` are those that may still be there.

    ``survey``: only find out what is true of the nodes. ``claim``: hold them, after waiting ``wait`` seconds at most.
    ``memory``: how many bytes of it the process may take; 0: as it likes.
    """

    run: str
    run_folder: Path
    trial: Trial
    directory: Path
    nodes: Mapping[str, Node]
    plugins: PluginSettings = field(factory=PluginSettings)
    mode: Literal["run", "cleanup", "survey", "claim"] = "run"
    effects: tuple[Effect, ...] = ()
    facts: Mapping[str, Mapping[str, Any]] = field(factory=dict)
    log_level: str = "INFO"
    patience: Patience = field(factory=Patience)
    wait: float = 0.0
    memory: int = 0


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
        run=job.run,
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
    try:
        match job.mode:
            case "run":
                return run.run()
            case "cleanup":
                return run.clean_up_only()
            case "survey":
                return run.survey()
            case "claim":
                return hold(ctx, hooks, cancel, job.wait)
    finally:
        pool.close()


def configure_log(job: Job) -> None:
    """Set up the log of a process that does nothing but this job; the parent tells its user what matters of it."""
    logs.configure(job.log_level, run_log=job.run_folder / LOG, quiet=job.log_level != "DEBUG")
