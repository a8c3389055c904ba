"""Tell people and programs how a campaign goes: webhooks and e-mail. Nothing here can fail or hold up a campaign.

The settings come from ``notifications`` of the scenarios file, as options of the reporter ``notify``. What happens on the
way is sent from a thread of its own; what came of it all is sent when reports are written.
"""

from __future__ import annotations

from playbook_kernel.api import CampaignContext, CampaignStarted, Event, Reporter, ScenarioEnded, hookimpl

from .message import of_scenario, of_start
from .options import NAME
from .sending import QUEUE

__all__ = ["NAME"]


@hookimpl
def playbook_event(ctx: CampaignContext, event: Event) -> None:
    """Queue what somebody wants to hear of."""
    if not isinstance(event, (CampaignStarted, ScenarioEnded)):
        return
    for ref in ctx.reporters:
        if ref.use == NAME:
            options = ctx.build(Reporter, ref).options
            message = of_start(event) if isinstance(event, CampaignStarted) else of_scenario(event, ctx.run)
            for target in options.targets():
                if message.event in target.events or (message.failed and "scenario_failed" in target.events):
                    QUEUE.put(target, message, ctx.log)
