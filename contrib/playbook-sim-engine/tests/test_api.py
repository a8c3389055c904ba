"""The OpenAI API as clients see it."""

import json

import pytest


def test_a_whole_chat_answer(engine):
    status, answer = engine.chat(max_tokens=5)
    assert status == 200
    assert answer["object"] == "chat.completion"
    (choice,) = answer["choices"]
    assert choice["message"]["role"] == "assistant"
    assert len(choice["message"]["content"].split()) == 5
    assert choice["finish_reason"] == "length"
    usage = answer["usage"]
    assert usage["completion_tokens"] == 5
    assert usage["total_tokens"] == usage["prompt_tokens"] + 5


def test_every_event_of_a_chat_stream(engine, events_of):
    stream, whole = engine.stream("/v1/chat/completions", max_tokens=3, stream_options={"include_usage": True})
    assert whole
    assert all(line.startswith(b"data: ") for line in stream.split(b"\n\n") if line)
    events, done = events_of(stream)
    assert done
    assert {event["object"] for event in events} == {"chat.completion.chunk"}
    assert len({event["id"] for event in events}) == 1
    *chunks, usage = events
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert [c["choices"][0]["finish_reason"] for c in chunks] == [None, None, None, "length"]
    assert all(list(c["choices"][0]["delta"]) == ["content"] for c in chunks[1:])
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens"] == 3


def test_usage_comes_only_when_asked_for(engine, events_of):
    events, _ = events_of(engine.stream()[0])
    assert not any("usage" in event for event in events)
    options = {"include_usage": True, "continuous_usage_stats": True}
    events, _ = events_of(engine.stream(stream_options=options, max_tokens=3)[0])
    assert [event["usage"]["completion_tokens"] for event in events] == [1, 2, 3, 3]


def test_stream_and_whole_answer_have_the_same_form_on_the_wire(engine):
    body = json.dumps({"model": "sim-model", "prompt": "x", "max_tokens": 2, "stream": True})
    with engine.raw() as sock:
        sock.sendall(f"POST /v1/completions HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        received = b""
        while not received.endswith(b"0\r\n\r\n"):
            received += sock.recv(65536)
    head, _, rest = received.partition(b"\r\n\r\n")
    assert b"Content-Type: text/event-stream; charset=utf-8" in head
    assert b"Transfer-Encoding: chunked" in head
    sizes = []
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        sizes.append(int(size, 16))
        chunk, rest = rest[: sizes[-1]], rest[sizes[-1] + 2 :]
        assert not chunk or (chunk.startswith(b"data: ") and chunk.endswith(b"\n\n"))
    assert len(sizes) == 4  # two tokens, [DONE], the end
    status, _ = engine.complete()
    assert status == 200
    assert "Content-Length" in engine.last_headers


@pytest.mark.parametrize(
    ("prompt", "tokens", "choices"),
    [
        ("x" * 40, 10, 1),
        ([5, 6, 7], 3, 1),
        (["x" * 4, "y" * 8], 3, 2),
        ([[1, 2], [3, 4, 5]], 5, 2),
    ],
)
def test_prompts_of_all_forms_are_counted(engine, prompt, tokens, choices):
    status, answer = engine.complete(prompt, max_tokens=2)
    assert status == 200
    assert answer["usage"]["prompt_tokens"] == tokens
    assert [choice["index"] for choice in answer["choices"]] == list(range(choices))
    assert answer["usage"]["completion_tokens"] == 2 * choices


def test_several_prompts_in_one_stream(engine, events_of):
    body = {"model": "sim-model", "prompt": ["a", "b"], "max_tokens": 3, "stream": True}
    status, raw = engine.call("POST", "/v1/completions", body)
    events, done = events_of(raw)
    assert (status, done) == (200, True)
    assert sorted(event["choices"][0]["index"] for event in events) == [0, 0, 0, 1, 1, 1]


def test_a_stop_string_ends_the_answer_before_it(start):
    first, second = start("--seed", 7), start("--seed", 7)
    full = first.complete(max_tokens=12)[1]["choices"][0]["text"]
    word = full.split()[5]
    at = full.index(word)
    answer = second.complete(max_tokens=12, stop=[word])[1]
    (choice,) = answer["choices"]
    assert choice["text"] == full[:at]
    assert choice["finish_reason"] == "stop"
    assert answer["usage"]["completion_tokens"] <= 6


def test_a_stop_string_in_a_stream(start, events_of):
    first, second = start(), start()
    full = first.complete(max_tokens=12)[1]["choices"][0]["text"]
    word = full.split()[5]
    body = {"model": "sim-model", "prompt": "hello there", "max_tokens": 12, "stop": word, "stream": True}
    events, done = events_of(second.call("POST", "/v1/completions", body)[1])
    assert done
    assert "".join(event["choices"][0]["text"] for event in events) == full[: full.index(word)]
    assert events[-1]["choices"][0]["finish_reason"] == "stop"


def test_the_model_ends_by_itself_unless_told_not_to(start):
    engine = start("--output-tokens", 6)
    ended = engine.complete(max_tokens=20)[1]
    assert (ended["usage"]["completion_tokens"], ended["choices"][0]["finish_reason"]) == (6, "stop")
    ignored = engine.complete(max_tokens=20, ignore_eos=True)[1]
    assert (ignored["usage"]["completion_tokens"], ignored["choices"][0]["finish_reason"]) == (20, "length")
    assert engine.complete(max_tokens=20, min_tokens=9)[1]["usage"]["completion_tokens"] == 9
    assert engine.complete(max_tokens=3)[1]["choices"][0]["finish_reason"] == "length"


def test_max_completion_tokens_wins_in_chat(engine):
    assert engine.chat(max_tokens=9, max_completion_tokens=3)[1]["usage"]["completion_tokens"] == 3


def test_reasoning_comes_first_and_is_counted(start, events_of):
    engine = start("--reasoning-tokens", 3, "--tokens-per-chunk", 2)
    stream, _ = engine.stream("/v1/chat/completions", max_tokens=8, stream_options={"include_usage": True})
    events, _ = events_of(stream)
    deltas = [next(iter(e["choices"][0]["delta"])) for e in events if e["choices"]]
    assert deltas == ["role", "reasoning_content", "reasoning_content", "content", "content", "content"]
    assert events[-1]["usage"]["completion_tokens_details"] == {"reasoning_tokens": 3}
    message = engine.chat(max_tokens=8)[1]["choices"][0]["message"]
    assert len(message["reasoning_content"].split()) == 3
    assert len(message["content"].split()) == 5


def test_tokens_per_chunk(start, events_of):
    engine = start("--tokens-per-chunk", 4)
    events, _ = events_of(engine.stream(max_tokens=10, stream_options={"include_usage": True})[0])
    assert [len(e["choices"][0]["text"].split()) for e in events[:-1]] == [1, 4, 4, 1]
    assert events[-1]["usage"]["completion_tokens"] == 10


@pytest.mark.parametrize(
    ("path", "body", "status", "param"),
    [
        ("/v1/completions", b"{", 400, None),
        ("/v1/completions", b"[1]", 400, None),
        ("/v1/completions", {"prompt": "x", "model": "other"}, 404, "model"),
        ("/v1/completions", {"model": "sim-model"}, 400, "prompt"),
        ("/v1/completions", {"prompt": []}, 400, "prompt"),
        ("/v1/completions", {"prompt": [1, "x"]}, 422, "prompt"),
        ("/v1/completions", {"prompt": "x", "n": 2}, 400, "n"),
        ("/v1/completions", {"prompt": "x", "max_tokens": "many"}, 422, "max_tokens"),
        ("/v1/completions", {"prompt": "x", "max_tokens": 0}, 400, "max_tokens"),
        ("/v1/completions", {"prompt": "x", "max_tokens": True}, 422, "max_tokens"),
        ("/v1/completions", {"prompt": "x", "stream": "yes"}, 422, "stream"),
        ("/v1/completions", {"prompt": "x", "stop": [1]}, 422, "stop"),
        ("/v1/completions", {"prompt": "x", "temperature": "hot"}, 422, "temperature"),
        ("/v1/completions", {"prompt": "x" * 4 * 32768, "max_tokens": 1}, 400, "prompt"),
        ("/v1/completions", {"prompt": "x", "kv_transfer_params": {"do_remote_decode": True}}, 400, "kv_transfer_params"),
        ("/v1/chat/completions", {}, 400, "messages"),
        ("/v1/chat/completions", {"messages": "hello"}, 422, "messages"),
        ("/v1/chat/completions", {"messages": [{"content": "x"}]}, 422, "messages"),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 422, "messages"),
        ("/v1/embeddings", {"input": "x"}, 404, None),
    ],
)  # fmt: skip
def test_errors_have_openais_shape(engine, path, body, status, param):
    got, answer = engine.call("POST", path, body)
    assert got == status, answer
    assert set(answer["error"]) == {"message", "type", "param", "code"}
    assert answer["error"]["param"] == param
    assert answer["error"]["type"] == "invalid_request_error"


def test_models_version_and_wrong_methods(engine):
    status, models = engine.call("GET", "/v1/models")
    assert (status, models["data"][0]["id"]) == (200, "sim-model")
    assert engine.call("GET", "/version")[0] == 200
    assert engine.call("GET", "/ping")[0] == 200
    assert engine.call("GET", "/v1/completions")[0] == 405


def test_metrics_count_what_was_done(engine):
    engine.complete([1, 2, 3], max_tokens=5)
    engine.complete("x", model="other")
    samples = engine.metrics()
    assert samples["vllm:prompt_tokens_total"] == 3
    assert samples["vllm:generation_tokens_total"] == 5
    assert samples["vllm:time_to_first_token_seconds_count"] == 1
    assert samples["vllm:time_per_output_token_seconds_count"] == 4
    assert samples['vllm:time_to_first_token_seconds_bucket{le="+Inf"}'] == 1
    assert samples["vllm:e2e_request_latency_seconds_count"] == 1
    assert samples['vllm:request_success_total{finished_reason="length"}'] == 1
    assert samples["vllm:num_requests_running"] == 0
    assert samples["sim:requests_failed_total"] == 1


def test_the_prefix_cache_hits_on_repeats(start):
    engine = start("--prefix-cache-blocks", 100)
    prompt = list(range(64))
    engine.complete(prompt)
    assert engine.metrics()["vllm:prefix_cache_hits_total"] == 0
    engine.complete(prompt)
    samples = engine.metrics()
    assert samples["vllm:prefix_cache_queries_total"] == 128
    assert samples["vllm:prefix_cache_hits_total"] == 63  # one token is always computed
    engine.complete([*range(32), *range(900, 932)])
    assert engine.metrics()["vllm:prefix_cache_hits_total"] == 63 + 32


def test_prompts_never_reach_the_log(start):
    engine = start("--log-every", 1)
    engine.complete("a-very-secret-prompt")
    engine.complete("a-very-secret-prompt", model="other")
    engine.stop()
    assert "2 requests, 1 failed" in engine.log
    assert "secret" not in engine.log
