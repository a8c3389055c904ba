"""The sockets: so many connections at once, each with deadlines, and one request for each."""

from __future__ import annotations

import contextlib
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from .site import Answer, Site

CONNECTIONS = 32
HEADERS_SECONDS = 10.0
"""How long a client may take to say what it wants, however slowly it says it."""
_STALLED_SECONDS = 30.0
_BODY = 4096


class Server(ThreadingHTTPServer):
    """Serves a site until :meth:`shutdown`. Raises OSError when the address cannot be had."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = CONNECTIONS

    def __init__(self, host: str, port: int, site: Site) -> None:
        self.site = site
        self.free = threading.BoundedSemaphore(CONNECTIONS)
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        self.address_family = family
        super().__init__(address[:2], Handler)  # type: ignore[arg-type]

    def process_request(self, request: Any, client_address: Any) -> None:
        """A client beyond the limit is told so at once, and costs no thread."""
        if self.free.acquire(blocking=False):
            super().process_request(request, client_address)
            return
        with contextlib.suppress(OSError):
            request.settimeout(0.1)
            request.sendall(b"HTTP/1.0 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n")
        self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no event."""


class Handler(BaseHTTPRequestHandler):
    """One request of one connection."""

    server: Server
    server_version = "playbook-kernel"
    sys_version = ""
    timeout = _STALLED_SECONDS

    def setup(self) -> None:
        super().setup()
        self._late = threading.Timer(HEADERS_SECONDS, self._give_up)
        self._late.daemon = True
        self._late.start()

    def finish(self) -> None:
        self._late.cancel()
        super().finish()

    def _give_up(self) -> None:
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def do_GET(self) -> None:
        self._reply(b"")

    do_HEAD = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_GET

    def do_POST(self) -> None:
        try:
            size = int(self.headers.get("Content-Length", "0"))
        except ValueError:
            size = -1
        if not 0 <= size <= _BODY:
            self._send(Answer(413))
            return
        self._reply(self.rfile.read(size))

    def _reply(self, body: bytes) -> None:
        self._late.cancel()
        self._send(self.server.site.answer(self.command, self.path, self.headers, body))  # type: ignore[arg-type]

    def _send(self, answer: Answer) -> None:
        try:
            self.send_response(answer.status)
            for name, value in answer.all_headers().items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "HEAD":
                return
            if isinstance(answer.body, bytes):
                self.wfile.write(answer.body)
            else:
                _copy(answer, self.wfile)
        finally:
            if not isinstance(answer.body, bytes):
                answer.body.close()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the library's
        """Nothing is logged: what people look at is their own business, and a log might keep what they typed."""


def _copy(answer: Answer, into: Any) -> None:
    """As many bytes as were promised, though the file may grow meanwhile."""
    assert not isinstance(answer.body, bytes)
    left = answer.size
    while left and (data := answer.body.read(min(left, 1 << 18))):
        into.write(data)
        left -= len(data)
