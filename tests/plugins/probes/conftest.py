"""A small HTTP server that answers as a test wants, and what probes look at."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field, frozen
from playbook_kernel.api import DriverRef, Node, Service, Session, State, Target
from playbook_plugins.transports.local import LocalTransport


@frozen
class Reply:
    status: int = 200
    body: Any = b""
    """Bytes, or what is sent as JSON."""


@frozen
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@define(eq=False)
class Server:
    """``replies`` by path; a path that is in ``stuck`` is answered only when the test is over."""

    address: str = ""
    replies: dict[str, Reply] = field(factory=dict)
    requests: list[Request] = field(factory=list)
    stuck: set[str] = field(factory=set)
    over: threading.Event = field(factory=threading.Event)

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        size = int(handler.headers.get("Content-Length") or 0)
        request = Request(handler.command, handler.path, dict(handler.headers), handler.rfile.read(size))
        self.requests.append(request)
        if handler.path in self.stuck:
            self.over.wait(60)
        reply = self.replies.get(handler.path, Reply(404))
        data = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        handler.send_response(reply.status)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.answer(self)

        do_POST = do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            pass

        def handle(self) -> None:
            with contextlib.suppress(ConnectionError):  # the probe had no patience left
                super().handle()

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        listening.daemon_threads = True
        made.address = f"http://127.0.0.1:{listening.server_address[1]}"
        thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
        thread.start()
        yield made
        made.over.set()
        listening.shutdown()
        thread.join()


@pytest.fixture
def session() -> Iterator[Session]:
    with LocalTransport(LocalTransport.options_type()).connect(Node("here", DriverRef("local")), owner="") as opened:
        yield opened


Targets = Callable[..., Target]


@pytest.fixture
def target(session: Session) -> Targets:
    """Makes what a probe looks at; ``host`` is where the node is, as seen from the controller."""

    def made(*, host: str = "127.0.0.1", state: State | None = None, one_shot: bool = False) -> Target:
        service = Service("engine", ("here",), Path("docker-compose.yml"), one_shot=one_shot)
        return Target(service, session.node, host, session, state or State("engine", "running"))

    return made
