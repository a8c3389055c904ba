"""One load point, complete: every request as the bytes to send, and when. A folder, so that workers share it.

``plan.json`` says how, ``order.bin`` when and in which order, ``wire.bin`` what.
"""

from __future__ import annotations

import dataclasses
import json
import mmap
import os
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .exchange import Exchange
from .history import History

ENDLESS = 1 << 62
WIRE = "wire.bin"


@dataclass(frozen=True)
class Target:
    """Where requests go. ``addresses``: what the name resolved to, so that no look-up falls into the window.

    ``ca``: a file of certificates to trust instead of the system's; ``verify`` False trusts anything.
    """

    host: str
    port: int
    tls: bool = False
    addresses: Sequence[str] = ()
    verify: bool = True
    ca: str = ""


@dataclass(frozen=True)
class Settings:
    """How a load is applied. Times are seconds; 0 of ``concurrency`` is no cap, of ``duration`` no limit.

    ``open_loop``: requests leave when they are due; otherwise when one of ``concurrency`` slots is free. ``ramp``: the
    slots open one by one over this. ``wrap``: start again with the first prompt when the last was used.
    ``stop_after``: stop asking after so many requests were taken up; 0: all. ``drain``: how long after ``duration``
    answers may still come in. ``own_answers``: requests of a conversation hold what the server answered before.
    ``timestamps``: ``kernel`` or ``user``. ``engine``: ``epoll`` or ``uvloop``. ``files``: the most connections that
    later loads of the same run need.
    """

    target: Target
    open_loop: bool = False
    concurrency: int = 1
    ramp: float = 0.0
    duration: float = 0.0
    drain: float = 60.0
    wrap: bool = False
    processes: int = 1
    connections: int = 0
    timeout: float = 21600.0
    idle_timeout: float = 600.0
    connect_timeout: float = 30.0
    engine: str = "epoll"
    timestamps: str = "kernel"
    own_answers: bool = False
    files: int = 0

    @property
    def open_at_once(self) -> int:
        """How many connections the limit of open files must allow."""
        return max(self.connections, self.concurrency, self.files)


class Order:
    """The requests in order. ``wire`` is which bytes each sends, ``due`` when (ns after the start; open loop).

    ``then`` is the request that follows in the same conversation (-1: none), ``pause`` how long after (ns).
    """

    def __init__(self) -> None:
        self.wire: array[int] = array("q")
        self.due: array[int] = array("q")
        self.then: array[int] = array("q")
        self.pause: array[int] = array("q")

    def add(self, wire: int, due: int = 0, then: int = -1, pause: int = 0) -> None:
        """Append one request."""
        self.wire.append(wire)
        self.due.append(due)
        self.then.append(then)
        self.pause.append(pause)

    def __len__(self) -> int:
        return len(self.wire)

    def roots(self) -> list[int]:
        """The first request of every conversation, in order."""
        followers = {i for i in self.then if i >= 0}
        return [i for i in range(len(self.wire)) if i not in followers]


class Plan:
    """Settings, order and bytes, as workers read them."""

    def __init__(self, settings: Settings, order: Order, wire: mmap.mmap, offsets: array[int]) -> None:
        self.settings, self.order = settings, order
        self._wire, self._offsets = wire, offsets
        self._history = History() if settings.own_answers else None

    def request(self, index: int) -> bytes:
        """The bytes of request ``index``."""
        at = self.order.wire[index]
        request = self._wire[self._offsets[at] : self._offsets[at + 1]]
        return request if self._history is None else self._history.fill(index, request)

    def answered(self, exchange: Exchange) -> None:
        """To be told of every answer before the request that follows it leaves."""
        if self._history is not None:
            self._history.answered(exchange, self.order.then[exchange.index])


def write(folder: Path, settings: Settings, order: Order, wires: Iterable[bytes]) -> None:
    """Write a plan. The files may hold credentials, so only their owner may read them."""
    offsets: array[int] = array("q", [0])
    with _private(folder / WIRE) as file:
        for wire in wires:
            file.write(wire)
            offsets.append(offsets[-1] + len(wire))
    counts = {"requests": len(order), "wires": len(offsets) - 1}
    with _private(folder / "order.bin") as file:
        for column in (order.wire, order.due, order.then, order.pause, offsets):
            file.write(column.tobytes())
    described: dict[str, Any] = {"settings": dataclasses.asdict(settings), **counts}
    with _private(folder / "plan.json") as file:
        file.write(json.dumps(described).encode())


def _private(path: Path) -> Any:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")


def read(folder: Path) -> Plan:
    """Read a plan that :func:`write` wrote."""
    described = json.loads((folder / "plan.json").read_bytes())
    raw = dict(described["settings"])
    settings = Settings(**{**raw, "target": Target(**raw["target"])})
    order = Order()
    offsets: array[int] = array("q")
    with (folder / "order.bin").open("rb") as file:
        for column in (order.wire, order.due, order.then, order.pause):
            column.fromfile(file, described["requests"])
        offsets.fromfile(file, described["wires"] + 1)
    with (folder / WIRE).open("rb") as file:
        wire = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return Plan(settings, order, wire, offsets)


def single(count: int, due: Sequence[int] | None = None, wires: int = 0) -> Order:
    """``count`` requests without conversations, over ``wires`` prompts in turn (0: one each)."""
    order = Order()
    for index in range(count):
        order.add(index % wires if wires else index, due[index] if due is not None else 0)
    return order
