"""Conversations in which the server's own answers are said again."""

from __future__ import annotations

import json

import pytest
from playbook_plugins.benchmarks.aicp.core.history import filled, place

from .servers import stream, thought, token, usage

FLAGS = ("--dataset-name", "multi-turn", "--turns", 3, "--num-prompts", 3, "--max-concurrency", 1, "--disable-warm")
SAID = ['one "quoted" \\ line\n', "zwei äöü", "third"]


def answers():
    return [[stream(thought("hm"), token(text[:4]), token(text[4:]), usage(4, 2))] for text in SAID]


@pytest.mark.parametrize("engine", ["epoll", "uvloop"])
def test_the_history_holds_what_the_server_said(aicp, canned, engine):
    server = canned(*answers())
    run = aicp(server.port, *FLAGS, "--own-answers", "--engine", engine)
    assert run.status == 0, run.err
    asked = [json.loads(r.partition(b"\r\n\r\n")[2])["messages"] for r in server.requests]
    assert [m["content"] for m in asked[2] if m["role"] == "assistant"] == SAID[:2]
    assert [m["content"] for m in asked[1] if m["role"] == "assistant"] == SAID[:1]
    assert [m["role"] for m in asked[2]] == ["user", "assistant"] * 2 + ["user"]
    assert asked[2][0] == asked[0][0]


def test_without_it_the_history_holds_the_recorded_answers(aicp, canned):
    server = canned(*answers())
    assert aicp(server.port, *FLAGS).status == 0
    said = json.loads(server.requests[2].partition(b"\r\n\r\n")[2])["messages"]
    assert not {m["content"] for m in said if m["role"] == "assistant"} & set(SAID)


def test_a_place_is_filled_wherever_json_has_it_and_the_length_is_right():
    body = json.dumps({"prompt": f"q {place(0)} q {place(1)} {place(2)}"}).encode()
    request = filled(b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body), ["a\n", "b"])
    head, _, body = request.partition(b"\r\n\r\n")
    assert json.loads(body) == {"prompt": "q a\n q b "}
    assert head.endswith(b"Content-Length: %d" % len(body))


def test_it_needs_conversations(aicp):
    run = aicp(1, "--own-answers")
    assert run.status == 2
    assert "own_answers: only conversations" in run.err
