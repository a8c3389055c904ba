"""A campaign: scenarios in order, each trial in a process of its own, every verdict kept at once, a report at the end."""

from __future__ import annotations

import fcntl
import functools
import hashlib
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import define, evolve, field, frozen

from playbook_kernel import __version__, logs
from playbook_kernel.context import CampaignContext
from playbook_kernel.errors import ConfigError, PlaybookError
from playbook_kernel.loading import HookManager, Loader, origin
from playbook_kernel.model import (
    CampaignEnded,
    CampaignResult,
    CampaignStarted,
    Event,
    PhaseOutcome,
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

from .host import run_trial
from .job import Job, Patience, PluginSettings, perform
from .journal import Journal
from .plan import Plan
from .store import JOURNAL, LOCK, LOG, new_run, now, save_campaign, save_trial, trial_folder

_NEVER_AGAIN = ("config", "plugin", "cancelled")
_SIGNALS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


@frozen
class RunRequest:
    """How a plan is to be run. ``name`` becomes part of the run folder's name."""

    results_dir: Path
    name: str = "all_scenarios"
    in_process: bool = False
    plugins: PluginSettings = field(factory=PluginSettings)
    log_level: str = "INFO"
    log_dir: Path | None = None
    command: tuple[str, ...] = ()
    patience: Patience = field(factory=Patience)


@frozen
class Outcome:
    """What came of it. ``exit_code``: 0 good, 1 something failed, 128 + the signal that ended it. ``reports``: to open."""

    result: CampaignResult
    folder: Path
    exit_code: int
    reports: tuple[Path, ...] = ()


def run(plan: Plan, request: RunRequest, hooks: HookManager, loader: Loader) -> Outcome:
    """Run a plan. Raises ConfigError when results cannot be kept; everything later is part of the result."""
    folder = new_run(request.results_dir, request.name)
    logs.configure(request.log_level, run_log=folder / LOG, text_dir=request.log_dir)
    with run_lock(folder) as lock:
        return _Campaign(plan, request, hooks, loader, folder, lock).run()


@contextmanager
def run_lock(folder: Path) -> Iterator[int]:
    """Hold the run's lock; a child inherits it, so nobody takes a run over while one of its processes lives."""
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PlaybookError(
                f"{folder}: a process of this run is still at work", hint="wait for it to end, then try again"
            ) from None
        yield descriptor
    finally:
        os.close(descriptor)


def trial_id(run: Path, scenario: str, number: int) -> str:
    """An id that is unique on every node and safe in names: ``pk-<run>-<scenario>-<number>``.

    >>> len(trial_id(Path("/r/20260101_000000_all"), "A very long scenario's name, indeed", 3)) <= 40
    True
    """
    mark = hashlib.sha256(f"{run.resolve()}".encode()).hexdigest()[:8]
    slug = re.sub(r"[^a-z0-9]+", "-", scenario.lower()).strip("-")[:20].strip("-") or "x"
    return f"pk-{mark}-{slug}-{number}"


@define(eq=False)
class _Campaign:
    plan: Plan
    request: RunRequest
    hooks: HookManager
    loader: Loader
    folder: Path
    lock: int
    cancel: Cancel = field(factory=Cancel)
    signal_code: int = 0
    log: Any = field(init=False)
    journal: Journal = field(init=False)
    ctx: CampaignContext = field(init=False)
    _results: list[ScenarioResult] = field(factory=list)
    _reports: list[Path] = field(factory=list)
    _warnings: list[str] = field(factory=list)
    _blamed: set[str] = field(factory=set)
    _trials: int = 0
    _started: str = field(factory=now)
    _began: float = field(factory=time.monotonic)

    def __attrs_post_init__(self) -> None:
        self.log = logs.logger("campaign")
        self.journal = Journal(self.folder / JOURNAL)
        self.ctx = CampaignContext(
            self.folder.name,
            self.folder,
            self.plan.config.nodes,
            self.log,
            self.loader.build,
            self.plan.config.reporters,
        )
        self._warnings += self.plan.warnings

    def run(self) -> Outcome:
        scenarios = self.plan.scenarios
        names = tuple(s.name for s in scenarios)
        entry = {
            "run": self.folder.name, "scenarios": names, "tool": _tool(), "command": list(self.request.command),
        }  # fmt: skip
        try:
            self.journal.append([("campaign", "", entry)])
        except OSError as error:
            raise ConfigError([f"{self.folder}: the journal cannot be written: {error.strerror}"]) from error
        self.tell(CampaignStarted(self.folder.name, str(self.folder), names))
        with self._signals():
            for index, scenario in enumerate(scenarios):
                why = self._why_not(scenario)
                if why:
                    self._skip(scenario, why)
                    continue
                self._keep(self._scenario(scenario))
                self._pause(scenarios[index + 1 :])
            result = self._result(final=True)
            self._safely("the results", lambda: save_campaign(self.folder, result))
            self._note("campaign_ended", "", {"status": result.status})
            counts = {s: result.count(s) for s in ("completed", "failed", "skipped", "cancelled")}
            self.tell(CampaignEnded(result.status, counts, result.seconds))
            self._report(result)
        self.journal.close()
        failed = result.count("failed") or result.count("cancelled")
        code = self.signal_code or (1 if failed else 0)
        return Outcome(result, self.folder, code, tuple(self._reports))

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
        if not self.plan.config.policy.continue_on_failure:
            failed = next((r.scenario for r in self._results if r.status == "failed"), None)
            if failed:
                return f"Previous scenario failed: {failed}"
        return ""

    def _skip(self, scenario: Scenario, why: str) -> None:
        self.tell(ScenarioSkipped(why, scenario=scenario.name))
        status: Status = "cancelled" if self.cancel.requested else "skipped"
        self._keep(_verdict(scenario, status, why, ()))

    def _keep(self, result: ScenarioResult) -> None:
        self._results.append(result)
        self.tell(ScenarioEnded(result, scenario=result.scenario))
        self._safely("the results", lambda: save_campaign(self.folder, self._result(final=False)))

    def _pause(self, rest: tuple[Scenario, ...]) -> None:
        wait = self.plan.config.policy.wait_between
        if wait and any(not self._why_not(s) for s in rest):
            self._wait("before the next scenario", wait)

    def _wait(self, why: str, seconds: float) -> None:
        if seconds > 0 and not self.cancel.requested:
            self.tell(Waiting(why, seconds))
            self.cancel.wait(seconds)

    # -- one scenario ---------------------------------------------------------------------------------------------

    def _scenario(self, scenario: Scenario) -> ScenarioResult:
        policy = self.plan.config.policy
        done: list[TrialResult] = []
        for attempt in range(1, policy.retries + 2):
            done.append(self._trial(scenario, attempt))
            failure = done[-1].failure
            if (
                done[-1].status != "failed"
                or self.cancel.requested
                or (failure and failure.error_class in _NEVER_AGAIN)
            ):
                break
            if attempt <= policy.retries:
                self._wait(f"before attempt {attempt + 1} of {scenario.name}", policy.retry_interval)
                if self.cancel.requested:
                    break
        last = done[-1]
        return _verdict(scenario, last.status, _reason(last), tuple(done))

    def _trial(self, scenario: Scenario, attempt: int) -> TrialResult:
        self._trials += 1
        trial = Trial(trial_id(self.folder, scenario.name, self._trials), scenario, attempt)
        directory = trial_folder(self.folder, scenario.name, trial.id, attempt)
        entry = {
            "scenario": scenario.name, "attempt": attempt, "folder": str(directory.relative_to(self.folder)),
            "nodes": list(scenario.node_names),
        }  # fmt: skip
        if not self._note("trial", trial.id, entry):
            return _not_begun(trial, "the journal could not be written, so nothing was begun")
        services = tuple(s.name for s in scenario.services)
        self.tell(TrialStarted(attempt, scenario.node_names, services, trial=trial.id, scenario=scenario.name))
        nodes = self.plan.config.nodes
        job = Job(
            self.folder.name,
            self.folder,
            trial,
            directory,
            nodes,
            self.request.plugins,
            log_level=self.request.log_level,
            patience=self.request.patience,
        )
        try:
            result = self._perform(job)
        except OSError as error:
            result = _not_begun(trial, f"its process could not be run: {error}")
        if result.status == "completed" and self.plan.config.policy.isolation == "strict" and not result.clean:
            result = evolve(result, status="failed")
        self._safely("the trial's result", lambda: save_trial(directory, result))
        self._note("trial_ended", trial.id, {"status": result.status, "clean": result.clean})
        self.tell(TrialEnded(result, trial=trial.id, scenario=scenario.name))
        return result

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
            write()
        except OSError as error:
            self.tell(Warned(f"{what} could not be written: {error}"))
            return False
        return True

    # -- telling --------------------------------------------------------------------------------------------------

    def tell(self, event: Event) -> None:
        """Give an event to every plugin that watches; one that raises is told once, and harms nobody."""
        if isinstance(event, Warned) and not event.trial:
            self._warnings.append(event.message)
        _, errors = self.hooks.call_isolated("playbook_event", ctx=self.ctx, event=event)
        for error in errors:
            plugin = origin(error)
            if plugin not in self._blamed:
                self._blamed.add(plugin)
                self.log.error("a plugin failed at an event", plugin=plugin, exc_info=error)
                self._warnings.append(f"plugin {plugin} failed while watching: {type(error).__name__}: {error}")

    def _report(self, result: CampaignResult) -> None:
        written, errors = self.hooks.call_isolated("playbook_report", ctx=self.ctx, result=result)
        for paths in written:
            for path in paths:
                self._reports.append(Path(path))
                self.tell(ReportWritten("", str(path)))
        for error in errors:
            self.log.error("a report could not be written", plugin=origin(error), exc_info=error)
            self.tell(Warned(f"a report could not be written: {error} (plugin {origin(error)})"))

    def _result(self, *, final: bool) -> CampaignResult:
        statuses = {r.status for r in self._results}
        status: Status = "running"
        if final:
            ended: Callable[[Status], bool] = statuses.__contains__
            status = (
                "cancelled" if self.signal_code or ended("cancelled") else "failed" if ended("failed") else "completed"
            )
        return CampaignResult(
            self.folder.name,
            self._started,
            now(),
            round(time.monotonic() - self._began, 3),
            status,
            tuple(self._results),
            _tool(),
            self.request.command,
            dict.fromkeys(sorted(n for n, _ in self.hooks.list_name_plugin()), ""),
            tuple(self._warnings),
        )

    # -- signals --------------------------------------------------------------------------------------------------

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """First signal: stop, collect, clean up, report. Second: leave at once, and say what cleans up."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._on_signal) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, _: object) -> None:
        code = _SIGNALS[signal.Signals(number)]
        if self.signal_code:
            text = f"\nleaving at once; what may be left is cleaned up by:\n  playbook-kernel cleanup {self.folder}\n"
            os.write(2, text.encode())
            os._exit(code)
        self.signal_code = code
        name = signal.Signals(number).name
        os.write(2, f"\n{name}: stopping, then collecting and cleaning up (again to leave at once)\n".encode())
        # Watchers take locks that the interrupted code may hold, so they run on a thread of their own.
        threading.Thread(target=functools.partial(self.cancel.set, f"interrupted by {name}"), daemon=True).start()


def _tool() -> str:
    return f"playbook-kernel {__version__}"


def _reason(trial: TrialResult) -> str:
    failure = trial.failure
    if failure is not None:
        return f"{failure.phase}: {failure.error}"
    return "" if trial.status == "completed" else "it was not proven that nothing is left on the nodes"


def _not_begun(trial: Trial, why: str) -> TrialResult:
    outcome = PhaseOutcome("discover", "failed", 0.0, now(), why, "internal", hint="is the disk full?")
    return TrialResult(trial.id, trial.scenario.name, "failed", trial.attempt, now(), now(), phases=(outcome,))


def _verdict(scenario: Scenario, status: Status, reason: str, trials: tuple[TrialResult, ...]) -> ScenarioResult:
    return ScenarioResult(
        scenario.name, status, reason, scenario.description, str(scenario.directory), scenario.tags, trials
    )
