"""The locks of all nodes of a campaign: taken together, renewed while it runs, given back at its end."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import threading
from collections.abc import Sequence
from pathlib import Path

from playbook_kernel.api import CampaignContext, Node, NodeInUse, PlaybookError, Session, Transport, run_all, within

from .claim import Claim

RENEW = 15.0
CONNECT_SECONDS = 20.0


class Claims:
    """Every lock, or none. :meth:`take` takes them, :meth:`give_back` ends that."""

    def __init__(self, ctx: CampaignContext, nodes: Sequence[Node]) -> None:
        self._ctx, self._nodes = ctx, nodes
        self._mark = _mark(ctx.folder)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True, name="claims")
        self.held: dict[str, tuple[Claim, Session]] = {}

    def take(self) -> None:
        """Take every lock, and renew them from then on. Raises NodeInUse."""
        try:
            if taken := self.renew():
                raise next((error for error in taken if not error.ours), taken[0])
        except BaseException:
            self._release()
            raise
        self._thread.start()

    def renew(self) -> list[NodeInUse]:
        """Take or keep every lock at once. A node that cannot be reached is nobody's: its trials will say so."""
        results = run_all([functools.partial(self._renew, node) for node in self._nodes])
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, PlaybookError):
                raise result
            if isinstance(result, PlaybookError) and not isinstance(result, NodeInUse):
                self._ctx.log.warning("a node could not be claimed", error=str(result))
        return [result for result in results if isinstance(result, NodeInUse)]

    def give_back(self) -> None:
        """End the renewing, and give every lock back."""
        self._over.set()
        self._thread.join()
        self._release()

    def _renew(self, node: Node) -> None:
        if node.name not in self.held:
            with within(CONNECT_SECONDS):
                # number 0 of a run is no trial: what bears it is not taken for something left behind
                session = self._ctx.build(Transport, node.transport).connect(node, owner=f"pk-{self._mark}-claim-0")
            self.held[node.name] = Claim(self._ctx, session, self._mark), session
        self.held[node.name][0].renew()

    def _keep(self) -> None:
        while not self._over.wait(RENEW):
            try:
                for error in self.renew():
                    self._ctx.warn(str(error))
            except Exception as error:  # noqa: BLE001 - of whatever kind: the nodes are not held any more
                self._ctx.warn(f"the nodes are not claimed any more: {error}")
                return

    def _release(self) -> None:
        run_all([functools.partial(_let_go, *held) for held in self.held.values()])
        self.held.clear()


def _let_go(claim: Claim, session: Session) -> None:
    with session:
        claim.release()


def _mark(folder: Path) -> str:
    """What tells this run from all others. Its journal has it: the folder may have been moved, or copied, since it began."""
    with (
        contextlib.suppress(OSError, ValueError, KeyError),
        (folder / "journal.jsonl").open(encoding="utf-8") as journal,
    ):
        return str(json.loads(journal.readline())["data"]["mark"])
    return hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:8]
