"""A server whose timing is known: OpenAI's streams on an absolute schedule, with a record of every send.

It tells how true a client is: compare what the client says with ``/__log``. Times are monotonic nanoseconds, taken
just before each send, so they are those of the kernel but for the time that a send takes. How late the server is
behind its own schedule is reported apart.

``GET /__config?ttft_ms=50&itl_ms=20``: change settings. ``/__log``: what was sent since ``/__reset``.
"""

from __future__ import annotations

import argparse
import errno
import gc
import heapq
import json
import os
import re
import select
import signal
import socket
import sys
from dataclasses import dataclass, fields, replace
from typing import Any
from urllib.parse import parse_qsl

from .clock import SECOND, SO_TIMESTAMPNS, STAMP, Waiter, now, realtime_offset, sharpen_timers

_MAX_TOKENS = re.compile(rb'"max_(?:completion_)?tokens":\s*(\d+)')
_IDS = re.compile(rb'"prompt(?:_token_ids)?":\s*\[([\d,\s]*)\]')
_LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)
_IDENTITY = re.compile(rb"\r\nx-request-id:\s*([^\r\n]+)", re.IGNORECASE)
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_GOLDEN = 0.6180339887498949
_BACKLOG = 4096


@dataclass(frozen=True)
class Timing:
    """``ttft_ms`` to the first token, ``itl_ms`` between chunks, each ± ``jitter`` (a fraction) per chunk.

    ``stagger`` delays each stream by another part of ``itl_ms``, so that not all send at once. ``tokens``: the length
    of an answer that asks for none. ``per_chunk``: tokens in a chunk. ``role``: when the chunk without content comes:
    ``first`` (with the first token), ``early`` (at once), ``none``. ``keep``: whether sends are recorded.
    """

    ttft_ms: float = 50.0
    itl_ms: float = 20.0
    jitter: float = 0.0
    stagger: bool = True
    tokens: int = 16
    per_chunk: int = 1
    role: str = "first"
    keep: bool = True

    def changed(self, values: dict[str, str]) -> Timing:
        """With some values given as text; raises ValueError for what is unknown or of another type."""
        kinds = {f.name: type(getattr(self, f.name)) for f in fields(self)}
        made: dict[str, Any] = {}
        for name, text in values.items():
            if name not in kinds:
                raise ValueError(f"unknown setting {name!r}")
            made[name] = text in ("1", "true") if kinds[name] is bool else kinds[name](text)
        return replace(self, **made)


class _Stream:
    __slots__ = ("chat", "client", "due", "identity", "lag", "left", "prompt", "received", "sends", "total")

    def __init__(self, client: _Client, identity: str, received: int, total: int, prompt: int, chat: bool) -> None:  # noqa: FBT001
        self.client, self.identity, self.received = client, identity, received
        self.total = self.left = total
        self.prompt, self.chat = prompt, chat
        self.due = 0
        self.sends: list[int] = []
        self.lag = 0


class _Client:
    __slots__ = ("buffer", "out", "received", "sock", "stream")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.buffer = bytearray()
        self.out = b""
        self.received = 0
        self.stream: _Stream | None = None


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class MockServer:
    """One thread, one epoll loop. ``port`` is the one that it got."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0, timing: Timing | None = None) -> None:
        self.timing = timing or Timing()
        self._listener = socket.create_server((host, port), backlog=_BACKLOG)
        self._listener.settimeout(0)
        # When a request was there, whatever this process did then: its own lag is not to be taken for the client's.
        self._listener.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self._offset = realtime_offset()
        self._offset_at = now()
        self.port: int = self._listener.getsockname()[1]
        self._waiter = Waiter()
        self._waiter.epoll.register(self._listener.fileno(), select.EPOLLIN)
        self._clients: dict[int, _Client] = {}
        self._heap: list[tuple[int, int, _Stream]] = []
        self._ended: list[_Stream] = []
        self._serial = 0
        self._stopping = False
        self._lags: list[int] = []
        self._noise = 0.5
        self._prepare()

    def _prepare(self) -> None:
        """The bytes of every chunk, made once."""
        text = " tok" * self.timing.per_chunk

        def event(chat: bool, content: str, finish: str | None) -> bytes:  # noqa: FBT001
            inner: dict[str, Any] = {"delta": {"content": content}} if chat else {"text": content}
            choice = {"index": 0, **inner, "logprobs": None, "finish_reason": finish}
            kind = "chat.completion.chunk" if chat else "text_completion"
            made = {"id": "mock-1", "object": kind, "created": 1700000000, "model": "mock", "choices": [choice]}
            return b"data: " + json.dumps(made, separators=(",", ":")).encode() + b"\n\n"

        role = {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}
        opening = {"id": "mock-1", "object": "chat.completion.chunk", "created": 1700000000, "model": "mock"}
        self._role = _chunk(
            b"data: " + json.dumps({**opening, "choices": [role]}, separators=(",", ":")).encode() + b"\n\n"
        )
        self._middle = {chat: _chunk(event(chat, text, None)) for chat in (True, False)}
        self._event = event

    def _last(self, stream: _Stream) -> bytes:
        tokens = (stream.total - 1) % self.timing.per_chunk + 1
        usage = {
            "prompt_tokens": stream.prompt,
            "completion_tokens": stream.total,
            "total_tokens": stream.prompt + stream.total,
        }
        counted = {"id": "mock-1", "object": "chat.completion.chunk", "model": "mock", "choices": [], "usage": usage}
        return b"".join(
            (
                _chunk(self._event(stream.chat, " tok" * tokens, "length")),
                _chunk(b"data: " + json.dumps(counted, separators=(",", ":")).encode() + b"\n\n"),
                b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n",
            )
        )

    # -- the loop -------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """End :meth:`serve` soon; safe in a signal handler."""
        self._stopping = True

    def serve(self) -> None:
        """Answer until stopped."""
        gc.collect()
        gc.disable()
        heap, waiter = self._heap, self._waiter
        while not self._stopping:
            at = now()
            while heap and heap[0][0] <= at:
                self._emit(heapq.heappop(heap)[2])
                at = now()
            if at - self._offset_at > SECOND:
                self._offset, self._offset_at = realtime_offset(), at
            limit = SECOND // 10
            for fd, mask in waiter.wait(min(limit, heap[0][0] - at) if heap else limit):
                if fd == self._listener.fileno():
                    self._accept()
                else:
                    client = self._clients.get(fd)
                    if client is not None:
                        self._talk(client, mask)
        for client in list(self._clients.values()):
            client.sock.close()
        self._listener.close()
        waiter.close()
        gc.enable()

    def _accept(self) -> None:
        for _ in range(_BACKLOG):
            try:
                sock, _ = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ECONNABORTED):
                    return
                raise
            sock.settimeout(0)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._clients[sock.fileno()] = _Client(sock)
            self._waiter.epoll.register(sock.fileno(), select.EPOLLIN)

    def _talk(self, client: _Client, mask: int) -> None:
        if mask & select.EPOLLOUT and client.out:
            self._send(client, b"")
        if not mask & ~select.EPOLLOUT:
            return
        try:
            data, extra, _, _ = client.sock.recvmsg(16384, 64)
        except BlockingIOError:
            return
        except OSError:
            data, extra = b"", []
        if not data:
            self._close(client)
            return
        if extra:
            second, nanosecond = STAMP.unpack(extra[0][2])
            client.received = second * SECOND + nanosecond - self._offset
        else:
            client.received = now()
        client.buffer += data
        if client.stream is None:
            self._request(client)

    def _close(self, client: _Client) -> None:
        self._clients.pop(client.sock.fileno(), None)
        client.sock.close()
        if client.stream is not None:
            client.stream.left = 0
            client.stream = None

    def _send(self, client: _Client, data: bytes) -> None:
        held = bool(client.out)
        if held:
            data, client.out = client.out + data, b""
        try:
            sent = client.sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._close(client)
            return
        if sent < len(data):
            client.out = data[sent:]
            self._waiter.epoll.modify(client.sock.fileno(), select.EPOLLIN | select.EPOLLOUT)
        elif held:
            self._waiter.epoll.modify(client.sock.fileno(), select.EPOLLIN)

    # -- requests -------------------------------------------------------------------------------------------------

    def _request(self, client: _Client) -> None:
        received = client.received
        buffer = client.buffer
        end = buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(buffer[: end + 2])
        found = _LENGTH.search(head)
        length = int(found[1]) if found else 0
        if len(buffer) < end + 4 + length:
            return
        body = bytes(buffer[end + 4 : end + 4 + length])
        del buffer[: end + 4 + length]
        path = head.split(b" ", 2)[1].decode("latin-1")
        if head.startswith(b"POST") and path.endswith("/completions"):
            self._begin(client, head, body, received, chat=path.endswith("/chat/completions"))
        else:
            status, answer = self._control(path)
            text = json.dumps(answer).encode()
            self._send(
                client,
                b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
                % (status, len(text), text),
            )

    def _begin(self, client: _Client, head: bytes, body: bytes, received: int, *, chat: bool) -> None:
        timing = self.timing
        found = _MAX_TOKENS.search(body)
        total = int(found[1]) if found else timing.tokens
        ids = _IDS.search(body)
        prompt = ids[1].count(b",") + 1 if ids else max(1, len(body) // 4)
        identity = _IDENTITY.search(head)
        self._serial += 1
        name = identity[1].decode("latin-1") if identity else str(self._serial)
        stream = _Stream(client, name, received, max(1, total), prompt, chat)
        if b'"stream": true' not in body and b'"stream":true' not in body:
            self._whole(client, stream)
            return
        client.stream = stream
        phase = self._serial * _GOLDEN % 1.0 * timing.itl_ms if timing.stagger else 0.0
        stream.due = received + round((timing.ttft_ms * self._dice() + phase) * 1e6)
        if timing.role == "early" and chat:
            self._send(client, _HEAD + self._role)
        if timing.ttft_ms <= 0 and not phase:
            self._emit(stream)
        else:
            heapq.heappush(self._heap, (stream.due, self._serial, stream))

    def _dice(self) -> float:
        jitter = self.timing.jitter
        if not jitter:
            return 1.0
        self._noise = (self._noise + _GOLDEN) % 1.0
        return 1.0 + jitter * (2 * self._noise - 1)

    def _whole(self, client: _Client, stream: _Stream) -> None:
        usage = {"prompt_tokens": stream.prompt, "completion_tokens": stream.total}
        text = " tok" * stream.total
        choice: dict[str, Any] = {"index": 0, "finish_reason": "length"}
        choice.update({"message": {"role": "assistant", "content": text}} if stream.chat else {"text": text})
        answer = json.dumps({"id": "mock-1", "model": "mock", "choices": [choice], "usage": usage}).encode()
        self._send(
            client,
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
            % (len(answer), answer),
        )

    def _emit(self, stream: _Stream) -> None:
        """Send the chunk that is due; plan the next one. Without a pause all chunks go out now, each by itself."""
        timing, client = self.timing, stream.client
        while stream.left > 0:
            last = stream.left <= timing.per_chunk
            data = self._last(stream) if last else self._middle[stream.chat]
            if not stream.sends:
                opening = self._role if stream.chat and timing.role == "first" else b""
                early = stream.chat and timing.role == "early"
                data = (b"" if early else _HEAD + opening) + data
            # On record before it is sent: whoever has the answer finds it there.
            at = now()
            if timing.keep or not stream.sends:
                stream.sends.append(at)
            if timing.keep:
                self._lags.append(at - stream.due)
                if last:
                    self._ended.append(stream)
            self._send(client, data)
            stream.left -= timing.per_chunk
            if last:
                break
            stream.due += round(timing.itl_ms * self._dice() * 1e6)
            if timing.itl_ms > 0:
                self._serial += 1
                heapq.heappush(self._heap, (stream.due, self._serial, stream))
                return
        stream.left = 0
        if client.stream is stream:
            client.stream = None
            if client.buffer:
                self._request(client)

    def _control(self, path: str) -> tuple[int, Any]:
        where, _, query = path.partition("?")
        if where == "/__config":
            try:
                self.timing = self.timing.changed(dict(parse_qsl(query)))
            except ValueError as error:
                return 400, {"error": str(error)}
            self._prepare()
            return 200, self.timing.__dict__
        if where == "/__reset":
            self._ended.clear()
            self._lags.clear()
            return 200, {}
        if where == "/__log":
            return 200, self.log()
        if where == "/v1/models":
            return 200, {"object": "list", "data": [{"id": "mock", "object": "model"}]}
        if where == "/health":
            return 200, {}
        return 404, {"error": {"message": f"there is no {where}"}}

    def log(self) -> dict[str, Any]:
        """What was sent: the streams that ended, and how late sends were behind the schedule."""
        lags = sorted(self._lags)
        behind = {f"p{p}": lags[min(len(lags) - 1, len(lags) * p // 100)] / 1e6 for p in (50, 99)} if lags else {}
        streams = [{"id": s.identity, "received": s.received, "sent": s.sends} for s in self._ended]
        return {"streams": streams, "lag_ms": behind, "sends": len(lags)}


_HELP = {
    "ttft_ms": "from a request to its first token",
    "itl_ms": "from each token to the next",
    "stagger": "each stream begins up to one itl-ms later, so that not all send at once; false: at ttft-ms exactly",
}


def main(argv: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; the first line printed says where."""
    parser = argparse.ArgumentParser(prog="playbook-aicp mock-server", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    for field in fields(Timing):
        kind = type(field.default)
        flag = "--" + field.name.replace("_", "-")
        if kind is bool:
            parser.add_argument(
                flag, default=str(field.default).lower(), choices=("true", "false"), help=_HELP.get(field.name)
            )
        else:
            parser.add_argument(flag, type=kind, default=field.default, help=_HELP.get(field.name))
    given = vars(parser.parse_args(argv))
    timing = Timing().changed({f.name: str(given[f.name]).lower() for f in fields(Timing)})
    sharpen_timers()
    try:
        server = MockServer(given["host"], given["port"], timing)
    except OSError as error:
        parser.exit(2, f"playbook-aicp: {given['host']}:{given['port']}: {os.strerror(error.errno or 0)}\n")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: server.stop())
    sys.stdout.write(f"listening on {given['host']}:{server.port}\n")
    sys.stdout.flush()
    server.serve()
    return 0


if __name__ == "__main__":
    sys.exit(main())
