"""The socket below a connection: reads ahead, and holds small writes back while many are coming."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

_AHEAD = 256 * 1024
_MOMENT = 1.0
_GREETING = 64
"""Reads that are acknowledged at once: sshd sends its first packets under Nagle's rule, which waits for that."""


class Wire:
    """What paramiko takes for a socket. ``below``: a TCP socket, or a channel of a jump host."""

    def __init__(self, below: Any) -> None:
        self._below = below
        self._ahead = memoryview(b"")
        self._reads = 0 if isinstance(below, socket.socket) else _GREETING
        self._closed = False  # paramiko asks for it by this name
        self._heard = 0.0
        self._reader: int | None = None
        self._lock = threading.Lock()
        self._corked: set[int] = set()
        self._held: list[bytes] = []

    def recv(self, size: int) -> bytes:
        """Up to ``size`` bytes. Called by one thread only."""
        if not self._ahead:
            self._reader = threading.get_ident()
            if self._reads < _GREETING:
                self._reads += 1
                with contextlib.suppress(OSError):
                    self._below.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            self._ahead = memoryview(self._below.recv(_AHEAD))
            self._heard = time.monotonic()
        piece, self._ahead = self._ahead[:size], self._ahead[size:]
        return bytes(piece)

    def answers(self) -> bool:
        """Whether the peer was heard of a moment ago, and has not hung up since."""
        if self._closed or time.monotonic() - self._heard > _MOMENT:
            return False
        if not isinstance(self._below, socket.socket):
            return True
        look = select.poll()
        try:
            look.register(self._below, select.POLLRDHUP)
        except ValueError:
            return False
        return not look.poll(0)

    def send(self, data: bytes) -> int:
        """Send, or keep for later while this thread is corked. Called by one thread at a time, with whole packets."""
        with self._lock:
            if threading.get_ident() in self._corked:
                self._held.append(data)
                return len(data)
            self._flush()
            return int(self._below.send(data))

    @contextlib.contextmanager
    def corked(self) -> Iterator[None]:
        """Hold this thread's packets back until the block ends, or another thread sends something."""
        me = threading.get_ident()
        with self._lock:
            self._corked.add(me)
        try:
            yield
        finally:
            with self._lock:
                self._corked.discard(me)
                self._flush()

    def _flush(self) -> None:
        if not self._held:
            return
        data = memoryview(b"".join(self._held))
        self._held = []
        while data:
            try:
                data = data[self._below.send(data) :]
            except TimeoutError:
                continue  # paramiko's way of looking around; who closes the connection makes this raise OSError

    def settimeout(self, seconds: float | None) -> None:
        """As a socket's."""
        self._below.settimeout(seconds)

    def getpeername(self) -> Any:
        """As a socket's."""
        return self._below.getpeername()

    def close(self) -> None:
        """As a socket's. Only the thread that reads lets the descriptor go: its number may be another's a moment later."""
        self._closed = True
        if isinstance(self._below, socket.socket) and self._reader not in (None, threading.get_ident()):
            with contextlib.suppress(OSError):
                self._below.shutdown(socket.SHUT_RDWR)
        else:
            self._below.close()
