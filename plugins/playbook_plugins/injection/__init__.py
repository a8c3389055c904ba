"""Faults that a scenario asks for: made while its load runs, healed in time, undone at the end, written down throughout.

A fault is an effect of kind ``fault`` in the journal before it is made, and open until it is healed: what a process that
died has broken, `cleanup` makes good. What it broke on purpose is no surprise to the look at the services after the benchmark.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterable

from attrs import evolve
from playbook_kernel.api import (
    Artifact,
    Deployment,
    Effect,
    Fault,
    Load,
    Measurement,
    Metric,
    NodeError,
    PhaseFailed,
    PlaybookError,
    Residue,
    Scenario,
    TrialContext,
    TrialResult,
    hookimpl,
)

from playbook_plugins.stats import records
from playbook_plugins.stats.faults import FILE, impact, load_faults

from .schedule import EFFECT, Schedule, healer

_STASH = __name__


@hookimpl(wrapper=True, tryfirst=True)
def playbook_deploy(ctx: TrialContext, scenario: Scenario) -> Generator[None, Deployment | None, Deployment | None]:
    """Nothing is deployed for faults that cannot be made here."""
    for fault in scenario.faults:
        why = ctx.build(Fault, fault.fault).fit(ctx)
        if why is not None:
            raise PhaseFailed(f"fault {fault.fault.use} cannot be made here: {why}", hint="nothing was deployed")
    return (yield)


@hookimpl(wrapper=True)
def playbook_benchmark(
    ctx: TrialContext, deployment: Deployment, load: Load
) -> Generator[None, Measurement | None, Measurement | None]:
    """Make the faults while the benchmark runs. One that could not be made, or came too late, fails it."""
    if not ctx.trial.scenario.faults:
        return (yield)
    schedule = ctx.stash[_STASH] = Schedule(ctx, deployment)
    with schedule:
        measured = yield
    schedule.check()
    return measured if measured is None else evolve(measured, metrics={**measured.metrics, **_figures(ctx, measured)})


@hookimpl
def playbook_collect(ctx: TrialContext, deployment: Deployment | None) -> Iterable[Artifact]:
    """What was done when."""
    path = ctx.directory / FILE
    if not path.is_file():
        return []
    data = path.read_bytes()
    return [Artifact("faults", FILE, size=len(data), sha256=hashlib.sha256(data).hexdigest())]


@hookimpl(tryfirst=True)
def playbook_cleanup(ctx: TrialContext, deployment: Deployment | None) -> Iterable[Residue]:
    """Undo what is still broken, before the services are taken down."""
    schedule: Schedule | None = ctx.stash.get(_STASH)
    if schedule is not None:
        schedule.stop()  # a benchmark that did not come back has left it at work
    return [r for effect in ctx.effects.open(EFFECT) if (r := _undone(ctx, effect)) is not None]


def _undone(ctx: TrialContext, effect: Effect) -> Residue | None:
    driver, wound = healer(ctx, effect)
    try:
        driver.undo(ctx, wound)
    except (NodeError, PlaybookError) as error:
        return Residue(effect.node, "fault", wound.what, f"could not be undone: {error}")
    ctx.effects.undone(effect)
    return None


def _figures(ctx: TrialContext, measured: Measurement) -> dict[str, Metric]:
    """What each fault cost, as far as the benchmark's records are there already."""
    trial = TrialResult(ctx.trial.id, ctx.trial.scenario.name, "running", measurement=measured)
    requests = records.of_trial(ctx.directory, trial)
    if requests is None:
        return {}
    found: dict[str, Metric] = {}
    faults = load_faults(ctx.directory)
    for index in sorted({f.index for f in faults}):
        cost = impact(requests, [f for f in faults if f.index == index])
        if cost is None:
            continue
        before = f"fault_{index + 1}_"
        found[before + "goodput_dip"] = Metric(round(cost.dip * 100, 3), "%")
        found[before + "errors"] = Metric(float(cost.errors), "1")
        found[before + "lost"] = Metric(round(cost.lost, 3), cost.unit.removesuffix("/s"))
        if cost.recovery is not None:
            found[before + "recovery"] = Metric(round(cost.recovery, 3), "s")
    return found
