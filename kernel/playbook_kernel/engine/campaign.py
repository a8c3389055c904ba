"""A campaign: scenarios in order, each trial in a process of its own, every verdict kept at once, a report at the end."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from attrs import define, evolve, field, frozen

from playbook_kernel import __version__, logs
from playbook_kernel.context import CampaignContext
from playbook_kernel.errors import ConfigError, NodeError
from playbook_kernel.loading import HookManager, Loader, PluginSettings
from playbook_kernel.model import (
    CampaignEnded,
    CampaignResult,
    CampaignResumed,
    CampaignStarted,
    Event,
    Node,
    ReportWritten,
    Scenario,
    ScenarioEnded,
    ScenarioResult,
    ScenarioSkipped,
    Status,
    Trial,
    TrialEnded,
    TrialResult,
    TrialStarted,
    Waiting,
    Warned,
)
from playbook_kernel.model.codec import encode
from playbook_kernel.scope import Cancel

from . import resume
from .claims import claimed
from .fitness import Fitness
from .guests import Guests
from .host import run_trial
from .job import Job, perform
from .journal import Journal
from .patience import Patience
from .plan import Plan
from .recover import cleanup_open, open_trials, used_nodes
from .store import (
    CAMPAIGN,
    JOURNAL,
    LOG,
    TRIAL,
    Reserve,
    now,
    run_lock,
    set_aside,
    trial_folder,
    trial_id,
    write_json,
)
from .verdicts import merged, not_begun, reason_of, verdict_of

_TOOL = f"playbook-kernel {__version__}"
_NEVER_AGAIN = ("config", "plugin", "cancelled")


@frozen
class RunRequest:
    """How a plan is to be run. ``folder``: of the run, and empty if it is a new one; ``only``: what was asked for by name.

    ``wait``: how many seconds to wait for nodes that another campaign is at work on. ``resume``: go on with that run, and
    do not begin a new one.
    """

    folder: Path
    in_process: bool = False
    plugins: PluginSettings = field(factory=PluginSettings)
    log_level: str = "INFO"
    log_dir: Path | None = None
    command: tuple[str, ...] = ()
    patience: Patience = field(factory=Patience)
    only: tuple[str, ...] | None = None
    wait: float = 0.0
    resume: resume.Resume | None = None


@frozen
class Outcome:
    """What came of it. ``exit_code``: 0 good, 1 something failed or was cancelled. ``reports``: to open."""

    result: CampaignResult
    folder: Path
    exit_code: int
    reports: tuple[Path, ...] = ()


def run(plan: Plan, request: RunRequest, hooks: HookManager, loader: Loader, cancel: Cancel | None = None) -> Outcome:
    """Run a plan; ``cancel`` ends it in good order. Raises ConfigError when results cannot be kept.

    Raises ConfigError, too, when a run that is to be resumed was not of this configuration, and NodeError when another
    campaign is at work on one of its nodes.
    """
    again, folder = request.resume, request.folder
    with run_lock(folder, patience=again.patience if again else 0.0) as lock:
        past = resume.check(again, plan) if again else resume.first(folder, plan)
        logs.configure(request.log_level, run_log=folder / LOG, text_dir=request.log_dir)
        try:
            return _Campaign(plan, request, hooks, loader, folder, lock, past, cancel or Cancel()).run()
        except NodeError:  # refused before anything was begun
            if not again:
                shutil.rmtree(folder)
            raise


@define(eq=False)
class _Campaign:
    plan: Plan
    request: RunRequest
    hooks: HookManager
    loader: Loader
    folder: Path
    lock: int
    past: resume.Past
    cancel: Cancel
    journal: Journal = field(init=False)
    reserve: Reserve = field(init=False)
    guests: Guests = field(init=False)
    fitness: Fitness = field(init=False)
    _results: list[ScenarioResult] = field(factory=list)
    _reports: list[Path] = field(factory=list)
    _warnings: list[str] = field(factory=list)
    _trials: int = 0
    _interruptions: tuple[str, ...] = ()
    _began: float = field(factory=time.monotonic)

    def __attrs_post_init__(self) -> None:
        self.reserve = Reserve(self.folder)
        self.journal = Journal(self.folder / JOURNAL, self.reserve.keep)
        config, patience = self.plan.config, self.request.patience
        ctx = CampaignContext(
            self.folder.name,
            self.folder,
            config.nodes,
            logs.logger("campaign"),
            self.loader.build,
            config.reporters,
            warn=self._warn,
        )
        self.guests = Guests(self.hooks, ctx, self._warn, patience.watch, patience.grace)
        self.fitness = Fitness(self.guests, config.nodes, self.cancel, config.policy.retry_interval, self._warn)
        self._warnings += self.plan.warnings

    def run(self) -> Outcome:
        names = tuple(s.name for s in self.plan.scenarios)
        try:
            if not self.request.resume:
                self._begin(names)
            self.tell(CampaignStarted(self.folder.name, str(self.folder), names))
            with claimed(self.guests, self._claim(), self.request.wait, self.request.patience.claim, self.cancel):
                if self.request.resume:
                    self._begin(names)
                    self._go_on(self.request.resume)
                return self._all()
        finally:
            self.guests.settle()
            self.reserve.spend(last=True)
            self.journal.close()

    def _claim(self) -> Mapping[str, Node]:
        used = {n for s in self.plan.runnable for n in s.node_names}
        if self.request.resume:
            used |= used_nodes(open_trials(self.folder))
        nodes = self.plan.config.nodes.items()
        return {n: v for n, v in nodes if n in used and not self.request.in_process}

    def _go_on(self, again: resume.Resume) -> None:
        self.past = resume.take_up(again, self.past, self.plan, self.request.plugins, self.lock, self.journal)
        self._warnings[:] = dict.fromkeys((*self._warnings, *self.past.warnings))
        self._trials = sum(map(len, self.past.kept.values()))
        self._interruptions = (*self.past.interruptions, "; ".join([f"gone on with at {now()}", *self.past.notes]))
        self.tell(CampaignResumed(tuple(t.trial for of in self.past.kept.values() for t in of), self.past.notes))

    def _all(self) -> Outcome:
        scenarios = self.plan.scenarios
        to_run = [s for s in scenarios if not self._why_not(s) and self._attempts_left(s)]
        self.fitness.look(to_run, [n for s in to_run for n in s.node_names])
        for index, scenario in enumerate(scenarios):
            why = self._why_not(scenario)
            if why:
                self._skip(scenario, why)
                continue
            verdict = self._scenario(scenario)
            self._keep(verdict)
            if len(verdict.trials) > len(self.past.kept.get(scenario.name, ())):
                self._pause(scenarios[index + 1 :])
        self._tidy()
        self.reserve.spend(last=True)
        self.guests.settle()  # what went wrong while watching belongs into the result
        result = self._result(final=True)
        self._safely("the results", lambda: write_json(self.folder / CAMPAIGN, result))
        self._note("campaign_ended", "", {"status": result.status})
        counts = {s: result.count(s) for s in ("completed", "failed", "skipped", "cancelled")}
        self.tell(CampaignEnded(result.status, counts, result.seconds))
        self._report(result)
        good = result.status == "completed" and not self.cancel.requested
        return Outcome(result, self.folder, 0 if good else 1, tuple(self._reports))

    def _tidy(self, nodes: Collection[str] | None = None) -> None:
        """Try again what could not be undone on these nodes, or on all: a node that was away may be back."""
        if self.cancel.requested or all(t.clean for r in self._results for t in r.trials):
            return
        due = [s for s in open_trials(self.folder) if s.ended and (nodes is None or used_nodes([s]) & {*nodes})]
        of, plugins = self.plan.config.nodes, self.request.plugins
        cleaned: dict[str, TrialResult] = {}
        self._safely(
            "what a later cleanup did",
            lambda: cleaned.update(
                (r.trial, r.result)
                for r in cleanup_open(self.folder, of, plugins, self.tell, self.lock, self.journal, due)
            ),
        )
        for at, result in enumerate(self._results):
            trials = tuple(merged(t, cleaned[t.trial]) if t.trial in cleaned else t for t in result.trials)
            self._results[at] = evolve(result, trials=trials)

    def _begin(self, names: tuple[str, ...]) -> None:
        entry = {
            "tool": _TOOL,
            "host": os.uname().nodename,
            "command": list(self.request.command),
            **self.past.config,
        }
        kind, only = "resumed", self.request.only
        if not self.request.resume:
            first = {"run": self.folder.name, "mark": self.past.mark, "scenarios": names}
            kind, entry = "campaign", {**first, "only": None if only is None else list(only), **entry}
        try:
            self.journal.append([(kind, "", entry)])
        except OSError as error:
            raise ConfigError([f"{self.folder}: the journal cannot be written: {error.strerror}"]) from error

    # -- which, and whether ---------------------------------------------------------------------------------------

    def _why_not(self, scenario: Scenario) -> str:
        if self.cancel.requested:
            return self.cancel.reason
        if not scenario.enabled:
            return "Scenario is disabled"
        if scenario.skip:
            return scenario.skip
        verdicts = {r.scenario: r.status for r in self._results}
        for name in scenario.depends_on:
            if verdicts.get(name, "completed") != "completed":
                return f"it depends on {name}, which has {verdicts[name]}"
        failed = next((r.scenario for r in self._results if r.status == "failed"), None)
        if failed and not self.plan.config.policy.continue_on_failure:
            return f"Previous scenario failed: {failed}"
        return self.fitness.left_out(scenario, self.plan.config.policy.max_node_failures)

    def _skip(self, scenario: Scenario, why: str) -> None:
        self.tell(ScenarioSkipped(why, scenario=scenario.name))
        status: Status = "cancelled" if self.cancel.requested else "skipped"
        self._keep(verdict_of(scenario, status, why, ()))

    def _keep(self, result: ScenarioResult) -> None:
        self._results.append(result)
        self.tell(ScenarioEnded(result, scenario=result.scenario))
        self._safely("the results", lambda: write_json(self.folder / CAMPAIGN, self._result(final=False)))

    def _pause(self, rest: tuple[Scenario, ...]) -> None:
        wait = self.plan.config.policy.wait_between
        if wait and any(not self._why_not(s) and self._attempts_left(s) for s in rest):
            self._wait("before the next scenario", wait)

    def _wait(self, why: str, seconds: float) -> None:
        if seconds > 0 and not self.cancel.requested:
            self.tell(Waiting(why, seconds))
            self.cancel.wait(seconds)

    # -- one scenario ---------------------------------------------------------------------------------------------

    def _scenario(self, scenario: Scenario) -> ScenarioResult:
        kept = self.past.kept.get(scenario.name, ())
        done = list(kept)
        for number in range(self._attempts_left(scenario)):
            if number:
                if not self._deserves_another(done[-1]) or self._why_not(scenario):
                    break
                self._wait(f"before attempt {len(done) + 1} of {scenario.name}", self.plan.config.policy.retry_interval)
                if self.cancel.requested:
                    break
            if why := self.fitness.why_not(scenario):
                return verdict_of(scenario, "failed", why, tuple(done))
            if self.cancel.requested:
                return verdict_of(scenario, "cancelled", self.cancel.reason, tuple(done))
            done.append(self._trial(scenario, len(done) + 1))
            self.fitness.learn(scenario, done[-1])
        return verdict_of(scenario, done[-1].status, reason_of(done[-1]), tuple(done))

    def _attempts_left(self, scenario: Scenario) -> int:
        """How many trials a scenario may have yet, after those that an earlier process ran."""
        allowed = self.plan.config.policy.retries + 1
        kept = self.past.kept.get(scenario.name, ())
        if kept and self.past.again and kept[-1].status == "failed":
            return allowed
        if kept and not self._deserves_another(kept[-1]):
            return 0
        return max(0, allowed - len(kept))

    def _deserves_another(self, trial: TrialResult) -> bool:
        return trial.status == "failed" and not (trial.failure and trial.failure.error_class in _NEVER_AGAIN)

    def _next_id(self, scenario: Scenario) -> str:
        while True:
            self._trials += 1
            made = trial_id(self.folder, scenario.name, self._trials, mark=self.past.mark)
            if made not in self.past.used:
                return made

    def _trial(self, scenario: Scenario, attempt: int) -> TrialResult:
        self._tidy(scenario.node_names)
        trial = Trial(self._next_id(scenario), scenario, attempt)
        directory = trial_folder(self.folder, scenario.name, trial.id, attempt)
        entry = {
            "scenario": scenario.name, "attempt": attempt, "folder": str(directory.relative_to(self.folder)),
            "nodes": list(scenario.node_names), "services": [s.name for s in scenario.services],
        }  # fmt: skip
        self._safely("the interrupted trial's folder", lambda: set_aside(self.folder, directory, trial.id))
        if not self._note("trial", trial.id, entry):
            return not_begun(trial, "the journal could not be written, so nothing was begun")
        services = tuple(s.name for s in scenario.services)
        self.tell(TrialStarted(attempt, scenario.node_names, services, trial=trial.id, scenario=scenario.name))
        job = Job(
            self.folder,
            trial,
            directory,
            self.plan.config.nodes,
            self.request.plugins,
            log_level=self.request.log_level,
            patience=self.request.patience,
            memory=self._memory(),
        )
        try:
            result = self._perform(job)
        except OSError as error:
            result = not_begun(trial, f"its process could not be run: {error}")
        if result.status == "completed" and self.plan.config.policy.isolation == "strict" and not result.clean:
            result = evolve(result, status="failed")
        self._safely("the trial's result", lambda: write_json(directory / TRIAL, result))
        self._note("trial_ended", trial.id, {"status": result.status, "clean": result.clean})
        self.tell(TrialEnded(result, trial=trial.id, scenario=scenario.name))
        return result

    def _memory(self) -> int:
        said = self.plan.config.policy.trial_memory
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2 if said is None else said

    def _perform(self, job: Job) -> TrialResult:
        if not self.request.in_process:
            return run_trial(job, self.journal, self.tell, self.cancel, self.lock)

        def record(kind: str, data: Mapping[str, Any]) -> None:
            self.journal.append([(kind, job.trial.id, encode(data))])

        return perform(job, self.tell, record, self.cancel, hooks=self.hooks, loader=self.loader)

    # -- keeping, whatever the disk says ---------------------------------------------------------------------------

    def _note(self, kind: str, trial: str, data: Mapping[str, Any]) -> bool:
        return self._safely("the journal", lambda: self.journal.append([(kind, trial, data)]))

    def _safely(self, what: str, write: Callable[[], None]) -> bool:
        try:
            self.reserve.keep(write)
        except OSError as error:
            self._warn(f"{what} could not be written: {error}")
            return False
        return True

    # -- telling --------------------------------------------------------------------------------------------------

    def tell(self, event: Event) -> None:
        """Give an event to every plugin that watches, without waiting for any; what warns of the campaign is kept."""
        if isinstance(event, Warned) and not event.trial:
            self._warnings.append(event.message)
        self.guests.tell(event)

    def _warn(self, message: str) -> None:
        self.tell(Warned(message))

    def _report(self, result: CampaignResult) -> None:
        for paths in self.guests.call("playbook_report", self.request.patience.report, Cancel(), result=result):
            for path in paths or ():
                self._reports.append(Path(path))
                self.tell(ReportWritten(str(path)))

    def _result(self, *, final: bool) -> CampaignResult:
        statuses = {r.status for r in self._results}
        ended: Status = (
            "cancelled" if self.cancel.requested or "cancelled" in statuses
            else "failed" if "failed" in statuses
            else "completed"
        )  # fmt: skip
        return CampaignResult(
            self.folder.name,
            self.past.started,
            now(),
            round(self.past.seconds + time.monotonic() - self._began, 3),
            ended if final else "running",
            tuple(self._results),
            _TOOL,
            self.past.command or self.request.command,
            {
                **dict.fromkeys(sorted(n for n, _ in self.hooks.list_name_plugin()), "not installed"),
                **{
                    o.name: "" if o.built_in else f"{o.distribution} {o.version}"
                    for o in self.loader.hook_offers()
                    if self.hooks.has_plugin(o.name)
                },
            },
            tuple(self._warnings),
            interruptions=self._interruptions,
        )
