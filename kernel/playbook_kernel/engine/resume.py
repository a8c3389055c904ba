"""Going on with a run that ended too early: what it decided is kept, what was under way is undone and then repeated."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import field, frozen

from playbook_kernel.errors import ConfigError
from playbook_kernel.model import TrialResult

from .digest import differences, digest
from .job import PluginSettings
from .journal import Record, TrialState, read, trials
from .plan import Plan
from .recover import cleanup_open, finished
from .store import JOURNAL, load_campaign, run_mark

_ORPHAN_SECONDS = 20.0
"""How long to wait for processes of the run whose parent has died: they leave when they notice it."""


@frozen
class Past:
    """What earlier processes of the run came to; that of a new run is empty.

    ``kept``: finished trials by scenario. ``used``: ids that no further trial may have. ``again``: scenarios that failed
    get another chance. ``notes``: what the user should know about going on. ``config``: of the journal, to be repeated in it.
    """

    mark: str
    config: Mapping[str, Any]
    started: str = ""
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
    patience: float = _ORPHAN_SECONDS


def first(run: Path, plan: Plan) -> Past:
    """The past of a run that begins now."""
    salt = secrets.token_hex(16)
    return Past(run_mark(run), {"salt": salt, "config": digest(plan.config, plan.scenarios, salt)})


def asked_for(run: Path) -> tuple[str, ...] | None:
    """The scenarios that a run was asked for by name; None: all. Raises ConfigError, JournalDamaged."""
    names = _campaign(run, _records(run)).data.get("only")
    return None if names is None else tuple(names)


def take_up(resume: Resume, plan: Plan, plugins: PluginSettings, lock: int) -> Past:
    """Check that it is still the same campaign, clean up after what was under way, and find what is to be kept.

    Raises ConfigError with the differences, before anything is touched.
    """
    run = resume.run
    records = _records(run)
    campaign = _campaign(run, records)
    then = next(r.data for r in reversed(records) if r.type in ("campaign", "resumed"))
    salt = str(then.get("salt", ""))
    now = digest(plan.config, plan.scenarios, salt)
    changed = differences(then.get("config", {}), now)
    if changed and not resume.accept:
        raise ConfigError(
            [f"{run.name}: {what}" for what in changed],
            hint="--accept-changes goes on all the same; a run of its own compares better",
        )
    recovered = cleanup_open(run, plan.config.nodes, plugins, lambda _event: None, lock)
    states = trials(_records(run))
    kept = _kept(run, states.values())
    repeated = [r for r in recovered if r.trial not in {t.trial for of in kept.values() for t in of}]
    notes = [f"the configuration has changed since the run began: {what}" for what in changed]
    notes += [f"{r.trial} was under way when the run ended; it {_how(r.result)}" for r in repeated]
    before = None
    with contextlib.suppress(ConfigError):  # it died before the first verdict
        before = load_campaign(run)
    return Past(
        str(campaign.data.get("mark") or run_mark(run)),
        {"salt": salt, "config": now, "changes": changed},
        campaign.utc,
        before.seconds if before else 0.0,
        tuple(campaign.data["command"]),
        kept,
        frozenset(s.trial for s in states.values() if s.open) | {t.trial for of in kept.values() for t in of},
        resume.again,
        before.interruptions if before else (),
        before.warnings if before else (),
        tuple(notes),
    )


def _kept(run: Path, states: Iterable[TrialState]) -> dict[str, tuple[TrialResult, ...]]:
    found: dict[str, tuple[TrialResult, ...]] = {}
    for state in states:
        result = finished(run, state)
        if result is not None:
            found[state.scenario] = (*found.get(state.scenario, ()), result)
    return found


def _how(result: TrialResult) -> str:
    if result.clean:
        return "was cleaned up after, and is repeated"
    return "could not be cleaned up after yet; it is repeated under another name"


def _records(run: Path) -> list[Record]:
    path = run / JOURNAL
    if not path.is_file():
        raise ConfigError([f"{run}: is not a run's folder: it has no {JOURNAL}"])
    return read(path)


def _campaign(run: Path, records: Sequence[Record]) -> Record:
    if not records:
        raise ConfigError([f"{run}: the run ended before it began anything"], hint="start a new one")
    return records[0]
