"""What each phase does when no other plugin says otherwise."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from playbook_kernel.api import (
    Artifact,
    Benchmark,
    CampaignContext,
    CampaignResult,
    Collector,
    Deployment,
    DriverRef,
    Fact,
    Health,
    Load,
    Measurement,
    Node,
    PlaybookError,
    Reporter,
    Residue,
    Scenario,
    Session,
    TrialContext,
    bounded,
    current,
    hookimpl,
    within,
)

from playbook_plugins import deployment as services

_REPORT = 120.0
"""Seconds that one report may take."""


@hookimpl
def playbook_discover(ctx: TrialContext, node: Node, session: Session) -> Mapping[str, Fact]:
    return services.discover(ctx, node, session)


@hookimpl(trylast=True)
def playbook_deploy(ctx: TrialContext, scenario: Scenario) -> Deployment:
    return services.deploy(ctx, scenario)


@hookimpl
def playbook_healthcheck(ctx: TrialContext, deployment: Deployment) -> Iterable[Health]:
    return services.healthcheck(ctx, deployment)


@hookimpl(trylast=True)
def playbook_benchmark(ctx: TrialContext, deployment: Deployment, load: Load) -> Measurement:
    measured = ctx.build(Benchmark, ctx.trial.scenario.benchmark).run(ctx, deployment, load)
    services.still_there(ctx)
    return measured


@hookimpl
def playbook_collect(ctx: TrialContext, deployment: Deployment | None) -> Iterable[Artifact]:
    """Every collector of the scenario, each whatever the others raise; then what the benchmark left in the folder."""
    kept: list[Artifact] = []
    for ref in ctx.trial.scenario.collectors:
        try:
            kept += _kept(ctx, ref, deployment)
        except Exception as error:  # noqa: BLE001 - whatever one of them does, the others still collect
            ctx.warn(f"collector {ref.use} failed: {_words(error)}")
            if current().deadline.remaining() == 0.0:
                break
    return kept


def _kept(ctx: TrialContext, ref: DriverRef, deployment: Deployment | None) -> list[Artifact]:
    collector = ctx.build(Collector, ref)
    return [*bounded(lambda: collector.collect(ctx, deployment, ctx.directory), grace=1.0)]


@hookimpl(tryfirst=True)
def playbook_cleanup(ctx: TrialContext, deployment: Deployment | None) -> Iterable[Residue]:
    return services.cleanup(ctx, deployment)


@hookimpl
def playbook_report(ctx: CampaignContext, result: CampaignResult) -> Iterable[Path]:
    """Every reporter that is configured; markdown's file comes first, for it is the one to open."""
    written: list[Path] = []
    refs = sorted(ctx.reporters or (DriverRef("json"), DriverRef("markdown")), key=lambda r: r.use != "markdown")
    for ref in refs:
        try:
            written += _written(ctx, ref, result)
        except Exception as error:  # noqa: BLE001 - whatever one of them does, the others are still written
            ctx.warn(f"report {ref.use} could not be written: {_words(error)}")
    return written


def _written(ctx: CampaignContext, ref: DriverRef, result: CampaignResult) -> list[Path]:
    reporter = ctx.build(Reporter, ref)
    with within(_REPORT):
        return [*bounded(lambda: reporter.write(result, ctx.folder), grace=1.0)]


def _words(error: Exception) -> str:
    return str(error) if isinstance(error, (PlaybookError, OSError)) else f"{type(error).__name__}: {error}"
