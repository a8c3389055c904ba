"""Prefill, decode and router as processes, with KV blocks that really cross TCP."""

import asyncio
import signal

import pytest

from playbook_sim_engine.kv import KvError, pull

BYTES = 2048


@pytest.fixture
def cluster(start, wait_for):
    """Start prefill engines, decode engines and a router before them."""

    def build(prefills=1, decodes=1, router=(), prefill=(), decode=()):
        size = ("--kv-bytes-per-token", BYTES)
        ps = [start("--role", "prefill", *size, *prefill) for _ in range(prefills)]
        ds = [start("--role", "decode", *size, *decode) for _ in range(decodes)]
        peers = ["--decode", ",".join(d.address for d in ds)]
        if ps:
            peers += ["--prefill", ",".join(p.address for p in ps)]
        r = start("--role", "router", *peers, "--peer-interval-s", 0.1, *router)
        wait_for(lambda: r.call("GET", "/health")[0] == 200, "router healthy")
        return r, ps, ds

    return build


def samples(engines, name):
    return [engine.metrics()[name] for engine in engines]


def test_the_kv_of_every_prompt_crosses_once(cluster, events_of):
    router, (prefill,), (decode,) = cluster()
    status, answer = router.complete(list(range(100)), max_tokens=5)
    assert status == 200
    assert answer["usage"] == {"prompt_tokens": 100, "total_tokens": 105, "completion_tokens": 5}
    assert "kv_transfer_params" not in answer
    stream, whole = router.stream("/v1/chat/completions", max_tokens=4, stream_options={"include_usage": True})
    events, done = events_of(stream)
    assert (done, whole, len(events)) == (True, True, 6)
    prompt = 100 + events[-1]["usage"]["prompt_tokens"]
    for engine in (prefill, decode):
        got = engine.metrics()
        assert got["sim:kv_transfer_bytes_total"] == prompt * BYTES
        assert got["sim:kv_transfers_total"] == 2
        assert got["sim:kv_transfer_failures_total"] == 0
        assert got["vllm:num_requests_running"] == 0
    assert prefill.metrics()["sim:kv_blocks_held"] == 0
    assert prefill.metrics()["vllm:generation_tokens_total"] == 2
    assert decode.metrics()["vllm:generation_tokens_total"] == 9


def test_decode_does_not_prefill_what_it_pulled(cluster):
    # With a prefill of minutes at the decode engine, an answer at all shows that it did none.
    router, _, _ = cluster(decode=("--prefill-base-ms", 600000))
    assert router.complete()[0] == 200


def test_round_robin_is_even(cluster):
    router, prefills, decodes = cluster(2, 3)
    for _ in range(12):
        assert router.complete()[0] == 200
    assert samples(prefills, "sim:requests_total") == [6, 6]
    assert samples(decodes, "sim:requests_total") == [4, 4, 4]


def test_least_loaded_avoids_the_busy_one(cluster, wait_for):
    router, _, decodes = cluster(0, 2, router=("--policy", "least_loaded"), decode=("--decode-base-ms", 30))
    body = '{"model":"sim-model","prompt":"x","max_tokens":30000,"stream":true}'
    with router.raw() as long_one:
        long_one.sendall(f"POST /v1/completions HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        wait_for(lambda: sum(samples(decodes, "vllm:num_requests_running")) == 1)
        for _ in range(6):
            assert router.complete(max_tokens=1)[0] == 200
        assert sorted(samples(decodes, "sim:requests_total")) == [1, 6]
    wait_for(lambda: sum(samples(decodes, "vllm:num_requests_running")) == 0, "the disconnect reaches the peer")


def test_errors_of_the_request_are_passed_on_and_not_retried(cluster):
    router, prefills, _ = cluster(2)
    status, answer = router.complete(model="other")
    assert (status, answer["error"]["code"]) == (404, "model_not_found")
    assert router.call("POST", "/v1/completions", b"{")[0] == 400
    assert sum(samples(prefills, "sim:requests_total")) == 1


@pytest.mark.parametrize("fault", ["drop_kv_rate", "corrupt_kv_rate"])
def test_a_broken_transfer_is_noticed_and_tried_with_others(cluster, fault):
    router, prefills, (decode,) = cluster(2)
    prefills[0].set_faults(**{fault: 1})
    assert [router.complete()[0] for _ in range(4)] == [200] * 4
    assert decode.metrics()["sim:kv_transfer_failures_total"] == router.metrics()["sim:router_retries_total"] >= 2
    prefills[1].set_faults(**{fault: 1})
    status, answer = router.complete()
    assert status == 502
    assert "KV transfer failed" in answer["error"]["message"]
    assert ("checksum" if fault == "corrupt_kv_rate" else "ended after") in answer["error"]["message"]
    assert sum(samples(prefills, "sim:kv_blocks_held")) == 0


def test_decode_can_compute_what_it_could_not_pull(cluster):
    router, (prefill,), (decode,) = cluster(decode=("--kv-failure", "recompute"))
    prefill.set_faults(drop_kv_rate=1)
    assert router.complete()[0] == 200
    assert decode.metrics()["sim:kv_transfer_failures_total"] == 1
    assert router.metrics()["sim:router_retries_total"] == 0


def test_engines_that_disagree_on_the_size_of_kv(cluster):
    router, _, _ = cluster(decode=("--kv-bytes-per-token", 4))
    status, answer = router.complete()
    assert status == 502
    assert "expected" in answer["error"]["message"]


def test_a_dead_peer_is_left_out(cluster, wait_for):
    router, prefills, decodes = cluster(2, 2)
    prefills[0].stop(signal.SIGKILL)
    decodes[1].stop(signal.SIGKILL)
    assert [router.complete()[0] for _ in range(6)] == [200] * 6
    assert router.call("GET", "/health")[0] == 200
    assert wait_for(lambda: router.metrics()[f'sim:peer_up{{kind="decode",peer="{decodes[1].address}"}}'] == 0)


@pytest.mark.parametrize("kind", ["prefill", "decode"])
def test_without_a_peer_of_a_kind_there_is_a_clear_503(cluster, wait_for, kind):
    router, (prefill,), (decode,) = cluster()
    dead = prefill if kind == "prefill" else decode
    dead.stop(signal.SIGKILL)
    wait_for(lambda: router.call("GET", "/health")[0] == 503)
    assert dead.address in router.call("GET", "/health")[1]["status"]
    status, answer = router.complete()
    assert status == 503
    assert f"no healthy {kind} peer" in answer["error"]["message"]
    assert dead.address in answer["error"]["message"]
    assert router.last_headers["Retry-After"] == "1"


def test_a_peer_that_dies_in_the_middle_of_a_stream(cluster, events_of):
    router, _, decodes = cluster(1, 2)
    for decode in decodes:
        decode.set_faults(cut_rate=1, cut_after_tokens=3)
    stream, whole = router.stream(max_tokens=20)
    events, done = events_of(stream)
    assert (done, whole) == (False, False)
    assert len(events) == 4
    assert events[-1]["error"]["code"] == "upstream_error"
    assert sum(samples(decodes, "sim:requests_total")) == 1  # never again after the first byte


def test_a_silent_peer_is_given_up(cluster):
    router, _, (decode,) = cluster(router=("--request-timeout-s", 0.4, "--max-attempts", 2))
    decode.set_faults(stall_rate=1, stall_after_tokens=1)
    stream, whole = router.stream(max_tokens=9)
    assert not whole
    assert b"silent for 0.4 s" in stream


def test_a_failing_peer_is_passed_over(cluster):
    router, prefills, _ = cluster(2)
    prefills[1].set_faults(fail_rate=1, fail_status=503)
    assert [router.complete()[0] for _ in range(6)] == [200] * 6
    assert router.metrics()["sim:router_retries_total"] == samples(prefills, "sim:requests_failed_total")[1] >= 2


def test_kept_connections_that_a_peer_closed_are_no_error(cluster, start):
    router, (prefill,), (decode,) = cluster(router=("--peer-interval-s", 600))  # no check notices the change
    assert router.complete()[0] == 200
    port = decode.port
    assert decode.stop() == 0
    reborn = start("--role", "decode", "--kv-bytes-per-token", BYTES, "--port", port)
    assert reborn.port == port
    assert router.complete()[0] == 200
    assert prefill.metrics()["sim:kv_blocks_held"] == 0


def test_a_block_nobody_pulls_is_dropped(start, wait_for):
    prefill = start("--role", "prefill", "--kv-ttl-s", 0.3, "--kv-capacity-tokens", 1000)
    status, answer = prefill.complete([1] * 600, max_tokens=1, kv_transfer_params={"do_remote_decode": True})
    assert status == 200
    assert answer["kv_transfer_params"]["remote_host"] == "127.0.0.1"
    assert answer["kv_transfer_params"]["num_tokens"] == 600
    wait_for(lambda: prefill.metrics()["sim:kv_blocks_held"] == 0)
    assert prefill.metrics()["vllm:kv_cache_usage_perc"] == 0
    assert "not pulled" in prefill.log


def test_pulling_what_is_not_there(start):
    prefill = start("--role", "prefill")
    with pytest.raises(KvError, match="does not have it"):
        asyncio.run(pull("127.0.0.1", prefill.kv_port, "nope", 10, 5))
    with prefill.raw() as sock:  # a port of the wrong kind
        port = sock.getpeername()[1]
    with pytest.raises(KvError):
        asyncio.run(pull("127.0.0.1", port, "nope", 10, 0.3))
    prefill.stop()
    with pytest.raises(KvError, match=r"Connect|refused"):
        asyncio.run(pull("127.0.0.1", prefill.kv_port, "nope", 10, 5))


def test_decode_says_what_is_missing_in_the_parameters(start):
    decode = start("--role", "decode")
    status, answer = decode.complete(kv_transfer_params={"do_remote_prefill": True})
    assert status == 500
    assert "remote_host" in answer["error"]["message"]
    assert decode.metrics()["vllm:num_requests_running"] == 0
