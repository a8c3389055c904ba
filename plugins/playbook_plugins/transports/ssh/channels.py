"""Channels that tell us of all their news in one place, and keep what they receive in the pieces it came in."""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from typing import Any

import paramiko


class Bell:
    """Rings whenever a channel has news. ``rings`` counts; several threads may listen."""

    def __init__(self) -> None:
        self._condition = threading.Condition(threading.Lock())
        self.rings = 0

    def ring(self) -> None:
        """Wake whoever waits."""
        with self._condition:
            self.rings += 1
            self._condition.notify_all()

    def wait(self, heard: int, timeout: float | None) -> None:
        """Until it has rung more than ``heard`` times: read ``rings``, look for news, and wait if there is none."""
        with self._condition:
            if self.rings == heard:
                self._condition.wait(timeout)


class Pieces:
    """Stands in for paramiko's BufferedPipe, which copies every byte three times. Reading never blocks."""

    def __init__(self, bell: Bell) -> None:
        self._bell = bell
        self._pieces: deque[bytes] = deque()

    def feed(self, data: bytes) -> None:
        """Take a packet's data. Called by paramiko's thread."""
        self._pieces.append(data)
        self._bell.ring()

    def read_ready(self) -> bool:
        """Whether there is anything to read."""
        return bool(self._pieces)

    def read(self, nbytes: int, timeout: float | None = None) -> bytes:
        """Give about ``nbytes``: never part of a packet, and nothing if there is nothing."""
        del timeout
        if not self._pieces:
            return b""
        taken = [self._pieces.popleft()]
        size = len(taken[0])
        while self._pieces and size < nbytes:
            taken.append(self._pieces.popleft())
            size += len(taken[-1])
        return b"".join(taken)

    def close(self) -> None:
        """Nothing more will come."""
        self._bell.ring()


class _Status(threading.Event):
    """Set by paramiko when the exit status has come or can no longer come."""

    def __init__(self, bell: Bell) -> None:
        super().__init__()
        self._bell = bell

    def set(self) -> None:
        super().set()
        self._bell.ring()


def listen(channel: paramiko.Channel) -> Bell:
    """Have all news of a fresh channel ring one bell."""
    bell = Bell()
    parts: Any = channel
    parts.in_buffer, parts.in_stderr_buffer = Pieces(bell), Pieces(bell)
    parts.status_event = _Status(bell)
    if channel.closed:
        parts.status_event.set()
    return bell


def hear(
    channel: paramiko.Channel, bell: Bell, line: re.Pattern[bytes], end: float
) -> tuple[dict[str, re.Match[bytes]], dict[str, bytes]]:
    """Wait until a line has come on both pipes, or can no longer come, or until ``end`` (a monotonic time).

    Gives the line by pipe, or nothing; and all that came.
    """
    said = {"stdout": b"", "stderr": b""}
    while True:
        heard = bell.rings
        ended = channel.eof_received or channel.closed
        while channel.recv_ready():
            said["stdout"] += channel.recv(4096)
        while channel.recv_stderr_ready():
            said["stderr"] += channel.recv_stderr(4096)
        found = {pipe: m for pipe, text in said.items() if (m := line.search(text))}
        if len(found) == len(said):
            return found, said
        left = end - time.monotonic()
        if ended or left <= 0:
            return {}, said
        bell.wait(heard, left)


def ended(channel: paramiko.Channel) -> bool:
    """Whether the program of a session has ended, even if others still have its pipes."""
    return bool(channel.closed or channel.eof_received or channel.exit_status != -1)
