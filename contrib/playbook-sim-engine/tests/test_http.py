"""HTTP/1.1 on the wire: connections kept, requests pipelined, bodies in pieces, clients that leave."""

import json
import socket
import struct

import pytest

from playbook_sim_engine.chunked import ChunkedDecoder, ChunkedError


def request(body, *, version="HTTP/1.1", extra=""):
    data = json.dumps({"model": "sim-model", "max_tokens": 2, **body})
    return f"POST /v1/completions {version}\r\n{extra}Content-Length: {len(data)}\r\n\r\n{data}".encode()


def read_answer(stream):
    """One answer with a Content-Length from a socket's file."""
    status = int(stream.readline().split()[1])
    headers = {}
    while line := stream.readline().strip():
        name, _, value = line.decode().partition(":")
        headers[name.lower()] = value.strip()
    return status, headers, stream.read(int(headers["content-length"])) if "content-length" in headers else None


def test_pipelined_requests_are_answered_in_order(engine):
    with engine.raw() as sock, sock.makefile("rb") as stream:
        sock.sendall(b"".join(request({"prompt": list(range(n))}) for n in (1, 2, 3)) + b"GET /health HTTP/1.1\r\n\r\n")
        counts = [json.loads(read_answer(stream)[2])["usage"]["prompt_tokens"] for _ in range(3)]
        assert counts == [1, 2, 3]
        assert read_answer(stream)[0] == 200


def test_a_request_that_comes_byte_by_byte(engine):
    with engine.raw() as sock, sock.makefile("rb") as stream:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in request({"prompt": "x"}):
            sock.sendall(bytes([byte]))
        assert read_answer(stream)[0] == 200


def test_a_chunked_request_body_and_expect(engine):
    data = json.dumps({"model": "sim-model", "prompt": "x", "max_tokens": 1}).encode()
    pieces = b"".join(b"%x\r\n%b\r\n" % (len(data[i : i + 7]), data[i : i + 7]) for i in range(0, len(data), 7))
    head = b"POST /v1/completions HTTP/1.1\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
    with engine.raw() as sock, sock.makefile("rb") as stream:
        sock.sendall(head)
        assert stream.readline() == b"HTTP/1.1 100 Continue\r\n"
        assert stream.readline() == b"\r\n"
        sock.sendall(pieces + b"0\r\n\r\n" + request({"prompt": "y"}))
        assert read_answer(stream)[0] == 200
        assert read_answer(stream)[0] == 200


def test_http_1_0_gets_streams_without_chunks_and_a_closed_connection(engine):
    with engine.raw() as sock, sock.makefile("rb") as stream:
        sock.sendall(request({"prompt": "x", "stream": True}, version="HTTP/1.0"))
        answer = stream.read()
    assert b"Transfer-Encoding" not in answer
    assert answer.endswith(b"\n\ndata: [DONE]\n\n")


def test_connection_close_is_obeyed(engine):
    with engine.raw() as sock, sock.makefile("rb") as stream:
        sock.sendall(request({"prompt": "x"}, extra="Connection: close\r\n"))
        status, headers, _ = read_answer(stream)
        assert (status, headers["connection"]) == (200, "close")
        assert stream.read() == b""


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/3\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 70000, 431),
    ],
)
def test_broken_requests_are_refused_and_the_connection_closed(engine, sent, status):
    with engine.raw() as sock, sock.makefile("rb") as stream:
        sock.sendall(sent)
        assert read_answer(stream)[0] == status
    assert engine.call("GET", "/health")[0] == 200


@pytest.mark.parametrize(
    "head", ["Content-Length: 5000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n1388\r\n" + "x" * 5000]
)
def test_a_body_that_is_too_large(start, head):
    engine = start("--max-body-mb", 0.004)
    with engine.raw() as sock, sock.makefile("rb") as stream:
        sock.sendall(f"POST /v1/completions HTTP/1.1\r\n{head}".encode())
        assert read_answer(stream)[0] == 413


@pytest.mark.parametrize("scheduling", ["batched", "paced"])
@pytest.mark.parametrize("reset", [False, True])
def test_a_client_that_leaves_frees_its_slot(start, wait_for, scheduling, reset):
    engine = start("--scheduling", scheduling, "--max-num-seqs", 1, "--decode-base-ms", 20)
    with engine.raw() as gone, engine.raw() as waiting:
        gone.sendall(request({"prompt": "x", "max_tokens": 30000, "stream": True}))
        assert gone.recv(10)
        waiting.sendall(request({"prompt": "y", "max_tokens": 30000}))
        wait_for(lambda: engine.metrics()["vllm:num_requests_waiting"] == 1)
        waiting.shutdown(socket.SHUT_RDWR)
        wait_for(lambda: engine.metrics()["vllm:num_requests_waiting"] == 0)
        if reset:
            gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wait_for(lambda: engine.metrics()["vllm:num_requests_running"] == 0)
    assert engine.metrics()['vllm:request_success_total{finished_reason="abort"}'] == 2
    assert engine.complete()[0] == 200


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_chunked_coding_in_pieces_of_any_size(size):
    message = b"5;x=y\r\nhello\r\nA\r\n0123456789\r\n0\r\nTrailer: t\r\n\r\nnext"
    decoder, payload = ChunkedDecoder(), b""
    for at in range(0, len(message), size):
        payload += decoder.feed(message[at : at + size])
    assert (payload, decoder.done, decoder.rest) == (b"hello0123456789", True, b"next")


@pytest.mark.parametrize("broken", [b"xyz\r\n", b"\r\n", b"-1\r\n", b"2\r\nabc\r\n", b"1" * 20000])
def test_broken_chunked_coding(broken):
    with pytest.raises(ChunkedError):
        ChunkedDecoder().feed(broken)
