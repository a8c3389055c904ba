"""Nothing is deployed for a benchmark that could not measure it."""

from __future__ import annotations

from collections.abc import Generator

from playbook_kernel.api import Benchmark, Deployment, PhaseFailed, Scenario, TrialContext, hookimpl


@hookimpl(wrapper=True, tryfirst=True)
def playbook_deploy(ctx: TrialContext, scenario: Scenario) -> Generator[None, Deployment | None, Deployment | None]:
    """Ask the benchmark first, whoever deploys."""
    why = ctx.build(Benchmark, scenario.benchmark).fit(ctx)
    if why is not None:
        raise PhaseFailed(f"benchmark {scenario.benchmark.use} cannot measure here: {why}", hint="nothing was deployed")
    return (yield)
