"""One request and its answer on the wire: bytes as they came, when they came, and whether that was all."""

from __future__ import annotations

HEAD, CHUNKED, UNTIL_CLOSE = -1, -2, -3
_ENDS = b"\r\n\r\n"
_DONE = (b"[DONE]\n\n\r\n0\r\n\r\n", b"[DONE]\r\n\r\n\r\n0\r\n\r\n")


class Malformed(Exception):
    """The answer is not HTTP."""


class Exchange:
    """``times`` and ``sizes`` have one entry for every read; ``body`` is the whole answer, its head included.

    ``expected`` is how long the answer will be in bytes, or HEAD, CHUNKED, UNTIL_CLOSE.
    """

    __slots__ = (
        "body",
        "expected",
        "index",
        "intended",
        "keep",
        "retried",
        "sent",
        "sizes",
        "started",
        "times",
        "walked",
    )

    def __init__(self, index: int, intended: int, started: int) -> None:
        self.index, self.intended, self.started, self.sent = index, intended, started, 0
        self.times: list[int] = []
        self.sizes: list[int] = []
        self.body = bytearray()
        self.expected = HEAD
        self.keep = True
        self.retried = False
        self.walked = 0

    def complete(self) -> bool:
        """Whether the answer is whole now. Raises Malformed.

        An engine calls it after each read, but may skip the call when ``expected`` is CHUNKED and the body does not
        end in two line ends: no chunked answer ends otherwise.
        """
        if self.expected == HEAD:
            self._head()
        expected = self.expected
        if expected == CHUNKED:
            body = self.body
            return body.endswith(_ENDS) and (body.endswith(_DONE) or self._walk())
        return 0 < expected <= len(self.body)

    def _head(self) -> None:
        body = self.body
        end = body.find(_ENDS)
        if end < 0:
            if not body.startswith(b"HTTP/1."[: len(body)]) or len(body) > 65536:
                raise Malformed("the answer is not HTTP/1.1")
            return
        if not body.startswith(b"HTTP/1."):
            raise Malformed("the answer is not HTTP/1.1")
        head = bytes(body[:end]).lower()
        if head[9:10] == b"1":  # 100 Continue and its like come before the answer itself
            removed = end + 4
            del body[:removed]
            self.times.clear()
            self.sizes.clear()
            if body:
                self.times.append(self.sent)
                self.sizes.append(len(body))
                self._head()
            return
        self.walked = end + 4
        self.keep = b"\r\nconnection: close" not in head and not head.startswith(b"http/1.0")
        if head[9:12] in (b"204", b"304"):
            self.expected = end + 4
        elif b"\r\ntransfer-encoding:" in head and b"chunked" in head:
            self.expected = CHUNKED
        else:
            at = head.find(b"\r\ncontent-length:")
            if at < 0:
                self.expected, self.keep = UNTIL_CLOSE, False
            else:
                length = head[at + 17 :].split(b"\r\n", 1)[0].strip()
                if not length.isdigit():
                    raise Malformed(f"not a content length: {length[:40]!r}")
                self.expected = end + 4 + int(length)

    def _walk(self) -> bool:
        """Go on over the chunks from where the last call ended; whether the last one, and its trailers, are there."""
        body, at = self.body, self.walked
        while True:
            line = body.find(b"\r\n", at)
            if line < 0:
                self.walked = at
                return False
            try:
                size = int(bytes(body[at:line]).split(b";", 1)[0], 16)
            except ValueError:
                raise Malformed(f"not the size of a chunk: {bytes(body[at : min(line, at + 20)])!r}") from None
            if size == 0:
                self.walked = at
                return body.find(b"\r\n\r\n", line) >= 0
            after = line + 4 + size
            if after > len(body):
                self.walked = at
                return False
            at = after
