"""An HTTP/1.1 client for a router's peers: a raw protocol, connections kept for reuse."""

from __future__ import annotations

import asyncio
import os
from typing import Callable

from playbook_sim_engine.chunked import ChunkedDecoder, ChunkedError

_MAX_HEAD = 65536

Receive = Callable[[bytes], None]


class UpstreamError(Exception):
    """The peer could not be reached, or its answer broke off; `stale` when a kept connection turned out closed."""

    def __init__(self, message: str, *, stale: bool = False, refused: bool = False) -> None:
        super().__init__(message)
        self.stale = stale
        self.refused = refused


class UpstreamConnection(asyncio.Protocol):
    """One connection, one request at a time; `head` and `done` are set as the answer comes."""

    transport: asyncio.Transport

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._buffer = bytearray()
        self._uses = 0
        self.closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def send(self, request: bytes, receive: Receive | None = None) -> None:
        """Send a complete request and forget the answer before it; `receive` gets the body as it comes."""
        self._uses += 1
        self._buffer.clear()
        self._chunks: ChunkedDecoder | None = None
        self._left: int | None = 0
        self._relay = receive
        self._body = bytearray()
        self.status = 0
        self.headers: dict[str, str] = {}
        self.last_data = self._loop.time()
        self.head: asyncio.Future[None] = self._loop.create_future()
        self.done: asyncio.Future[None] = self._loop.create_future()
        # Whoever waits for the head alone must not leave the other failure unread.
        self.head.add_done_callback(_seen)
        self.done.add_done_callback(_seen)
        self.transport.write(request)

    def relay_to(self, receive: Receive) -> None:
        """Give the body to `receive` as it comes, beginning with what has come already."""
        self._relay = receive
        if self._body:
            receive(bytes(self._body))
            self._body.clear()

    async def body(self, silence: float) -> bytes:
        """Wait for the whole body.

        Raises UpstreamError when it breaks off or nothing comes for `silence` seconds.
        """
        await self.wait(self.done, silence)
        return bytes(self._body)

    async def wait(self, future: asyncio.Future[None], silence: float) -> None:
        """Wait for `head` or `done`.

        Raises UpstreamError when the peer is silent for `silence` seconds, or failed.
        """
        while not future.done():
            left = self.last_data + silence - self._loop.time()
            if left <= 0:
                raise UpstreamError(f"silent for {silence:g} s")
            await asyncio.wait({future}, timeout=left)
        future.result()

    @property
    def reusable(self) -> bool:
        """Whether the next request may use it."""
        return (
            not self.closed and self.done.done() and not self.done.exception() and self._left is not None
            and self.headers.get("connection", "").lower() != "close"
        )  # fmt: skip

    def data_received(self, data: bytes) -> None:
        if not self._uses or self.done.done():
            self.transport.abort()  # nobody asked
            return
        self.last_data = self._loop.time()
        try:
            if not self.head.done():
                self._buffer += data
                end = self._buffer.find(b"\r\n\r\n")
                if end < 0:
                    if len(self._buffer) > _MAX_HEAD:
                        raise UpstreamError("the answer's head is larger than 64 KiB")
                    return
                data = bytes(self._buffer[end + 4 :])
                self._read_head(bytes(self._buffer[:end]))
            self._take(data)
        except (UpstreamError, ChunkedError, ValueError) as error:
            self._fail(UpstreamError(str(error)))
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        if not self._uses or self.done.done():
            return
        if self.head.done() and self._left is None and exc is None:
            self.done.set_result(None)  # the body ends with the connection
            return
        stale = self._uses > 1 and not self._buffer and not self.head.done()
        when = "in the middle of its answer" if self.head.done() else "without an answer"
        self._fail(UpstreamError(f"closed the connection {when}" + (f" ({exc})" if exc else ""), stale=stale))

    def _read_head(self, head: bytes) -> None:
        first, *lines = head.decode("latin-1").split("\r\n")
        words = first.split(" ", 2)
        if len(words) < 2 or not words[0].startswith("HTTP/1.") or not words[1].isdigit():
            raise UpstreamError(f"not an HTTP answer: {first[:60]!r}")
        self.status = int(words[1])
        self.headers = {
            name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
        }
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            self._chunks = ChunkedDecoder()
        elif "content-length" in self.headers:
            self._left = int(self.headers["content-length"])
        else:
            self._left = None
        self.head.set_result(None)

    def _take(self, data: bytes) -> None:
        if self._chunks is not None:
            data = self._chunks.feed(data)
            complete = self._chunks.done
        elif self._left is not None:
            self._left -= len(data)
            if self._left < 0:
                raise UpstreamError("more body than its length says")
            complete = not self._left
        else:
            complete = False
        if data:
            if self._relay is not None:
                self._relay(data)
            else:
                self._body += data
        if complete and not self.done.done():
            self.done.set_result(None)

    def _fail(self, error: UpstreamError) -> None:
        for future in (self.head, self.done):
            if not future.done():
                future.set_exception(error)


def _seen(future: asyncio.Future[None]) -> None:
    if not future.cancelled():
        future.exception()


class Peer:
    """One engine behind a router: whether it is well, how busy it is, and connections kept to it."""

    def __init__(self, kind: str, host: str, port: int, timeout: float, loop: asyncio.AbstractEventLoop) -> None:
        self.kind = kind
        self.address = f"{host}:{port}"
        self.problem: str | None = "not checked yet"
        self.in_flight = 0
        self.requests = 0
        self.errors = 0
        self._host = host
        self._port = port
        self._timeout = timeout
        self._loop = loop
        self._idle: list[UpstreamConnection] = []

    @property
    def up(self) -> bool:
        """Whether its last health check was good."""
        return self.problem is None

    async def send(
        self, method: str, path: str, body: bytes, silence: float, receive: Receive | None = None
    ) -> UpstreamConnection:
        """Send a request and return its connection once the answer's head is there; give it back with `release`.

        With `receive` the body goes there as it comes, from its first byte; otherwise see the connection.

        Raises UpstreamError, with `refused` when no connection could be made.
        """
        request = (
            f"{method} {path} HTTP/1.1\r\nHost: {self.address}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        ).encode() + body
        while True:
            connection = await self._connection()
            connection.send(request, receive)
            try:
                await connection.wait(connection.head, silence)
            except UpstreamError as error:
                connection.transport.abort()
                if not error.stale:
                    raise
            except asyncio.CancelledError:
                connection.transport.abort()
                raise
            else:
                return connection

    async def _connection(self) -> UpstreamConnection:
        while self._idle:
            connection = self._idle.pop()
            if not connection.closed:
                return connection
        try:
            _, connection = await asyncio.wait_for(
                self._loop.create_connection(lambda: UpstreamConnection(self._loop), self._host, self._port),
                self._timeout,
            )
        except (asyncio.TimeoutError, TimeoutError):
            raise UpstreamError(f"no connection within {self._timeout:g} s", refused=True) from None
        except OSError as error:
            raise UpstreamError(os.strerror(error.errno) if error.errno else str(error), refused=True) from error
        return connection

    def release(self, connection: UpstreamConnection) -> None:
        """Keep the connection when it can be used again, else close it."""
        if connection.reusable:
            self._idle.append(connection)
        else:
            connection.transport.abort()

    async def check(self) -> None:
        """Ask the peer's /health and note the result."""
        try:
            connection = await self.send("GET", "/health", b"", self._timeout)
            body = await connection.body(self._timeout)
            self.problem = None if connection.status == 200 else f"/health {connection.status} {body[:80].decode()}"
            self.release(connection)
        except UpstreamError as error:
            self.problem = str(error)

    def close(self) -> None:
        """Close the connections kept."""
        while self._idle:
            self._idle.pop().transport.abort()
