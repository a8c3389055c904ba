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
    hookimpl,
)

from playbook_plugins import deployment as services


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
            kept += ctx.build(Collector, ref).collect(ctx, deployment, ctx.directory)
        except (PlaybookError, OSError) as error:
            ctx.warn(f"collector {ref.use} failed: {error}")
    return kept


@hookimpl(tryfirst=True)
def playbook_cleanup(ctx: TrialContext, deployment: Deployment | None) -> Iterable[Residue]:
    return services.cleanup(ctx, deployment)


@hookimpl
def playbook_report(ctx: CampaignContext, result: CampaignResult) -> Iterable[Path]:
    """Every reporter that is configured; markdown's file comes first, for it is the one to open."""
    written: list[Path] = []
    refs = sorted(ctx.reporters or (DriverRef("json"), DriverRef("markdown")), key=lambda r: r.use != "markdown")
    failures = []
    for ref in refs:
        try:
            written += ctx.build(Reporter, ref).write(result, ctx.folder)
        except (PlaybookError, OSError) as error:
            failures.append(f"{ref.use}: {error}")
    if failures:
        raise PlaybookError("reports could not be written: " + "; ".join(failures))
    return written
