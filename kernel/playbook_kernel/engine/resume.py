"""Going on with a run that ended too early: what it decided is kept, what was under way is undone and then repeated."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from attrs import evolve, field, frozen

from playbook_kernel.errors import ConfigError
from playbook_kernel.loading import PluginSettings
from playbook_kernel.model import TrialResult
from playbook_kernel.model.record import Record

from .digest import differences, digest
from .journal import Journal, TrialState, trials
from .plan import Plan
from .recover import ORPHAN_SECONDS, cleanup_open, finished, records
from .store import load_campaign, run_mark
from .store import now as utc


@frozen
class Past:
    """What earlier processes of the run came to; that of a new run is empty.

    ``kept``: finished trials by scenario. ``used``: ids that no further trial may have. ``again``: scenarios that failed
    get another chance. ``notes``: what the user should know about going on. ``config``: of the journal, to be repeated in it.
    """

    mark: str
    config: Mapping[str, Any]
    started: str
    seconds: float = 0.0
    command: tuple[str, ...] = ()
    kept: Mapping[str, tuple[TrialResult, ...]] = field(factory=dict)
    used: frozenset[str] = frozenset()
    again: bool = False
    interruptions: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@frozen
class Resume:
    """A run to go on with. ``again``: also what failed. ``accept``: although the configuration has changed."""

    run: Path
    again: bool = False
    accept: bool = False
    patience: float = ORPHAN_SECONDS


def first(run: Path, plan: Plan) -> Past:
    """The past of a run that begins now."""
    salt = secrets.token_hex(16)
    return Past(run_mark(run), {"salt": salt, "config": digest(plan.config, plan.scenarios, salt)}, utc())


def asked_for(run: Path) -> tuple[str, ...] | None:
    """The scenarios that a run was asked for by name; None: all. Raises ConfigError, JournalDamaged."""
    names = _begun(run)[0].data.get("only")
    return None if names is None else tuple(names)


def check(resume: Resume, plan: Plan) -> Past:
    """The beginning of a run that is to be gone on with. Raises ConfigError with whatever has changed since."""
    run = resume.run
    campaign, *later = _begun(run)
    then = next(r.data for r in reversed([campaign, *later]) if r.type in ("campaign", "resumed"))
    salt = str(then.get("salt", ""))
    now = digest(plan.config, plan.scenarios, salt)
    changed = differences(then.get("config", {}), now)
    if changed and not resume.accept:
        raise ConfigError(
            [f"{run.name}: {what}" for what in changed],
            hint="--accept-changes goes on all the same; a run of its own compares better",
        )
    return Past(
        str(campaign.data.get("mark") or run_mark(run)),
        {"salt": salt, "config": now, "changes": changed},
        campaign.utc,
        command=tuple(campaign.data["command"]),
        again=resume.again,
        notes=tuple(f"the configuration has changed since the run began: {what}" for what in changed),
    )


def take_up(resume: Resume, past: Past, plan: Plan, plugins: PluginSettings, lock: int, journal: Journal) -> Past:
    """Clean up after what was under way, and find what is to be kept."""
    run = resume.run
    recovered = cleanup_open(run, plan.config.nodes, plugins, lambda _event: None, lock, journal)
    states = trials(records(run))
    kept = _kept(run, states.values())
    finished_ids = {t.trial for of in kept.values() for t in of}
    ways = (
        "could not be cleaned up after yet; it is repeated under another name",
        "was cleaned up after, and is repeated",
    )
    notes = [f"{r.trial} was under way when the run ended; it {ways[bool(r.result.clean)]}" for r in recovered]
    before = None
    with contextlib.suppress(ConfigError):  # it died before the first verdict
        before = load_campaign(run)
    return evolve(
        past,
        seconds=before.seconds if before else 0.0,
        kept=kept,
        used=frozenset(s.trial for s in states.values() if s.open) | finished_ids,
        interruptions=before.interruptions if before else (),
        warnings=before.warnings if before else (),
        notes=(*past.notes, *(note for r, note in zip(recovered, notes, strict=True) if r.trial not in finished_ids)),
    )


def _kept(run: Path, states: Iterable[TrialState]) -> dict[str, tuple[TrialResult, ...]]:
    found: dict[str, tuple[TrialResult, ...]] = {}
    for state in states:
        if (result := finished(run, state)) is not None:
            found[state.scenario] = (*found.get(state.scenario, ()), result)
    return found


def _begun(run: Path) -> list[Record]:
    known = records(run)
    if not known:
        raise ConfigError([f"{run}: the run ended before it began anything"], hint="start a new one")
    return known
