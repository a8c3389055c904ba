"""Shares nodes with another tool, which respects one folder as its lock: /tmp/benchmark.lock."""

from collections.abc import Callable, Sequence

from playbook_kernel.api import CampaignContext, Node, NodeInUse, Session, Transport, hookimpl

LOCK = "/tmp/benchmark.lock"


@hookimpl
def playbook_claim(ctx: CampaignContext, nodes: Sequence[Node]) -> Callable[[], None]:
    """``mkdir`` succeeds for one of all who try. Whoever does not get all nodes keeps none."""
    held: list[Session] = []

    def give_back() -> None:
        for session in held:
            session.run(["rm", "-rf", LOCK], check=False)
            session.close()

    for node in nodes:
        session = ctx.build(Transport, node.transport).connect(node)
        if not session.run(["mkdir", LOCK], check=False).ok:
            owner = session.run(["cat", f"{LOCK}/owner"], check=False).text
            give_back()
            raise NodeInUse(node.name, owner or "somebody")
        held.append(session)
        session.put_bytes(ctx.run.encode(), f"{LOCK}/owner")
    return give_back
