"""The sessions of a trial: opened when first asked for, once for all threads, closed together."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping
from typing import Any

from attrs import define, field

from playbook_kernel.drivers import Transport
from playbook_kernel.model import DriverRef, Node
from playbook_kernel.session import Session

LOCAL = "local"
HERE = Node(LOCAL, DriverRef(LOCAL))
"""This machine, where no node of the user's has that name."""


@define(eq=False)
class SessionPool:
    """Calls itself with a node's name to give its session; a failed connection is tried again by the next call."""

    nodes: Mapping[str, Node]
    owner: str
    build: Callable[[type[Any], DriverRef], Any]
    _open: dict[str, Session] = field(factory=dict)
    _locks: dict[str, threading.Lock] = field(factory=dict)

    def __call__(self, node: str) -> Session:
        with self._locks.setdefault(node, threading.Lock()):  # one step, whoever else asks
            if node not in self._open:
                known = self.nodes[node] if node != LOCAL else self.nodes.get(LOCAL, HERE)
                self._open[node] = self.build(Transport, known.transport).connect(known, owner=self.owner)
            return self._open[node]

    def close(self) -> None:
        """Close every session, whatever one of them says."""
        for session in self._open.values():
            with contextlib.suppress(Exception):
                session.close()
        self._open.clear()
