"""What nodes, accelerators and engines do while a load runs: sampled around every benchmark.

On for every trial; ``--no-plugin telemetry`` leaves it out, and a scenario that names the collector ``telemetry`` sets its
options. Nothing here fails a trial: what cannot be sampled is missing from the series.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable

from attrs import evolve
from playbook_kernel.api import Artifact, Collector, Deployment, DriverRef, Load, Measurement, TrialContext, hookimpl

from .options import NAME, Options, ref_of
from .summary import figures
from .watch import Watch

__all__ = ["NAME", "Options"]


@hookimpl(wrapper=True, trylast=True)
def playbook_benchmark(
    ctx: TrialContext, deployment: Deployment, load: Load
) -> Generator[None, Measurement | None, Measurement | None]:
    """Sample while the benchmark runs; power that is known becomes energy and joules per token."""
    ref = ref_of(ctx) or DriverRef(NAME)
    driver = ctx.build(Collector, ref)
    with Watch(ctx, deployment, driver.options) as watch:
        measured = yield
    if measured is None:
        return None
    more = figures(watch.path, measured)
    return evolve(measured, metrics={**measured.metrics, **more}) if more else measured


@hookimpl
def playbook_collect(ctx: TrialContext, deployment: Deployment | None) -> Iterable[Artifact]:
    """Hand the samples over, unless the scenario names the collector, which does."""
    if ref_of(ctx) is not None:
        return []
    return ctx.build(Collector, DriverRef(NAME)).collect(ctx, deployment, ctx.directory)
