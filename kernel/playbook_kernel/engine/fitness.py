"""Which nodes can serve: looked at before the first trial, and again when in doubt; nothing about reaching one is kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from attrs import define, field

from playbook_kernel.model import Node, Scenario, TrialResult
from playbook_kernel.scope import Cancel

from .guests import Guests

_FIRST, _EACH = 60.0, 10.0
"""Seconds that a look may take, and how many more for each node."""
_DOUBTFUL = ("network", "node")


@define(eq=False)
class Fitness:
    """Asks ``playbook_preflight``. A node that cannot serve, or that a trial failed on, is looked at again before its next use.

    ``pause``: seconds before a node that could not serve is looked at again. ``warn``: tells the user.
    """

    guests: Guests
    nodes: Mapping[str, Node]
    cancel: Cancel
    pause: float
    warn: Callable[[str], None]
    _unfit: dict[str, tuple[str, float]] = field(factory=dict)
    """Why a node cannot serve, and when it was looked at."""
    _doubtful: set[str] = field(factory=set)
    _failures: dict[str, int] = field(factory=dict)

    def look(self, scenarios: Sequence[Scenario], names: Iterable[str]) -> None:
        """Look at nodes that these scenarios will use; what a plugin thinks that fails at it is not known."""
        wanted = [self.nodes[n] for n in dict.fromkeys(names) if n in self.nodes]
        found: dict[str, str] = {}
        if not wanted or self.cancel.requested:
            return
        for said in self.guests.call(
            "playbook_preflight", _FIRST + _EACH * len(wanted), self.cancel, nodes=wanted, scenarios=scenarios
        ):
            for name, why in (said or {}).items():
                found[name] = f"{found[name]}; {why}" if name in found else why
        if self.cancel.requested:  # what a cancelled look says is not about the nodes
            return
        for node in wanted:
            self._doubtful.discard(node.name)
            before, _ = self._unfit.pop(node.name, (None, 0.0))
            if (why_not := found.get(node.name)) is not None:
                self._unfit[node.name] = why_not, time.monotonic()
            if why_not != before:
                self.warn(
                    f"node {node.name} can" + (" be used again" if why_not is None else f"not be used: {why_not}")
                )

    def why_not(self, scenario: Scenario) -> str:
        """Why a scenario cannot be run on its nodes now; empty if it can."""
        late = {n for n, (_, at) in self._unfit.items() if time.monotonic() - at >= self.pause}
        self.look([scenario], [n for n in scenario.node_names if n in self._doubtful | late])
        return "; ".join(
            f"node {n} cannot be used: {self._unfit[n][0]}" for n in scenario.node_names if n in self._unfit
        )

    def left_out(self, scenario: Scenario, limit: int) -> str:
        """Why a scenario is not to be run any more: ``limit`` trials (0: never) in a row failed on a node; empty if it may."""
        named = [n for n in scenario.node_names if 0 < limit <= self._failures.get(n, 0)]
        return "; ".join(f"node {n} is left out: {self._failures[n]} trials in a row failed on it" for n in named)

    def learn(self, scenario: Scenario, result: TrialResult) -> None:
        """A trial that failed on a node puts that node in doubt; a good one ends the row of failures on its nodes."""
        failure = result.failure
        if failure is None:
            self._failures = {n: count for n, count in self._failures.items() if n not in scenario.node_names}
        elif failure.node and failure.error_class in _DOUBTFUL:
            self._doubtful.add(failure.node)
            self._failures[failure.node] = self._failures.get(failure.node, 0) + 1
