"""Tell people and programs how a campaign goes: webhooks and e-mail. Nothing here can fail or hold up a campaign.

The settings come from ``notifications`` of the scenarios file, as options of the reporter ``notify``. What happens on the
way is sent from a thread of its own; what came of it all is sent when reports are written.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from playbook_kernel.api import (
    CampaignContext,
    CampaignResult,
    CampaignStarted,
    Event,
    Reporter,
    ScenarioEnded,
    hookimpl,
)

from .message import of_scenario, of_start
from .options import NAME, Options
from .sending import QUEUE, send_result

__all__ = ["NAME"]


@hookimpl
def playbook_event(ctx: CampaignContext, event: Event) -> None:
    """Queue what somebody wants to hear of."""
    if not isinstance(event, (CampaignStarted, ScenarioEnded)):
        return
    for options in _settings(ctx):
        message = of_start(event) if isinstance(event, CampaignStarted) else of_scenario(event, ctx.run)
        for target in options.targets():
            if message.event in target.events or (message.failed and "scenario_failed" in target.events):
                QUEUE.put(target, message, ctx.log)


@hookimpl(trylast=True)
def playbook_report(ctx: CampaignContext, result: CampaignResult) -> list[Path]:
    """Once the reports are there, tell what came of it; who could not be told is a warning in the log."""
    for options in _settings(ctx):
        for failure in send_result(options, result):
            ctx.log.warning("a notification was not delivered", notification="campaign_ended", error=failure)
    return []


def _settings(ctx: CampaignContext) -> Iterator[Options]:
    for ref in ctx.reporters:
        if ref.use == NAME:
            yield ctx.build(Reporter, ref).options
