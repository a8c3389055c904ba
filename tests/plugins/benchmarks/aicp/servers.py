"""Servers to aim at: one of known timing, and one that says exactly the bytes it is told to."""

from __future__ import annotations

import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from playbook_plugins.benchmarks.aicp.core.mock import MockServer, Timing

Step = bytes | float | Callable[[socket.socket], None]


@contextmanager
def mock_server(**timing: object) -> Iterator[MockServer]:
    """The known-timing server on a thread of this process."""
    server = MockServer(timing=Timing(**{"ttft_ms": 0.0, "itl_ms": 0.0, "stagger": False, **timing}))
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join(10)


def sse(*events: object, end: bytes = b"\n\n") -> bytes:
    """Events as a server sends them; text stands for itself."""
    made = [e if isinstance(e, str) else json.dumps(e) for e in events]
    return b"".join(b"data: " + e.encode() + end for e in made)


def token(text: str = "x", **more: object) -> dict[str, object]:
    return {"id": "a", "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}], **more}


def thought(text: str = "hm", key: str = "reasoning_content") -> dict[str, object]:
    return {"id": "a", "choices": [{"index": 0, "delta": {key: text}, "finish_reason": None}]}


def usage(prompt: int, completion: int) -> dict[str, object]:
    return {"id": "a", "choices": [], "usage": {"prompt_tokens": prompt, "completion_tokens": completion}}


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
LAST = b"0\r\n\r\n"


def stream(*events: object) -> bytes:
    """A whole answer, one chunk for each event."""
    return HEAD + b"".join(chunk(sse(e)) for e in (*events, "[DONE]")) + LAST


def plain(status: int, body: bytes, *headers: bytes, kind: bytes = b"application/json") -> bytes:
    more = b"".join(h + b"\r\n" for h in headers)
    return b"HTTP/1.1 %d X\r\nContent-Type: %b\r\nContent-Length: %d\r\n%b\r\n%b" % (
        status,
        kind,
        len(body),
        more,
        body,
    )


class Canned:
    """Answers each request with steps: bytes are sent, a float is slept, a callable gets the socket.

    ``requests`` are those that came, whole. After the steps the connection stays open, unless ``close``.
    """

    def __init__(
        self, answers: Sequence[Sequence[Step]], *, close: bool = False, context: ssl.SSLContext | None = None
    ) -> None:
        self.answers, self.close, self.context = answers, close, context
        self.requests: list[bytes] = []
        self.connections = 0
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._talk, args=(sock,), daemon=True).start()

    def _talk(self, sock: socket.socket) -> None:
        try:
            if self.context is not None:
                sock = self.context.wrap_socket(sock, server_side=True)
            with sock:
                data = b""
                while True:
                    while b"\r\n\r\n" not in data:
                        more = sock.recv(65536)
                        if not more:
                            return
                        data += more
                    head, _, rest = data.partition(b"\r\n\r\n")
                    length = int(re.search(rb"(?i)content-length: (\d+)", head)[1])
                    while len(rest) < length:
                        rest += sock.recv(65536)
                    self.requests.append(head + b"\r\n\r\n" + rest[:length])
                    data = rest[length:]
                    for step in self.answers[(len(self.requests) - 1) % len(self.answers)]:
                        if isinstance(step, bytes):
                            sock.sendall(step)
                        elif callable(step):
                            step(sock)
                        else:
                            time.sleep(step)
                    if self.close:
                        return
        except OSError:
            return

    def stop(self) -> None:
        self.listener.close()
