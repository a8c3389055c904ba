"""The journal as a trial sees it: say before you do."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from attrs import define, field

from playbook_kernel.context import Effect
from playbook_kernel.model import Fact

from .journal import applied


@define(eq=False)
class TrialEffects:
    """Keeps what is open, and hands every change to ``record(type, data)``, which returns once it is safe.

    An effect must not be made when ``record`` raises for its intent.
    """

    record: Callable[[str, Mapping[str, Any]], None]
    _open: tuple[Effect, ...] = ()
    _ids: Iterator[int] = field(init=False)
    _lock: threading.Lock = field(factory=threading.Lock)

    def __attrs_post_init__(self) -> None:
        self._ids = itertools.count(max((e.id for e in self._open), default=0) + 1)

    def intend(self, kind: str, node: str, **data: Fact) -> Effect:
        effect = Effect(next(self._ids), kind, node, data)
        entry = {"id": effect.id, "kind": kind, "node": node, "data": data}
        self.record("intent", entry)
        self._apply("intent", entry)
        return effect

    def done(self, effect: Effect, **data: Fact) -> None:
        self._note("done", {"id": effect.id, "data": data})

    def undone(self, effect: Effect) -> None:
        self._note("undone", {"id": effect.id})

    def open(self, kind: str | None = None, node: str | None = None) -> Sequence[Effect]:
        return [e for e in self._open if kind in (None, e.kind) and node in (None, e.node)]

    def _note(self, kind: str, entry: Mapping[str, Any]) -> None:
        self._apply(kind, entry)
        self.record(kind, entry)

    def _apply(self, kind: str, entry: Mapping[str, Any]) -> None:
        with self._lock:
            self._open = applied(self._open, kind, entry)
