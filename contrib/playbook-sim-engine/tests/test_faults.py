"""Every fault switch, by flag and at run time."""

import contextlib
import dataclasses
import http.client
import json
import signal
import socket
import time
from pathlib import Path

import pytest

from playbook_sim_engine.faults import Faults


def test_a_fraction_of_requests_fails_with_the_status_asked_for(start):
    engine = start("--fault-fail-rate", 0.5, "--fault-fail-status", 429)
    statuses = [engine.complete()[0] for _ in range(60)]
    assert set(statuses) == {200, 429}
    assert 10 < statuses.count(429) < 50
    assert engine.metrics()["sim:requests_failed_total"] == statuses.count(429)
    engine.set_faults(fail_rate=1)
    status, answer = engine.complete()
    assert (status, answer["error"]["type"]) == (429, "rate_limit_error")
    assert engine.last_headers["Retry-After"] == "1"
    engine.set_faults(fail_rate=0)
    assert engine.complete()[0] == 200


def test_faults_are_the_same_for_the_same_seed(start):
    runs = []
    for seed in (3, 3, 4):
        engine = start("--fault-fail-rate", 0.5, "--seed", seed)
        runs.append([engine.complete()[0] for _ in range(30)])
    assert runs[0] == runs[1] != runs[2]


def test_a_stream_that_stalls_goes_on_later(start, events_of):
    engine = start("--fault-stall-rate", 1, "--fault-stall-after-tokens", 3, "--fault-stall-s", 0.6)
    with_stall = time.monotonic()
    stream, whole = engine.stream(max_tokens=6)
    with_stall = time.monotonic() - with_stall
    events, done = events_of(stream)
    assert (len(events), done, whole) == (6, True, True)
    engine.set_faults(stall_rate=0)
    without = time.monotonic()
    engine.stream(max_tokens=6)
    assert with_stall > 3 * (time.monotonic() - without)


def test_a_stream_that_stalls_for_ever_is_freed_by_the_clients_leaving(start, wait_for):
    engine = start("--fault-stall-rate", 1, "--fault-stall-after-tokens", 2)
    body = json.dumps({"model": "sim-model", "prompt": "x", "max_tokens": 9, "stream": True})
    with engine.raw() as sock:
        sock.sendall(f"POST /v1/completions HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        sock.settimeout(0.5)
        received = b""
        with contextlib.suppress(socket.timeout):
            while piece := sock.recv(65536):
                received += piece
        assert piece, "the connection was closed, not stalled"
    assert received.count(b"data: ") == 2
    assert b"[DONE]" not in received
    wait_for(lambda: engine.metrics()["vllm:num_requests_running"] == 0)


def test_a_connection_cut_in_the_middle(start, events_of):
    engine = start("--fault-cut-rate", 1, "--fault-cut-after-tokens", 3)
    stream, whole = engine.stream(max_tokens=20)
    events, done = events_of(stream)
    assert (len(events), done, whole) == (3, False, False)
    assert engine.metrics()["vllm:num_requests_running"] == 0


def test_garbage_in_a_stream(start):
    stream, whole = start("--fault-garbage-rate", 1).stream()
    assert whole
    assert b"data: {not json" in stream
    assert stream.endswith(b"data: [DONE]\n\n")


def test_an_error_inside_a_stream(start, events_of):
    stream, whole = start("--fault-error-event-rate", 1).stream()
    events, done = events_of(stream)
    assert (done, whole) == (False, False)
    assert events[-1]["error"]["type"] == "server_error"


def test_no_done(start, events_of):
    stream, whole = start("--fault-no-done").stream(max_tokens=4)
    events, done = events_of(stream)
    assert (len(events), done, whole) == (4, False, True)


def test_no_usage(start, events_of):
    engine = start("--fault-no-usage")
    events, _ = events_of(engine.stream(stream_options={"include_usage": True})[0])
    assert not any("usage" in event for event in events)
    assert "usage" not in engine.complete()[1]


def test_crlf_and_comments(start, events_of):
    stream, _ = start("--fault-crlf", "--fault-comments").stream(max_tokens=3)
    assert b"\n" not in stream.replace(b"\r\n", b"")
    assert stream.count(b": keep-alive\r\n\r\n") == 4
    events, done = events_of(stream)
    assert (len(events), done) == (3, True)


def test_split_bytes_change_nothing_but_the_pieces(start, events_of):
    events, done = events_of(start("--fault-split-bytes", 1).stream(max_tokens=3)[0])
    assert (len(events), done) == (3, True)


def test_unhealthy_after_a_while(start, wait_for):
    engine = start("--fault-unhealthy-after-s", 0.4)
    assert engine.call("GET", "/health")[0] == 200
    wait_for(lambda: engine.call("GET", "/health")[0] == 503)
    assert engine.complete()[0] == 200  # only its health is bad
    engine.set_faults(unhealthy_after_s=0)
    assert engine.call("GET", "/health")[0] == 200


def test_exit_after_a_while(start):
    engine = start("--fault-exit-after-s", 0.2, "--fault-exit-code", 7)
    assert engine.process.wait(20) == 7
    assert "exiting with status 7" in engine.log


def test_exit_after_some_requests(start):
    engine = start("--fault-exit-after-requests", 3, "--fault-exit-code", 9)
    assert [engine.complete()[0] for _ in range(2)] == [200, 200]
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        engine.complete()
    assert engine.process.wait(20) == 9


def test_memory_leaks_until_the_fault_ends(start, wait_for):
    engine = start()

    def resident():
        status = Path(f"/proc/{engine.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) // 1024

    before = resident()
    engine.set_faults(leak_mb_s=200)
    wait_for(lambda: resident() > before + 60)
    engine.set_faults(leak_mb_s=0)
    wait_for(lambda: resident() < before + 40)


def test_sigterm_can_be_ignored(start, wait_for):
    engine = start("--fault-ignore-sigterm")
    engine.process.send_signal(signal.SIGTERM)
    wait_for(lambda: "SIGTERM ignored" in engine.log)
    assert engine.complete()[0] == 200
    assert engine.stop(signal.SIGINT) == 0


def test_slow_health(start):
    engine = start()
    fast = time.monotonic()
    engine.call("GET", "/health")
    fast = time.monotonic() - fast
    engine.set_faults(health_delay_s=0.6)
    slow = time.monotonic()
    assert engine.call("GET", "/health")[0] == 200
    assert time.monotonic() - slow > 3 * fast


def test_crash_at_start(launch):
    engine = launch("--fault-crash-at-start", "--fault-exit-code", 4)
    assert engine.process.wait(20) == 4
    assert "listening" not in engine.log


def test_faults_are_shown_merged_and_reset(start):
    engine = start(SIM_FAULT_FAIL_STATUS="418")
    status, faults = engine.call("GET", "/sim/faults")
    assert status == 200
    assert set(faults) == {field.name for field in dataclasses.fields(Faults)}
    assert faults["fail_status"] == 418
    engine.set_faults(cut_rate=0.5)
    _, faults = engine.call("GET", "/sim/faults")
    assert (faults["fail_status"], faults["cut_rate"]) == (418, 0.5)
    _, faults = engine.call("DELETE", "/sim/faults")
    assert faults == dataclasses.asdict(Faults())


@pytest.mark.parametrize(
    "body", [{"nope": 1}, {"fail_rate": 2}, {"fail_rate": "x"}, {"crlf": 3}, {"leak_mb_s": float("inf")}]
)
def test_unusable_faults_are_refused_and_change_nothing(engine, body):
    before = engine.call("GET", "/sim/faults")[1]
    status, answer = engine.call("POST", "/sim/faults", body)
    assert status == 422
    assert next(iter(body)) in answer["error"]["message"]
    assert engine.call("GET", "/sim/faults")[1] == before


def test_faults_cannot_be_switched_without_permission(start):
    engine = start("--no-allow-faults")
    for method in ("GET", "POST", "DELETE"):
        assert engine.call(method, "/sim/faults", {"fail_rate": 1} if method == "POST" else None)[0] == 403
    assert engine.complete()[0] == 200
