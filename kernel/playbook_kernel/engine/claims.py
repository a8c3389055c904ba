"""A node belongs to one campaign at a time: while a campaign runs, a process of its own holds the nodes; see hold.py."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from playbook_kernel.errors import NodeError, NodeInUse
from playbook_kernel.model import Event, NodesClaimed, TrialResult, Warned
from playbook_kernel.scope import Cancel

from .host import TrialHost
from .job import Job
from .journal import Journal


@contextmanager
def claimed(job: Job, journal: Journal, tell: Callable[[Event], None], cancel: Cancel, lock: int) -> Iterator[None]:
    """Hold the nodes of a ``claim`` job within the block. Raises NodeError if another campaign has one of them."""
    if not job.nodes:
        yield
        return
    answered, over = threading.Event(), Cancel()
    ends: list[TrialResult] = []

    def hear(event: Event) -> None:
        answered.set() if isinstance(event, NodesClaimed) else tell(event)

    def work() -> None:
        ends.append(TrialHost(job, journal, hear, over, lock).run())
        if not over.requested and answered.is_set():
            tell(Warned(f"the nodes are not claimed any more: {ends[0].phases[-1].error}"))
        answered.set()

    thread = threading.Thread(target=work, name="claims")
    with cancel.watching(answered.set):
        thread.start()
        answered.wait()
    try:
        if ends and ends[0].failure is not None:
            failure = ends[0].failure
            raise NodeError(
                failure.node, failure.error.removeprefix(f"{failure.node}: "), hint=NodeInUse(failure.node, "").hint
            )
        yield
    finally:
        over.set("the campaign is over")
        thread.join()
