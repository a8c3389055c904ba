"""Cleaning up after a run whose processes are gone, from nothing but its journal and the configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from attrs import evolve, frozen

from playbook_kernel import logs
from playbook_kernel.errors import ConfigError
from playbook_kernel.model import DriverRef, Event, Node, Scenario, Service, Trial, TrialResult

from .host import clean_up
from .job import Job, PluginSettings
from .journal import Journal, TrialState, read, trials
from .store import JOURNAL, LOG, load_trial, run_lock


@frozen
class Recovered:
    """One trial that was cleaned up after. ``result.clean``: it was verified that nothing is left."""

    trial: str
    scenario: str
    result: TrialResult


def open_trials(run: Path) -> list[TrialState]:
    """The trials of a run that may have left something. Raises ConfigError, JournalDamaged."""
    path = run / JOURNAL
    if not path.is_file():
        raise ConfigError([f"{run}: is not a run's folder: it has no {JOURNAL}"])
    return [t for t in trials(read(path)).values() if t.open or not t.ended]


def cleanup_run(
    run: Path, nodes: Mapping[str, Node], plugins: PluginSettings, tell: Callable[[Event], None]
) -> list[Recovered]:
    """Clean up after every trial of a run that may have left something.

    Waits for nobody: raises PlaybookError while a process of the run lives. Raises ConfigError when a node that the journal
    names is not configured any more.
    """
    open_trials(run)
    with run_lock(run) as lock:
        return cleanup_open(run, nodes, plugins, tell, lock)


def cleanup_open(
    run: Path, nodes: Mapping[str, Node], plugins: PluginSettings, tell: Callable[[Event], None], lock: int
) -> list[Recovered]:
    """Like :func:`cleanup_run`, for whoever holds the run's lock."""
    left = open_trials(run)
    used = {n for t in left for n in (*t.nodes, *(e.node for e in t.open))}
    if missing := sorted(used - nodes.keys() - {""}):
        raise ConfigError([f"{run}: the run used node {n!r}, which is not configured now" for n in missing])
    done = []
    logs.configure(run_log=run / LOG)
    journal = Journal(run / JOURNAL)
    try:
        for state in left:
            result = clean_up(_job(run, state, nodes, plugins), state.open, journal, tell, lock)
            journal.append([("recovered", state.trial, {"clean": result.clean})])
            if not state.ended:
                kept = finished(run, state)
                status = "cancelled" if kept is None else kept.status
                journal.append([("trial_ended", state.trial, {"status": status, "clean": result.clean})])
            done.append(Recovered(state.trial, state.scenario, result))
    finally:
        journal.close()
    return done


def finished(run: Path, state: TrialState) -> TrialResult | None:
    """The result of a trial that came to its end; None if it was interrupted, and is worth nothing."""
    result = load_trial(run / state.folder)
    if result is None or result.trial != state.trial or result.status not in ("completed", "failed"):
        return None
    return result


def _job(run: Path, state: TrialState, nodes: Mapping[str, Node], plugins: PluginSettings) -> Job:
    # Cleanup needs to know where to look, not what ran: one nameless service carries the nodes.
    folder = run / state.folder
    scenario = Scenario(state.scenario, folder, DriverRef("noop"))
    scenario = evolve(scenario, services=(Service("*", state.nodes, folder),))
    return Job(
        run.name, run, Trial(state.trial, scenario, state.attempt), folder, nodes, plugins, "cleanup", state.open
    )
