"""The http probe against a real server."""

from __future__ import annotations

import json
import socket
import threading
from typing import Any

import pytest
from playbook_kernel.api import structure, within
from playbook_plugins.probes.http import HttpProbe, Options
from playbook_plugins.probes.openai import Options as OpenAIOptions

from .conftest import Reply, Server, Targets


def test_a_good_answer(server: Server, target: Targets) -> None:
    server.replies["/health"] = Reply(200, {"status": "ok", "role": "decode"})
    options = Options(f"{server.address}/health", contains="decode", json={"status": "ok"})
    health = HttpProbe(options).check(target())
    assert (health.ok, health.detail) == (True, f"{server.address}/health: 200")


@pytest.mark.parametrize(
    "reply, more, said",
    [
        (Reply(503), {}, "status 503 Service Unavailable, expected 200"),
        (Reply(200), {"expected_status": [201, 204]}, "status 200 OK, expected 201 or 204"),
        (Reply(200, b"starting"), {"contains": "ready"}, "does not contain 'ready'"),
        (Reply(200, b"starting"), {"json": {"status": "ok"}}, "the answer is not JSON"),
        (Reply(200, {"status": "bad"}), {"json": {"status": "ok"}}, "status is 'bad', expected 'ok'"),
        (Reply(200, ["ok"]), {"json": {"status": "ok"}}, "expected 'ok'"),
    ],
)
def test_a_wrong_answer(server: Server, target: Targets, reply: Reply, more: dict[str, Any], said: str) -> None:
    server.replies["/"] = reply
    health = HttpProbe(Options(f"{server.address}/", **more)).check(target())
    assert not health.ok
    assert said in health.detail


def test_any_of_several_statuses_will_do(server: Server, target: Targets) -> None:
    server.replies["/"] = Reply(204)
    assert HttpProbe(Options(f"{server.address}/", expected_status=[200, 204])).check(target()).ok


def test_what_is_sent(server: Server, target: Targets) -> None:
    server.replies["/ask?deep=1"] = Reply()
    options = Options(f"{server.address}/ask?deep=1", method="post", headers={"X-Key": "k"}, body={"a": [1]})
    assert HttpProbe(options).check(target()).ok
    [request] = server.requests
    assert (request.method, request.headers["X-Key"]) == ("POST", "k")
    assert request.headers["Content-Type"] == "application/json"
    assert json.loads(request.body) == {"a": [1]}


def test_localhost_is_the_node(server: Server, target: Targets) -> None:
    server.replies["/"] = Reply()
    url = f"http://localhost:{server.port}/"
    assert HttpProbe(Options(url)).check(target(host="127.0.0.1")).ok
    elsewhere = HttpProbe(Options(url)).check(target(host="127.0.0.9"))
    assert not elsewhere.ok
    assert elsewhere.detail.startswith(f"http://127.0.0.9:{server.port}/")
    assert HttpProbe(Options(url, via="node")).check(target(host="127.0.0.9")).ok, "the node itself is asked"


@pytest.mark.parametrize("via", ["controller", "node"])
def test_nothing_listens(target: Targets, via: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens there
        health = HttpProbe(Options(f"http://127.0.0.1:{taken.getsockname()[1]}/", via=via)).check(target())
    assert not health.ok
    assert "refused" in health.detail.lower()


@pytest.mark.parametrize("via", ["controller", "node"])
def test_an_answer_that_does_not_come_in_time(server: Server, target: Targets, via: str) -> None:
    server.stuck.add("/")
    with within(0.2):
        health = HttpProbe(Options(f"{server.address}/", via=via)).check(target())
    assert not health.ok
    assert not server.over.is_set(), "it did not wait for the answer"


def test_what_is_not_http(target: Targets) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(10)
        port = listening.getsockname()[1]

        def babble() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(100)
                connection.sendall(b"SSH-2.0-no http here\r\n")

        thread = threading.Thread(target=babble)
        thread.start()
        health = HttpProbe(Options(f"http://127.0.0.1:{port}/")).check(target())
        thread.join()
    assert not health.ok
    assert "SSH-2.0" in health.detail


@pytest.mark.parametrize(
    "url, hint",
    [("ftp://x/", ""), ("localhost:8000/health", "; did you mean http://localhost:8000/health?"), ("http:///x", "")],
)
def test_an_address_that_is_none(url: str, hint: str) -> None:
    told = f"url: {url!r} is not an http:// or https:// address{hint}"
    for options in (Options, OpenAIOptions):
        made, problems = structure({"url": url}, options)
        assert (made, problems) == (None, [("", told)])
