"""Both engines against real sockets: what they record, and what they do when servers misbehave."""

from __future__ import annotations

import socket
import ssl
import struct
import subprocess

import pytest
from playbook_plugins.benchmarks.aicp.core import plan as plans
from playbook_plugins.benchmarks.aicp.core.clock import SECOND
from playbook_plugins.benchmarks.aicp.core.schedule import Stage, arrivals

from .servers import HEAD, LAST, chunk, mock_server, plain, sse, stream, token, usage

pytestmark = pytest.mark.parametrize("engine", ["epoll", "uvloop"])
GOOD = stream(token(), token(), usage(2, 2))


def test_every_request_is_answered_once_on_connections_that_are_kept(load, engine):
    with mock_server() as server:
        run = load(server.port, 200, concurrency=16, connections=16, engine=engine)
        seen = [s["id"] for s in server.log()["streams"]]
    assert sorted(seen, key=int) == [str(n) for n in range(200)]
    assert sorted(r.number for r in run.records) == list(range(200))
    assert run.errors == [""] * 200
    assert all(len(r.tokens) == r.completion_tokens == 4 for r in run.records)
    assert run.workers.opened == 16
    assert run.notes[-1]["timestamp_source"] == ("kernel" if engine == "epoll" else "user")


def test_times_agree_with_the_servers_own_record(load, engine):
    with mock_server(ttft_ms=20, itl_ms=5) as server:
        run = load(server.port, 8, tokens=6, concurrency=4, connections=4, engine=engine)
        sent = {int(s["id"]): s["sent"] for s in server.log()["streams"]}
    for record in run.records:
        there = [t / 1000 for t in sent[record.number]]
        here = [(run.workers.start / 1000) + record.sent + t for t in record.tokens]
        # A message cannot come before it was sent; how late it is seen is the machine's load, not asserted.
        assert all(b - a > -60 for a, b in zip(there, here, strict=True))
        assert record.tokens == sorted(record.tokens)
        assert record.tokens[0] >= 20_000


def test_concurrency_is_reached_and_never_passed(load, engine):
    with mock_server(ttft_ms=5) as server:
        run = load(server.port, 60, concurrency=7, connections=7, engine=engine)
    changes = sorted([(r.sent, 1) for r in run.records] + [(r.sent + r.ended, -1) for r in run.records])
    level = peak = 0
    for _, change in changes:
        level += change
        peak = max(peak, level)
    assert peak == 7


def test_an_open_loop_sends_at_its_times_even_if_nothing_comes_back(load, engine):
    due = arrivals(30, [Stage(1e9, 200, 200)], "constant")
    with mock_server(ttft_ms=2000) as server:
        order = plans.single(30, due)
        run = load(server.port, 30, order=order, open_loop=True, concurrency=0, connections=30, engine=engine)
    assert [r.intended for r in sorted(run.records, key=lambda r: r.number)] == [t // 1000 for t in due]
    assert all(r.sent >= r.intended for r in run.records)
    assert max(r.sent for r in run.records) < 2_000_000  # all left before the first answer


def test_with_a_cap_waiting_counts_from_the_intended_time(load, engine):
    order = plans.single(4, [0, 0, 0, 0])
    with mock_server(ttft_ms=30) as server:
        run = load(server.port, 4, order=order, open_loop=True, concurrency=1, connections=1, engine=engine)
    waits = [r.sent - r.intended for r in run.records]
    assert waits == sorted(waits)
    assert waits[3] >= 90_000


def test_a_conversation_waits_for_its_answers(load, engine):
    order = plans.Order()
    order.add(0, then=1, pause=SECOND // 50)
    order.add(1)
    with mock_server(ttft_ms=5) as server:
        run = load(server.port, 2, order=order, concurrency=2, connections=2, engine=engine)
    first, second = run.records
    assert (first.number, second.number) == (0, 1)
    assert second.sent >= first.sent + first.ended + 20_000


def test_several_processes_share_one_plan(load, engine):
    with mock_server() as server:
        run = load(server.port, 90, concurrency=9, connections=9, processes=3, engine=engine)
    assert sorted(r.number for r in run.records) == list(range(90))
    assert sorted(n["share"] for n in run.notes) == [0, 1, 2]


def test_a_large_request_goes_out_whole(load, canned, engine):
    server = canned([GOOD])
    run = load(server.port, 1, size=8 << 20, engine=engine)
    assert run.errors == [""]
    assert len(server.requests[0]) > 8 << 20


def test_stopping_keeps_what_was_measured(load, engine):
    with mock_server(ttft_ms=20) as server:
        seen = []

        def look():
            seen.append(len(server.log()["streams"]))
            return seen[-1] >= 5

        run = load(server.port, 100_000, concurrency=2, connections=2, look=look, engine=engine)
    kinds = set(run.errors)
    assert kinds == {"", "cancelled"}
    assert run.errors.count("") >= 5
    assert run.errors.count("cancelled") <= 2


def test_a_duration_ends_the_load_and_lets_answers_come_in(load, engine):
    with mock_server(ttft_ms=50) as server:
        run = load(server.port, 3, concurrency=2, connections=2, duration=0.3, wrap=True, engine=engine)
    assert set(run.errors) == {""}
    assert all(r.sent < 300_000 for r in run.records)
    assert len(run.records) > 3
    assert run.notes[-1]["wrapped"] >= 1


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


@pytest.mark.parametrize(
    ("steps", "error"),
    [
        ([HEAD + chunk(sse(token())), lambda s: s.shutdown(socket.SHUT_RDWR)], "cut"),
        ([HEAD + chunk(sse(token())), 0.05, reset], "cut"),
        ([lambda s: s.shutdown(socket.SHUT_RDWR)], "closed_early"),
        ([b"SSH-2.0-OpenSSH_9.2\r\n\r\n"], "malformed"),
        ([HEAD + b"zz\r\nwhat\r\n\r\n"], "malformed"),
        ([plain(200, b"<html>", kind=b"text/html")], "not_a_stream"),
        ([plain(429, b"slow down", b"Retry-After: 3")], "http_429"),
        ([plain(307, b"", b"Location: /x")], "redirect"),
        ([stream({"error": {"message": "no"}})], "error_event"),
        ([HEAD + LAST], "empty"),
    ],
)
def test_faults_of_servers_have_their_own_class(load, canned, engine, steps, error):
    run = load(canned(steps, close=True).port, 1, engine=engine)
    assert run.errors == [error]
    assert run.records[0].detail


@pytest.mark.parametrize(
    "body",
    [
        HEAD + b"".join(chunk(sse(e, end=b"\r\n\r\n")) for e in (token(), token(), usage(1, 2), "[DONE]")) + LAST,
        HEAD + b"".join(chunk(sse(e)) for e in (token(), token(), usage(1, 2), "[DONE]")) + b"0\r\nX-T: 1\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" + stream(token(), token(), usage(1, 2)),
        b"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\n" + sse(token(), token(), usage(1, 2), "[DONE]"),
    ],
    ids=["crlf", "trailer", "continue", "http10"],
)
def test_unusual_but_right_answers_are_understood(load, canned, engine, body):
    server = canned([body], close=body.startswith(b"HTTP/1.0"))
    run = load(server.port, 3, engine=engine)
    assert run.errors == [""] * 3
    assert {(len(r.tokens), r.completion_tokens) for r in run.records} == {(2, 2)}


def test_one_byte_at_a_time(load, canned, engine):
    server = canned([bytes([b]) for b in GOOD])
    run = load(server.port, 2, engine=engine)
    assert [(r.error, len(r.tokens)) for r in run.records] == [("", 2)] * 2


def test_a_kept_connection_that_the_server_closed_is_replaced(load, canned, engine):
    def close(sock):
        sock.shutdown(socket.SHUT_RDWR)

    server = canned([GOOD, close])
    run = load(server.port, 5, connections=1, engine=engine)
    assert run.errors == [""] * 5
    assert server.connections > 1


def test_a_server_that_refuses(load, engine):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    run = load(port, 3, concurrency=2, connections=2, engine=engine)
    assert run.errors == ["connect_refused"] * 3


def test_a_server_that_does_not_accept(load, engine):
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        held = [socket.socket() for _ in range(4)]
        for one in held:
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        run = load(full.getsockname()[1], 1, connect_timeout=0.4, engine=engine)
        for one in held:
            one.close()
    assert run.errors == ["connect_timeout"]


@pytest.mark.parametrize("setting", [{"timeout": 0.4}, {"idle_timeout": 0.4}])
def test_silence_ends_in_a_timeout(load, canned, engine, setting):
    run = load(canned([HEAD + chunk(sse(token())), 30.0]).port, 1, engine=engine, **setting)
    assert run.errors == ["timeout"]
    assert len(run.records[0].tokens) == 1


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    key, cert = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-keyout", key, "-out", cert, "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context, str(cert)


def test_tls_checks_certificates_unless_told_not_to(load, canned, engine, certificate):
    context, ca = certificate
    port = canned([GOOD], context=context).port
    target = {"host": "localhost", "tls": True}
    trusted = load(port, 3, target={**target, "ca": ca}, connections=1, engine=engine)
    assert trusted.errors == [""] * 3
    refused = load(port, 1, target=target, engine=engine)
    assert refused.errors == ["tls"]
    assert "certificate" in refused.records[0].detail
    other = load(port, 1, target={**target, "ca": ca, "host": "example.org"}, engine=engine)
    assert other.errors == ["tls"]
    assert load(port, 1, target={**target, "verify": False}, engine=engine).errors == [""]
    plain_server = load(canned([GOOD]).port, 1, target={**target, "ca": ca}, connect_timeout=2.0, engine=engine)
    assert plain_server.errors[0] in ("tls", "connect_timeout")
