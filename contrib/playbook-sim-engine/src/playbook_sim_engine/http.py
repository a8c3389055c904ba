"""A small HTTP/1.1 server on a raw asyncio protocol: keep-alive, pipelining in order, streams in chunks.

One request of a connection is handled at a time; bytes of the next ones wait. A lost connection is told to the
request that runs on it, which is how a client's disconnect frees its slot.
"""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus
from typing import Callable, Protocol

from playbook_sim_engine.chunked import ChunkedDecoder, ChunkedError

_LOG = logging.getLogger("playbook_sim_engine")
_MAX_HEAD = 65536
_MAX_PIPELINED = 262144
_MAX_UNSENT = 8 * 1024 * 1024
_REASONS = {status.value: status.phrase for status in HTTPStatus}

Headers = tuple[tuple[str, str], ...]


class BadRequest(Exception):
    """A request that HTTP itself refuses; the connection is closed after the answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Request:
    """One complete request. Header names are lower-case; `local_host` is the address it came in on."""

    __slots__ = ("body", "headers", "keep_alive", "local_host", "method", "path", "query", "version")

    def __init__(self, method: str, target: str, version: str, headers: dict[str, str]) -> None:
        self.method = method
        self.path, _, self.query = target.partition("?")
        self.version = version
        self.headers = headers
        self.body = b""
        self.local_host = ""
        wish = headers.get("connection", "").lower()
        self.keep_alive = "close" not in wish and (version == "HTTP/1.1" or "keep-alive" in wish)


class App(Protocol):
    """What answers requests: now, or later through the exchange."""

    max_body: int

    def handle(self, request: Request, exchange: Exchange) -> None:
        """Answer, or keep the exchange and answer later."""
        ...

    def error_body(self, status: int, message: str) -> bytes:
        """Give the body of an error that HTTP itself raises."""
        ...


class Exchange:
    """The answer to one request. After `end` or `abort`, or once the client is gone, writing does nothing."""

    __slots__ = ("_chunked", "_connection", "_keep_alive", "closed", "on_disconnect", "split", "started")

    def __init__(self, connection: Connection, request: Request) -> None:
        self._connection = connection
        self._keep_alive = request.keep_alive
        self._chunked = request.version == "HTTP/1.1"
        self.closed = False
        self.started = False
        self.split = 0
        self.on_disconnect: Callable[[], None] | None = None

    def respond(self, status: int, body: bytes, content_type: str = "application/json", headers: Headers = ()) -> None:
        """Send a whole answer with its length."""
        if self.closed:
            return
        self._head(status, content_type, (*headers, ("Content-Length", str(len(body)))), body)
        self.end()

    def start_stream(self, status: int, content_type: str, headers: Headers = ()) -> None:
        """Send the head of an answer whose end is not known; HTTP/1.0 clients see it end by the connection closing."""
        if self._chunked:
            headers = (*headers, ("Transfer-Encoding", "chunked"))
        else:
            self._keep_alive = False
        self._head(status, content_type, headers, b"")

    def chunk(self, data: bytes) -> bytes:
        """Frame `data` for a started stream."""
        return b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data

    def last_chunk(self) -> bytes:
        """Frame the end of a stream."""
        return b"0\r\n\r\n" if self._chunked else b""

    def write(self, framed: bytes) -> None:
        """Send bytes that are framed already; a client that reads too slowly for too long is cut off."""
        if self.closed:
            return
        connection = self._connection
        if self.split:
            for at in range(0, len(framed), self.split):
                connection.transport.write(framed[at : at + self.split])
        else:
            connection.transport.write(framed)
        if connection.transport.get_write_buffer_size() > _MAX_UNSENT:
            _LOG.warning("a client left %d bytes unread: cut off", connection.transport.get_write_buffer_size())
            connection.transport.abort()

    def end(self) -> None:
        """Say that the answer is complete; the connection takes its next request or closes."""
        if not self.closed:
            self.closed = True
            self._connection.exchange_done(keep_alive=self._keep_alive)

    def abort(self) -> None:
        """Cut the connection in the middle of the answer, after what was written."""
        if not self.closed:
            self.closed = True
            self._connection.transport.close()

    def lost(self) -> None:
        """Note that the client is gone, and tell whoever is answering."""
        if not self.closed:
            self.closed = True
            if self.on_disconnect is not None:
                self.on_disconnect()

    def _head(self, status: int, content_type: str, headers: Headers, body: bytes) -> None:
        if self.closed:
            return
        self.started = True
        lines = [f"HTTP/1.1 {status} {_REASONS.get(status, 'Unknown')}", f"Content-Type: {content_type}"]
        lines += [f"{name}: {value}" for name, value in headers]
        if not self._keep_alive:
            lines.append("Connection: close")
        self._connection.transport.write("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)


class Connection(asyncio.Protocol):
    """One client connection."""

    transport: asyncio.Transport

    def __init__(self, app: App, open_connections: set[Connection]) -> None:
        self._app = app
        self._open = open_connections
        self._buffer = bytearray()
        self._request: Request | None = None
        self._chunks: ChunkedDecoder | None = None
        self._exchange: Exchange | None = None
        self._advancing = False
        self._paused = False
        self._closing = False
        self._local_host = ""

    @property
    def busy(self) -> bool:
        """Whether a request is being answered."""
        return self._exchange is not None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        self._local_host = transport.get_extra_info("sockname")[0]
        self._open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._open.discard(self)
        self._closing = True
        if self._exchange is not None:
            exchange, self._exchange = self._exchange, None
            exchange.lost()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._exchange is None:
            self._advance()
        elif len(self._buffer) > _MAX_PIPELINED and not self._paused:
            self._paused = True
            self.transport.pause_reading()

    def exchange_done(self, *, keep_alive: bool) -> None:
        """Take the next request, or close."""
        self._exchange = None
        if not keep_alive:
            self.close()
            return
        if self._paused:
            self._paused = False
            self.transport.resume_reading()
        if self._buffer and not self._advancing:
            self._advance()

    def close(self) -> None:
        """Close after what was written."""
        self._closing = True
        self.transport.close()

    def _advance(self) -> None:
        self._advancing = True
        try:
            while self._exchange is None and not self._closing and self._step():
                pass
        except (BadRequest, ChunkedError) as error:
            status = error.status if isinstance(error, BadRequest) else 400
            request = self._request or Request("GET", "/", "HTTP/1.1", {})
            request.keep_alive = False
            exchange = self._exchange = Exchange(self, request)
            exchange.respond(status, self._app.error_body(status, str(error)))
        finally:
            self._advancing = False

    def _step(self) -> bool:
        """Read on as far as the bytes reach; say whether anything was completed."""
        if self._request is None and not self._read_head():
            return False
        request = self._request
        if request is None or not self._read_body(request):
            return False
        self._request = self._chunks = None
        request.local_host = self._local_host
        exchange = self._exchange = Exchange(self, request)
        try:
            self._app.handle(request, exchange)
        except Exception:  # noqa: BLE001 - the connection must be answered whatever the handler met
            _LOG.exception("%s %s failed", request.method, request.path)
            if exchange.started:
                exchange.abort()
            else:
                exchange.respond(500, self._app.error_body(500, "internal error; see the engine's log"))
        return True

    def _read_head(self) -> bool:
        while self._buffer[:2] == b"\r\n":
            del self._buffer[:2]
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > _MAX_HEAD:
                raise BadRequest(431, "the request's head is larger than 64 KiB")
            return False
        first, *lines = self._buffer[:end].decode("latin-1").split("\r\n")
        del self._buffer[: end + 4]
        words = first.split(" ")
        if len(words) != 3 or words[2] not in ("HTTP/1.1", "HTTP/1.0"):
            raise BadRequest(400, f"not an HTTP/1.1 request line: {first[:80]!r}")
        headers: dict[str, str] = {}
        for line in lines:
            name, colon, value = line.partition(":")
            if not colon or name != name.strip():
                raise BadRequest(400, f"not a header: {line[:80]!r}")
            headers[name.lower()] = value.strip()
        self._request = Request(words[0], words[1], words[2], headers)
        self._expect_body(headers)
        return True

    def _expect_body(self, headers: dict[str, str]) -> None:
        if headers.get("transfer-encoding", "").lower() == "chunked":
            self._chunks = ChunkedDecoder()
        elif "transfer-encoding" in headers:
            raise BadRequest(501, f"transfer coding {headers['transfer-encoding']!r} is not supported")
        elif not headers.get("content-length", "0").isdigit():
            raise BadRequest(400, f"not a content length: {headers['content-length']!r}")
        elif int(headers.get("content-length", "0")) > self._app.max_body:
            raise BadRequest(413, f"the body is larger than {self._app.max_body} bytes")
        if headers.get("expect", "").lower() == "100-continue":
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _read_body(self, request: Request) -> bool:
        if self._chunks is not None:
            request.body += self._chunks.feed(bytes(self._buffer))
            self._buffer.clear()
            if len(request.body) > self._app.max_body:
                raise BadRequest(413, f"the body is larger than {self._app.max_body} bytes")
            self._buffer += self._chunks.rest
            return self._chunks.done
        length = int(request.headers.get("content-length", "0"))
        if len(self._buffer) < length:
            return False
        request.body = bytes(self._buffer[:length])
        del self._buffer[:length]
        return True
