"""Runs what takes the shortest time first, and leaves out what would end after the morning."""

from collections.abc import Sequence

from playbook_kernel.api import CampaignContext, Scenario, hookimpl

NIGHT = 8 * 3600.0


@hookimpl
def playbook_plan(ctx: CampaignContext, scenarios: Sequence[Scenario]) -> Sequence[Scenario]:
    """Fill the night."""
    planned, total = [], 0.0
    for scenario in sorted(scenarios, key=lambda s: s.estimated_duration):
        total += scenario.estimated_duration
        if total > NIGHT:
            ctx.log.warning("left out: the night is too short", scenario=scenario.name)
        else:
            planned.append(scenario)
    return planned
