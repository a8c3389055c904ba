"""The driver: starts a program on every worker, watches them, and brings home what they printed, or says who failed."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import define, field
from playbook_kernel.api import (
    Cancelled,
    CommandFailed,
    LoadExecutor,
    NodeError,
    PhaseTimeout,
    Place,
    PlaybookError,
    Scope,
    TrialContext,
    current,
)

from .cluster import Cluster, Seat, connected
from .options import DaskOptions

_LEASE = 30.0
_GRACE = 3.0
_PIECE = 8 * 1024 * 1024
_PAUSE = 0.1
_ENDLESS = 1e9


class DaskExecutor(LoadExecutor[DaskOptions]):
    """Sends load from the workers of a dask.distributed cluster that is there already.

    The program runs beside dask's own tasks, not as one of them: it waits for nobody and is never moved to another
    worker. Nothing has to be installed there.
    """

    def places(self, ctx: TrialContext) -> Sequence[Place]:
        return asyncio.run(self._places())

    def run(self, ctx: TrialContext, program: bytes, shares: Mapping[str, bytes]) -> Mapping[str, bytes]:
        return asyncio.run(self._run(ctx, program, shares))

    async def _places(self) -> list[Place]:
        async with connected(self.options) as cluster:
            return [await cluster.place(seat) for seat in await cluster.seats()]

    async def _run(self, ctx: TrialContext, program: bytes, shares: Mapping[str, bytes]) -> Mapping[str, bytes]:
        async with connected(self.options) as cluster:
            seats = {s.name: s for s in await cluster.seats()}
            for name in shares:
                if name not in seats:
                    raise NodeError(name, "the worker is not there any more")
            flight = Flight(cluster, {name: seats[name] for name in shares}, current())
            try:
                await flight.start(program, shares)
                await flight.watch()
                return await flight.land()
            finally:
                for problem in await flight.clean():
                    ctx.warn(problem)


@define
class Flight:
    """One program on several workers, from its start to the last trace of it."""

    cluster: Cluster
    seats: Mapping[str, Seat]
    scope: Scope
    tokens: Mapping[str, str] = field(init=False)
    ended: dict[str, int] = field(factory=dict)
    lost: set[str] = field(factory=set)
    failure: PlaybookError | None = None

    def __attrs_post_init__(self) -> None:
        run = uuid.uuid4().hex
        self.tokens = {name: f"{run}-{number}" for number, name in enumerate(self.seats)}

    async def start(self, program: bytes, shares: Mapping[str, bytes]) -> None:
        """Start it everywhere. Raises NodeError."""
        left = self.scope.timeout()
        limits = (_ENDLESS if left is None else left + _GRACE, _LEASE, _GRACE)

        async def one(name: str, share: bytes) -> None:
            seconds = self.scope.timeout(60.0)
            await self.cluster.ask(
                self.seats[name], "start", self.tokens[name], program, share, limits, seconds=seconds
            )

        for answer in await asyncio.gather(*(one(*item) for item in shares.items()), return_exceptions=True):
            if isinstance(answer, BaseException):
                raise answer

    async def watch(self) -> None:
        """Until all have ended. As soon as one fails, or the scope ends, the others are told to stop."""
        running = set(self.seats)
        while running:
            self._bounded()
            names = sorted(running)
            stop = self.failure is not None
            looks = [self.cluster.ask(self.seats[n], "look", self.tokens[n], stop) for n in names]
            for name, said in zip(names, await asyncio.gather(*looks, return_exceptions=True), strict=True):
                if isinstance(said, PlaybookError):
                    self._fail(said)
                    self.lost.add(name)
                elif isinstance(said, BaseException):
                    raise said
                if said is not None:
                    running.discard(name)
                    self._over(name, said)
            if running:
                await asyncio.sleep(_PAUSE)

    def _over(self, name: str, said: Any) -> None:
        if isinstance(said, BaseException):
            return
        status, why, size, words = said
        self.ended[name] = size
        if status and why == "-":
            self._fail(CommandFailed(name, ("the load",), status, words))
        elif why not in ("-", "stop", "late"):
            self._fail(NodeError(name, words))

    def _bounded(self) -> None:
        try:
            self.scope.check()
        except (Cancelled, PhaseTimeout) as error:
            self._fail(error)

    def _fail(self, error: PlaybookError) -> None:
        if self.failure is None:
            self.failure = error

    async def land(self) -> Mapping[str, bytes]:
        """What each printed. Raises what went wrong, with what is there as ``kept``."""
        self._bounded()
        printed: dict[str, bytes] = {}
        for name, size in self.ended.items():
            try:
                printed[name] = await self._fetch(name, size)
            except NodeError as error:
                self._fail(error)
        if self.failure is not None:
            self.failure.__dict__["kept"] = {name: data for name, data in printed.items() if data}
            raise self.failure
        return printed

    async def _fetch(self, name: str, size: int) -> bytes:
        pieces: list[bytes] = []
        for at in range(0, size, _PIECE):
            pieces.append(await self.cluster.ask(self.seats[name], "fetch", self.tokens[name], at, _PIECE))
        return b"".join(pieces)

    async def clean(self) -> list[str]:
        """Remove every trace from the workers that are still there; what could not be done, in words."""
        names = [n for n in self.seats if n not in self.lost]
        calls = [self.cluster.ask(self.seats[n], "clean", self.tokens[n], seconds=10.0) for n in names]
        said = await asyncio.gather(*calls, return_exceptions=True)
        return [
            f"{name}: playbook-load-{self.tokens[name]} is still there" + (f": {answer}" if answer is not False else "")
            for name, answer in zip(names, said, strict=True)
            if answer is not True
        ]
