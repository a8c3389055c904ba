"""The known-timing server: what it sends is on its schedule, and on its record."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys

import pytest

from .servers import mock_server


def ask(port, method, path, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(method, path, json.dumps(body) if body is not None else None)
    answer = connection.getresponse()
    data = answer.read()
    connection.close()
    return answer.status, data


def events(data):
    found = [e[6:] for e in data.split(b"\n\n") if e]
    return [json.loads(e) if e != b"[DONE]" else None for e in found]


def test_streams_have_the_length_and_the_chunks_asked_for():
    with mock_server(per_chunk=3) as server:
        _, data = ask(server.port, "POST", "/v1/chat/completions", {"stream": True, "max_tokens": 8})
        found = events(data)
    texts = [e["choices"][0]["delta"]["content"] for e in found[:-1] if e["choices"]]
    assert [t.count("tok") for t in texts] == [0, 3, 3, 2]
    assert found[-2]["usage"]["completion_tokens"] == 8
    assert found[-1] is None


def test_the_record_follows_the_schedule():
    with mock_server(ttft_ms=30, itl_ms=10) as server:
        ask(server.port, "POST", "/v1/completions", {"stream": True, "max_tokens": 5, "prompt": [1, 2, 3]})
        (stream,) = server.log()["streams"]
    after = [(t - stream["received"]) / 1e6 for t in stream["sent"]]
    assert len(after) == 5
    assert all(seen >= wanted for seen, wanted in zip(after, [30, 40, 50, 60, 70], strict=True))


def test_settings_change_while_it_runs_and_nonsense_is_refused():
    with mock_server() as server:
        assert ask(server.port, "GET", "/__config?ttft_ms=7&stagger=true")[0] == 200
        assert (server.timing.ttft_ms, server.timing.stagger) == (7.0, True)
        assert ask(server.port, "GET", "/__config?speed=1")[0] == 400
        assert ask(server.port, "GET", "/nowhere")[0] == 404


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/chat/completions"])
def test_whole_answers(path):
    with mock_server() as server:
        status, data = ask(server.port, "POST", path, {"max_tokens": 3, "prompt": [1, 2, 3, 4]})
    assert status == 200
    assert json.loads(data)["usage"] == {"prompt_tokens": 4, "completion_tokens": 3}


def test_staggered_streams_do_not_send_at_once():
    with mock_server(ttft_ms=10, itl_ms=40, stagger=True) as server:
        for _ in range(4):
            ask(server.port, "POST", "/v1/completions", {"stream": True, "max_tokens": 1})
        waits = [s["sent"][0] - s["received"] for s in server.log()["streams"]]
    assert len({w // 4_000_000 for w in waits}) >= 3  # on a busy machine two may fall together


def test_a_port_that_is_taken_is_told_in_a_line():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        words = [sys.executable, "-m", "playbook_plugins.benchmarks.aicp.core.mock", "--port", port]
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert done.stderr == f"playbook-aicp: 127.0.0.1:{port}: Address already in use\n"
