"""Keeps a list of failed scenarios beside the run, as they fail: for somebody who looks in at midnight."""

from playbook_kernel.api import CampaignContext, Event, ScenarioEnded, hookimpl


@hookimpl
def playbook_event(ctx: CampaignContext, event: Event) -> None:
    """Called for every event, in order, in the campaign's own process: be quick."""
    if isinstance(event, ScenarioEnded) and event.result.status == "failed":
        with (ctx.folder / "failed.txt").open("a") as file:
            file.write(f"{event.result.scenario}: {event.result.reason}\n")
