"""Conversations in which the server's own answers are said again: put into a request when it is about to leave."""

from __future__ import annotations

import json
import re

from .exchange import Exchange
from .sse import understand

_LENGTH = b"\r\nContent-Length: "
_HERE = re.compile(rb"\\u001aanswer (\d+)\\u001a")


def place(number: int) -> str:
    """Stands in a prompt where the answer of that number, from 0, of the conversation will be."""
    return f"\x1aanswer {number}\x1a"


def filled(request: bytes, answers: list[str]) -> bytes:
    """A request whose last header is its length, with the answers so far in their places."""
    head, _, body = request.partition(b"\r\n\r\n")

    def said(found: re.Match[bytes]) -> bytes:
        number = int(found[1])
        text = answers[number] if number < len(answers) else ""
        return json.dumps(text, ensure_ascii=False)[1:-1].encode("utf-8", "replace")

    body = _HERE.sub(said, body)
    return head[: head.rindex(_LENGTH) + len(_LENGTH)] + b"%d\r\n\r\n" % len(body) + body


class History:
    """What was answered so far in each conversation, by the request that comes next in it."""

    def __init__(self) -> None:
        self._before: dict[int, list[str]] = {}

    def answered(self, exchange: Exchange, following: int) -> None:
        """Keep the text of an answer for the request that follows it, if one does."""
        before = self._before.pop(exchange.index, [])
        if following >= 0:
            text = understand(exchange.times, exchange.sizes, bytes(exchange.body), text=True).text
            self._before[following] = [*before, text]

    def fill(self, index: int, request: bytes) -> bytes:
        """The request of an index, with what was answered before it."""
        before = self._before.get(index)
        return filled(request, before) if before else request
