"""The system checks of ``health``, before anything is deployed: of every node that will be used, all at once."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

from playbook_kernel.api import CampaignContext, Node, Scenario, hookimpl, run_all

from .commands.checks import Verdict, examine


@hookimpl
def playbook_preflight(ctx: CampaignContext, nodes: Sequence[Node], scenarios: Sequence[Scenario]) -> Mapping[str, str]:
    """The critical failures of each node; what is merely bad is in the log."""
    limit = max((s.max_concurrent_checks for s in scenarios), default=10)
    unfit: dict[str, str] = {}
    for node, verdicts in zip(
        nodes, run_all([functools.partial(examine, ctx, n) for n in nodes], limit=limit), strict=True
    ):
        if isinstance(verdicts, BaseException):
            raise verdicts
        for verdict in verdicts:
            if verdict.status != "healthy":
                ctx.log.warning(verdict.detail, node=node.name, check=verdict.check, status=verdict.status)
        if critical := [v for v in verdicts if v.status == "unhealthy"]:
            unfit[node.name] = _words(critical)
    return unfit


def _words(critical: Sequence[Verdict]) -> str:
    return "; ".join(f"{v.check}: {v.detail}" for v in critical)
