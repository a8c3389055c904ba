"""Which nodes can serve: looked at before the first trial, and again when in doubt; nothing about reaching one is kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from attrs import define, field

from playbook_kernel.context import CampaignContext
from playbook_kernel.errors import Cancelled
from playbook_kernel.loading import HookManager, origin
from playbook_kernel.model import Scenario, TrialResult
from playbook_kernel.scope import Cancel, within

from .bounded import bounded

_FIRST, _EACH = 60.0, 10.0
"""Seconds that a look may take, and how many more for each node."""
_DOUBTFUL = ("network", "node")


@define(eq=False)
class Fitness:
    """Asks ``playbook_preflight``. A node that cannot serve, or that a trial failed on, is looked at again before its next use.

    ``pause``: seconds before a node that could not serve is looked at again. ``warn``: tells the user.
    """

    hooks: HookManager
    ctx: CampaignContext
    cancel: Cancel
    pause: float
    grace: float
    warn: Callable[[str], None]
    _unfit: dict[str, str] = field(factory=dict)
    _looked: dict[str, float] = field(factory=dict)
    _doubtful: set[str] = field(factory=set)

    def look(self, scenarios: Sequence[Scenario], names: Iterable[str]) -> None:
        """Look at nodes that these scenarios will use; a plugin that fails at it is told, and what it thinks not known."""
        wanted = [self.ctx.nodes[n] for n in dict.fromkeys(names) if n in self.ctx.nodes]
        found: dict[str, str] = {}
        if not wanted or self.cancel.requested:
            return
        calls = self.hooks.calls("playbook_preflight", ctx=self.ctx, nodes=wanted, scenarios=scenarios)
        with within(_FIRST + _EACH * len(wanted), self.cancel):
            for plugin, call in calls:
                try:
                    said: Mapping[str, str] = bounded(call, grace=self.grace) or {}
                except Cancelled:
                    return
                except Exception as error:  # noqa: BLE001 - the trials find out by themselves
                    self.warn(f"nodes could not be looked at: {error} (plugin {origin(error) or plugin})")
                    continue
                for name, why in said.items():
                    found[name] = f"{found[name]}; {why}" if name in found else why
        if self.cancel.requested:  # what a cancelled look says is not about the nodes
            return
        for node in wanted:
            self._looked[node.name] = time.monotonic()
            self._doubtful.discard(node.name)
            before, why_not = self._unfit.pop(node.name, None), found.get(node.name)
            if why_not is not None:
                self._unfit[node.name] = why_not
            if why_not is not None and why_not != before:
                self.warn(f"node {node.name} cannot be used: {why_not}")
            elif before is not None and why_not is None:
                self.warn(f"node {node.name} can be used again")

    def why_not(self, scenario: Scenario) -> str:
        """Why a scenario cannot be run on its nodes now; empty if it can."""
        now = time.monotonic()
        late = {n for n in self._unfit if now - self._looked[n] >= self.pause}
        self.look([scenario], [n for n in scenario.node_names if n in self._doubtful | late])
        return "; ".join(f"node {n} cannot be used: {self._unfit[n]}" for n in scenario.node_names if n in self._unfit)

    def learn(self, result: TrialResult) -> None:
        """A trial that failed on a node puts that node in doubt."""
        failure = result.failure
        if failure is not None and failure.node and failure.error_class in _DOUBTFUL:
            self._doubtful.add(failure.node)
