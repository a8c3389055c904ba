"""A connection to a dask cluster: who is there, what time it is for them, and calls that are bounded in time."""

from __future__ import annotations

import asyncio
import time
import warnings
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from importlib import resources
from typing import Any

from attrs import frozen
from playbook_kernel.api import NodeError, Place, Unreachable

from .options import DaskOptions

_ROUNDS = 11
_DOUBT = 0.5


def _sent() -> Mapping[str, Callable[..., Any]]:
    """The functions for workers, in a module that nobody has: so they are sent whole, not by name."""
    source = resources.files(__package__).joinpath("there.py").read_text("utf-8")
    made: dict[str, Any] = {"__name__": "playbook_there"}
    exec(compile(source, "playbook_there", "exec", dont_inherit=True), made)  # noqa: S102 - our own source
    return made


@frozen
class Seat:
    """A worker: the name that it has for us, and its address."""

    name: str
    address: str


class Cluster:
    """An open connection. Not for more than one event loop."""

    def __init__(self, client: Any, options: DaskOptions) -> None:
        self.client, self.options = client, options
        self.there = _sent()

    async def ask(self, seat: Seat, function: str, *args: Any, seconds: float | None = None) -> Any:
        """Call a function on a worker.

        Raises Unreachable if it dies meanwhile or does not answer in time, NodeError if it answers with an error.
        """
        from distributed.comm import CommClosedError

        limit = seconds or self.options.answer_timeout
        run = self.client.run(self.there[function], *args, workers=[seat.address], on_error="return")
        call, end = asyncio.ensure_future(run), time.monotonic() + limit
        try:
            # Dask goes on trying to reach a worker that is gone for long; its scheduler knows better.
            while not (await asyncio.wait([call], timeout=min(limit, _DOUBT)))[0]:
                if seat.address not in await self.members():
                    raise Unreachable(seat.name, "the worker died")
                if time.monotonic() > end:
                    raise Unreachable(seat.name, f"the worker did not answer within {limit:g} s")
            answer = call.result().get(seat.address)
        except OSError as error:
            raise Unreachable(seat.name, f"the worker died: {error}") from None
        finally:
            call.cancel()
        if isinstance(answer, (CommClosedError, ConnectionError, TimeoutError)):
            raise Unreachable(seat.name, f"the worker died: {answer}")
        if isinstance(answer, BaseException):
            raise NodeError(seat.name, f"{type(answer).__name__}: {answer}")
        return answer

    async def members(self) -> frozenset[str]:
        """The addresses of the workers that the scheduler has now. Raises Unreachable."""
        try:
            call = self.client.run_on_scheduler(self.there["members"])
            return frozenset(await asyncio.wait_for(call, self.options.answer_timeout))
        except (TimeoutError, OSError) as error:
            raise Unreachable(self.options.scheduler, f"the scheduler was lost: {str(error) or 'no answer'}") from None

    async def seats(self) -> list[Seat]:
        """Every worker that may be used, by name. Raises NodeError if there is none, or one of those that are named."""
        addresses = sorted(await self.members())
        said = await asyncio.gather(*(self.ask(Seat(a, a), "hello") for a in addresses))
        names = [str(answer["name"]) for answer in said]
        found = [Seat(n if names.count(n) == 1 else a, a) for n, a in zip(names, addresses, strict=True)]
        wanted = self.options.workers
        if not found:
            raise NodeError(
                self.options.scheduler, "the scheduler has no workers", hint="dask worker ADDRESS starts one"
            )
        for name in wanted:
            if name not in {s.name for s in found}:
                there = ", ".join(sorted(s.name for s in found))
                raise NodeError(name, f"is no worker of {self.options.scheduler}; there are {there}")
        return sorted((s for s in found if not wanted or s.name in wanted), key=lambda s: s.name)

    async def place(self, seat: Seat) -> Place:
        """A worker with its clock: of several readings, the one that took the least time."""
        best: tuple[int, int] | None = None
        for _ in range(_ROUNDS):
            before = time.time_ns()
            there = await self.ask(seat, "clock")
            after = time.time_ns()
            reading = (after - before, there - (before + after) // 2)
            best = min(best, reading) if best else reading
        assert best is not None
        return Place(seat.name, best[1] / 1e9, best[0] / 2e9)

    async def check_versions(self) -> None:
        """Raises NodeError, naming who has another version: of distributed, or of Python but for its last number."""
        try:
            found = await asyncio.wait_for(self.client.get_versions(), self.options.answer_timeout)
        except (TimeoutError, OSError) as error:
            raise Unreachable(self.options.scheduler, f"its versions cannot be asked for: {error}") from None
        own = _versions(found["client"])
        others = {"the scheduler": found["scheduler"], **{f"worker {a}": v for a, v in found["workers"].items()}}
        for who, said in others.items():
            for package, version in _versions(said).items():
                if version != own[package]:
                    raise NodeError(
                        self.options.scheduler,
                        f"{who} has {package} {version}, and here it is {own[package]}",
                        hint="install the same versions of python and distributed everywhere",
                    )


def _versions(said: Mapping[str, Any]) -> dict[str, str]:
    packages = said["packages"]
    return {"distributed": packages["distributed"], "python": ".".join(str(packages["python"]).split(".")[:2])}


@asynccontextmanager
async def connected(options: DaskOptions) -> AsyncIterator[Cluster]:
    """Connect, and see that everybody has the same versions. Raises NodeError."""
    from distributed import Client, Security

    security = None
    if options.ca_file:
        security = Security(
            tls_ca_file=options.ca_file,
            tls_client_cert=options.cert_file or None,
            tls_client_key=options.key_file or None,
            require_encryption=True,
        )
    client = Client(
        options.scheduler,
        asynchronous=True,
        set_as_default=False,
        timeout=options.connect_timeout,
        security=security,
        name="playbook",
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns of versions; we raise
            await client
    except (OSError, TimeoutError, ValueError) as error:
        await client.close()
        why = str(error).partition("\n")[0] or type(error).__name__
        raise Unreachable(options.scheduler, f"there is no dask scheduler: {why}") from None
    try:
        cluster = Cluster(client, options)
        await cluster.check_versions()
        yield cluster
    finally:
        await client.close(timeout=5)
