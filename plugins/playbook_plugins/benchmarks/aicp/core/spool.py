"""What a worker writes while it runs: one binary record for each answer, as it came. Read back after the window.

A record that was not written whole is the last one, and is ignored: so a worker may die at any moment. Nothing is
parsed while it is written.
"""

from __future__ import annotations

import json
import os
import struct
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from .exchange import Exchange

MAGIC = b"AICPSPL1"
_FIXED = struct.Struct("<BIIHqqqqIII")  # kind, length of the rest, index, outcome, 4 times, reads, body, detail
_FLUSH = 64 * 1024
_AHEAD = 16 * 1024
REQUEST, NOTE = 1, 2

# Outcomes that an engine can tell; what an answer means is found when it is parsed.
OUTCOMES = (
    "answered",
    "connect_refused",
    "connect_timeout",
    "connect_failed",
    "dns",
    "tls",
    "closed_early",
    "cut",
    "timeout",
    "malformed",
    "cancelled",
)
CODES: dict[str, int] = {name: code for code, name in enumerate(OUTCOMES)}


class Answer(NamedTuple):
    """One record: times are monotonic nanoseconds, ``times`` and ``sizes`` have one entry a read."""

    number: int
    outcome: str
    intended: int
    started: int
    sent: int
    ended: int
    times: array[int]
    sizes: array[int]
    body: bytes
    detail: str


class Spool:
    """Appends records to a file. ``broken`` says why nothing more can be written, if so."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        self._waiting: list[bytes] = [MAGIC]
        self._bytes = len(MAGIC)
        self._good = 0
        self.broken = ""
        self.answers = 0

    def add(self, exchange: Exchange, outcome: str, ended: int, detail: str = "") -> None:
        """Append an answer, or what is there of one."""
        times, sizes = array("q", exchange.times).tobytes(), array("I", exchange.sizes).tobytes()
        body, said = exchange.body, detail.encode()
        length = len(times) + len(sizes) + len(body) + len(said)
        fixed = _FIXED.pack(
            REQUEST,
            length,
            exchange.index,
            CODES[outcome],
            exchange.intended,
            exchange.started,
            exchange.sent,
            ended,
            len(exchange.times),
            len(body),
            len(said),
        )
        self.answers += 1
        self._put((fixed, times, sizes, bytes(body), said), len(fixed) + length)

    def note(self, **values: Any) -> None:
        """Append something else that is worth knowing, JSON, and write all out."""
        text = json.dumps(values).encode()
        fixed = _FIXED.pack(NOTE, len(text), 0, 0, 0, 0, 0, 0, 0, len(text), 0)
        self._put((fixed, text), len(fixed) + len(text))
        self.flush()

    def _put(self, pieces: tuple[bytes, ...], size: int) -> None:
        self._waiting += pieces
        self._bytes += size
        if self._bytes >= _FLUSH:
            self.flush()

    def flush(self) -> None:
        """Hand everything to the kernel."""
        if not self._waiting or self.broken:
            self._waiting.clear()
            self._bytes = 0
            return
        data = memoryview(b"".join(self._waiting))
        self._waiting.clear()
        self._bytes = 0
        try:
            while data:
                data = data[os.write(self._fd, data) :]
            self._good = os.lseek(self._fd, 0, os.SEEK_CUR)
        except OSError as error:
            self.broken = f"the record cannot be written: {error.strerror}"
            os.ftruncate(self._fd, self._good)

    def close(self) -> None:
        """Write all out and close."""
        self.flush()
        os.close(self._fd)


def read(path: Path) -> Iterator[Answer | dict[str, Any]]:
    """Every answer and note of a spool, in the order in which they ended. Raises ValueError if it is none."""
    with path.open("rb", buffering=_AHEAD) as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise ValueError(f"{path} is not a spool")
        while True:
            fixed = file.read(_FIXED.size)
            if len(fixed) < _FIXED.size:
                return
            kind, length, index, code, intended, started, sent, ended, reads, size, _ = _FIXED.unpack(fixed)
            rest = file.read(12 * reads)
            body = file.read(size)
            detail = file.read(length - size - 12 * reads)
            if len(rest) + len(body) + len(detail) < length:
                return
            if kind == NOTE:
                yield json.loads(body)
                continue
            times: array[int] = array("q", rest[: 8 * reads])
            sizes: array[int] = array("I", rest[8 * reads :])
            yield Answer(index, OUTCOMES[code], intended, started, sent, ended, times, sizes, body, detail.decode())


class Glance(NamedTuple):
    """The fixed part of a record: enough to show how a run goes."""

    outcome: str
    started: int
    sent: int
    first: int
    ended: int


class Follower:
    """Reads a growing spool's new records, without their bodies."""

    def __init__(self, path: Path) -> None:
        self._path, self._at = path, len(MAGIC)

    def news(self) -> list[Glance]:
        """What was added since the last call."""
        found: list[Glance] = []
        try:
            size = self._path.stat().st_size
            file = self._path.open("rb")
        except OSError:
            return found
        with file:
            while self._at + _FIXED.size <= size:
                file.seek(self._at)
                kind, length, _, code, _, started, sent, ended, reads, _, _ = _FIXED.unpack(file.read(_FIXED.size))
                if self._at + _FIXED.size + length > size:
                    break
                if kind == REQUEST:
                    first = int.from_bytes(file.read(8), "little") if reads else 0
                    found.append(Glance(OUTCOMES[code], started, sent, first, ended))
                self._at += _FIXED.size + length
        return found
