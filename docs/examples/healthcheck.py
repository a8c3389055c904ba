"""Refuses to measure while somebody else computes on the accelerators."""

from collections.abc import Iterable

from playbook_kernel.api import Deployment, Health, TrialContext, hookimpl

LIMIT = 5  # percent


@hookimpl
def playbook_healthcheck(ctx: TrialContext, deployment: Deployment) -> Iterable[Health]:
    """One verdict for each node; every verdict of every plugin must be good."""
    for node in ctx.nodes:
        query = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
        busiest = max(map(int, ctx.session(node).run(query).text.split()))
        yield Health(ok=busiest <= LIMIT, detail=f"{busiest} % busy before the load", node=node, probe="idle")
