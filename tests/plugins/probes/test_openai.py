"""The openai probe against a server that behaves as engines do, well and badly."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playbook_kernel.api import Secret, within
from playbook_plugins.probes.openai import OpenAIProbe, Options

from .conftest import Reply, Server, Targets

MODELS, CHAT = "/v1/models", "/v1/chat/completions"


def completion(**message: Any) -> Reply:
    return Reply(200, {"choices": [{"message": message}]})


@pytest.fixture
def engine(server: Server) -> Server:
    server.replies = {
        MODELS: Reply(200, {"data": [{"id": "tiny"}, {"id": "other"}]}),
        CHAT: completion(content="Hello"),
    }
    return server


@pytest.mark.parametrize("suffix", ["", "/", "/v1", "/v1/"])
def test_it_lists_its_model_and_completes(engine: Server, target: Targets, suffix: str) -> None:
    options = Options(engine.address + suffix, model="other", api_key=Secret("key-1"))
    health = OpenAIProbe(options).check(target())
    assert (health.ok, health.detail) == (True, f"{engine.address}: other completes")
    assert [(r.method, r.path) for r in engine.requests] == [("GET", MODELS), ("POST", CHAT)]
    assert {r.headers["Authorization"] for r in engine.requests} == {"Bearer key-1"}
    assert json.loads(engine.requests[1].body)["model"] == "other"


def test_whatever_it_serves_will_do(engine: Server, target: Targets) -> None:
    assert OpenAIProbe(Options(engine.address)).check(target()).ok
    assert json.loads(engine.requests[1].body)["model"] == "tiny"


def test_thinking_is_an_answer_too(engine: Server, target: Targets) -> None:
    engine.replies[CHAT] = completion(content=None, reasoning_content="Hm")
    assert OpenAIProbe(Options(engine.address)).check(target()).ok


def test_only_the_list_if_so_wanted(engine: Server, target: Targets) -> None:
    health = OpenAIProbe(Options(engine.address, completion=False)).check(target())
    assert health.detail == f"{engine.address} serves tiny, other"
    assert len(engine.requests) == 1


@pytest.mark.parametrize(
    "path, reply, said",
    [
        (MODELS, Reply(503), "/v1/models: status 503"),
        (MODELS, Reply(200, {"data": [{"id": "another"}]}), "serves another, not tiny"),
        (MODELS, Reply(200, {"data": []}), "serves nothing, not tiny"),
        (MODELS, Reply(200, b"<html>"), "not what an OpenAI-compatible engine gives"),
        (MODELS, Reply(200, ["tiny"]), "not what an OpenAI-compatible engine gives"),
        (CHAT, Reply(500, b"out of memory"), "a completion got status 500: out of memory"),
        (CHAT, Reply(200, {"choices": []}), "not what an OpenAI-compatible engine gives"),
        (CHAT, completion(content=""), "a completion came back empty"),
    ],
)
def test_a_wrong_answer(engine: Server, target: Targets, path: str, reply: Reply, said: str) -> None:
    engine.replies[path] = reply
    health = OpenAIProbe(Options(engine.address, model="tiny")).check(target())
    assert not health.ok
    assert said in health.detail


def test_an_engine_that_lists_but_never_completes(engine: Server, target: Targets) -> None:
    engine.stuck.add(CHAT)
    with within(0.3):
        health = OpenAIProbe(Options(engine.address)).check(target())
    assert not health.ok
    assert len(engine.requests) == 2
    assert not engine.over.is_set()


def test_the_key_is_not_told(engine: Server, target: Targets) -> None:
    engine.replies[MODELS] = Reply(401, b"wrong key")
    probe = OpenAIProbe(Options(engine.address, api_key=Secret("key-1")))
    assert "key-1" not in repr(probe.check(target())) + repr(probe.options)
