"""Keeps a campaign off nodes that are being drained: ``DRAINED_NODES=gpu3,gpu7``."""

import os
from collections.abc import Mapping, Sequence

from playbook_kernel.api import CampaignContext, Node, Scenario, hookimpl


@hookimpl
def playbook_preflight(ctx: CampaignContext, nodes: Sequence[Node], scenarios: Sequence[Scenario]) -> Mapping[str, str]:
    """Scenarios that need one of them fail without a trial; the others run."""
    drained = os.environ.get("DRAINED_NODES", "").split(",")
    return {node.name: "is being drained" for node in nodes if node.name in drained}
