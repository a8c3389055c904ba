"""Cleaning up after a run whose processes are gone, from nothing but its journal and the configuration."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from attrs import evolve, frozen

from playbook_kernel import logs
from playbook_kernel.context import CampaignContext
from playbook_kernel.errors import ConfigError
from playbook_kernel.loading import PluginSettings, load_hooks
from playbook_kernel.model import DriverRef, Event, Node, Scenario, Service, Trial, TrialResult, Warned
from playbook_kernel.model.record import Record
from playbook_kernel.scope import Cancel

from .claims import claimed
from .guests import Guests
from .host import TrialHost, clean_up
from .job import Job
from .journal import Journal, TrialState, read, trials
from .patience import Patience
from .sessions import LOCAL
from .store import JOURNAL, LOG, Reserve, load_trial, run_lock

ORPHAN_SECONDS = 20.0
"""How long to wait for processes of a run whose parent has died: they leave when they notice it."""


@frozen
class Recovered:
    """One trial that was cleaned up after. ``result.clean``: it was verified that nothing is left."""

    trial: str
    scenario: str
    result: TrialResult


def open_trials(run: Path) -> list[TrialState]:
    """The trials of a run that may have left something. Raises ConfigError, JournalDamaged."""
    return [t for t in trials(records(run)).values() if t.open or not t.ended]


def records(run: Path) -> list[Record]:
    """What the journal of a run says. Raises ConfigError, JournalDamaged."""
    path = run / JOURNAL
    if not path.is_file():
        raise ConfigError([f"{run}: is not a run's folder: it has no {JOURNAL}"])
    return read(path)


def cleanup_run(
    run: Path, nodes: Mapping[str, Node], plugins: PluginSettings, tell: Callable[[Event], None]
) -> list[Recovered]:
    """Clean up after every trial of a run that may have left something.

    Raises PlaybookError while a process of the run lives, NodeError while another campaign is at work on one of its nodes,
    and ConfigError when a node that the journal names is not configured any more.
    """
    left = open_trials(run)
    if not left:
        return []
    used = {n: nodes[n] for n in used_nodes(left) & nodes.keys()}
    with (
        run_lock(run, patience=ORPHAN_SECONDS) as lock,
        _journal(run) as journal,
        _claimed(run, used, plugins, tell),
    ):
        return cleanup_open(run, nodes, plugins, tell, lock, journal)


def cleanup_open(
    run: Path,
    nodes: Mapping[str, Node],
    plugins: PluginSettings,
    tell: Callable[[Event], None],
    lock: int,
    journal: Journal,
    left: Sequence[TrialState] | None = None,
) -> list[Recovered]:
    """Like :func:`cleanup_run`, for whoever holds the run's lock and its nodes; ``left``: only after these."""
    left = open_trials(run) if left is None else left
    if missing := sorted(used_nodes(left) - nodes.keys()):
        raise ConfigError([f"{run}: the run used node {n!r}, which is not configured now" for n in missing])
    done = []
    for state in left:
        for temporary in Path(tempfile.gettempdir()).glob(f"{state.trial}.*"):
            shutil.rmtree(temporary, ignore_errors=True)
        result = clean_up(_job(run, state, nodes, plugins), state.open, journal, tell, lock)
        journal.append([("recovered", state.trial, {"clean": result.clean})])
        if not state.ended:
            kept = finished(run, state)
            status = "cancelled" if kept is None else kept.status
            journal.append([("trial_ended", state.trial, {"status": status, "clean": result.clean})])
        done.append(Recovered(state.trial, state.scenario, result))
    return done


def orphans(
    folder: Path, nodes: Mapping[str, Node], plugins: PluginSettings, tell: Callable[[Event], None], *, remove: bool
) -> tuple[dict[str, tuple[str, ...]], list[Recovered], tuple[str, ...]]:
    """Find the trials, of whatever run, that left something on these nodes, and clean up after them (if ``remove``).

    Nobody else is at work there: that is made sure of first. Returns the nodes by trial, what came of it, and what went
    wrong while looking. What is done is written down in ``folder``. Raises NodeError.
    """
    with (
        run_lock(folder) as lock,
        _journal(folder) as journal,
        _claimed(folder, nodes, plugins, tell),
    ):
        survey = _job(folder, TrialState("pk-survey-0", "survey", 1, ".", tuple(nodes)), nodes, plugins)
        seen = TrialHost(evolve(survey, mode="survey"), journal, tell, Cancel(), lock).run()
        found: dict[str, tuple[str, ...]] = {}
        for node, facts in sorted(seen.facts.items()):
            for trial in facts.get("left_behind", ()):
                found[trial] = (*found.get(trial, ()), node)
        done = []
        for trial, where in found.items() if remove else ():
            state = TrialState(trial, "orphan", 1, trial, where)
            entry = {"scenario": "orphan", "attempt": 1, "folder": trial, "nodes": list(where)}
            journal.append([("trial", trial, entry)])
            result = clean_up(_job(folder, state, nodes, plugins), (), journal, tell, lock)
            journal.append([("recovered", trial, {"clean": result.clean})])
            done.append(Recovered(trial, "orphan", result))
    failure = seen.failure
    return found, done, (failure.error,) if failure else ()


@contextmanager
def _journal(run: Path) -> Iterator[Journal]:
    logs.configure(run_log=run / LOG)
    reserve = Reserve(run)  # also one that a dead process has left
    journal = Journal(run / JOURNAL, reserve.keep)
    try:
        yield journal
    finally:
        journal.close()
        reserve.spend(last=True)


def used_nodes(states: Sequence[TrialState]) -> set[str]:
    """Every node that these trials may have left something on; this machine needs no name."""
    return {n for t in states for n in (*t.nodes, *(e.node for e in t.open))} - {"", LOCAL}


def _claimed(
    run: Path, nodes: Mapping[str, Node], plugins: PluginSettings, tell: Callable[[Event], None]
) -> AbstractContextManager[None]:
    """Hold nodes within the block, for whoever has no campaign."""
    loader, patience = plugins.loader(), Patience()
    ctx = CampaignContext(
        run.name, run, nodes, logs.logger("cleanup"), loader.build, warn=lambda message: tell(Warned(message))
    )
    guests = Guests(load_hooks(loader), ctx, ctx.warn, patience.watch, patience.grace)
    return claimed(guests, nodes, 0.0, patience.claim, Cancel())


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
    return Job(run, Trial(state.trial, scenario, state.attempt), folder, nodes, plugins, "cleanup", state.open)
