"""HTTP/1.1 chunked transfer coding, read incrementally."""

from __future__ import annotations

_SIZE, _DATA, _DATA_END, _TRAILER = range(4)
_MAX_LINE = 16384


class ChunkedError(ValueError):
    """The bytes are not chunked coding."""


class ChunkedDecoder:
    """Feed it bytes as they come; it gives back the payload and says when the message is complete."""

    __slots__ = ("_left", "_pending", "_state", "done")

    def __init__(self) -> None:
        self._pending = bytearray()
        self._state = _SIZE
        self._left = 0
        self.done = False

    @property
    def rest(self) -> bytes:
        """Bytes that came after the end of the message."""
        return bytes(self._pending) if self.done else b""

    def feed(self, data: bytes) -> bytes:
        """Return the payload that `data` completes.

        Raises ChunkedError when the framing is broken.
        """
        pending = self._pending
        pending += data
        out = bytearray()
        while not self.done and pending:
            if self._state == _DATA:
                piece = pending[: self._left]
                out += piece
                del pending[: len(piece)]
                self._left -= len(piece)
                if self._left:
                    break
                self._state = _DATA_END
                continue
            end = pending.find(b"\r\n")
            if end < 0:
                if len(pending) > _MAX_LINE:
                    raise ChunkedError("a chunk's size line is too long")
                break
            line = bytes(pending[:end])
            del pending[: end + 2]
            self._line(line)
        return bytes(out)

    def _line(self, line: bytes) -> None:
        if self._state == _SIZE:
            digits = line.split(b";", 1)[0].strip()
            if not digits or digits.strip(b"0123456789abcdefABCDEF"):
                raise ChunkedError(f"not a chunk size: {line[:40]!r}")
            self._left = int(digits, 16)
            self._state = _DATA if self._left else _TRAILER
        elif self._state == _DATA_END:
            if line:
                raise ChunkedError("a chunk does not end where its size says")
            self._state = _SIZE
        elif not line:
            self.done = True
