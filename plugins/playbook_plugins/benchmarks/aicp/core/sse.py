"""From the bytes of an answer to what was said when. Runs after the window.

Most answers are chunked streams whose events differ only in their text: those are counted without parsing each event.
Whatever looks different is parsed byte by byte.
"""

from __future__ import annotations

import json
import zlib
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from operator import add, gt, le
from typing import Any

from .exchange import Malformed

_MARK = b"data: "
_KEYS = (b'"content":"', b'"content": "', b'"text":"', b'"text": "', b'"reasoning_content":"',
         b'"reasoning_content": "', b'"reasoning":"', b'"reasoning": "')  # fmt: skip
REASONING, CONTENT = "r", "c"
_DETAIL = 300


class Said:
    """What an answer said. Times are in the unit of the reads' times.

    ``tokens`` has the time of every event with reasoning or content, the first ``reasoning`` of them being reasoning.
    ``empty`` are times of chunks whose content is an empty text (a role, an end). ``counts``: tokens in each event of
    ``tokens``, where the server told. ``problem`` is an error class, and ``detail`` says what was wrong.
    """

    __slots__ = (
        "counts",
        "detail",
        "done",
        "empty",
        "finish",
        "last",
        "problem",
        "reasoning",
        "status",
        "text",
        "thought",
        "tokens",
        "usage",
    )

    def __init__(self) -> None:
        self.status = 0
        self.tokens: list[int] = []
        self.reasoning = 0
        self.empty: list[int] = []
        self.counts: list[int] | None = None
        self.usage: dict[str, Any] | None = None
        self.finish = ""
        self.done = False
        self.last = 0
        self.problem = ""
        self.detail = ""
        self.text = ""
        self.thought = ""


def understand(times: Sequence[int], sizes: Sequence[int], body: bytes, *, text: bool = False) -> Said:
    """Read a whole or broken answer; nothing is raised, what is wrong with it stands in ``problem``."""
    said = Said()
    end = body.find(b"\r\n\r\n")
    if end < 0 or not body[9:12].isdigit():
        said.problem = "malformed" if body else "closed_early"
        return said
    said.status = int(body[9:12])
    said.last = times[-1]
    head = body[:end].lower() + b"\r\n"
    stream = b"\r\ncontent-type: text/event-stream" in head
    if said.status == 200 and stream and not text and b"\r\ncontent-encoding:" not in head and b"chunked" in head:
        if _swift(said, times, sizes, body):
            return said
        fresh = Said()
        fresh.status, fresh.last = said.status, said.last
        said = fresh
    try:
        pieces = _decoded(head, _dechunked(head, end + 4, times, sizes, body))
        if said.status == 200 and stream:
            _events(said, pieces, keep=text)
        else:
            _whole(said, head, pieces, keep=text)
    except (Malformed, zlib.error, EOFError) as error:
        said.problem, said.detail = "malformed", str(error)[:_DETAIL]
    return said


# -- the swift way --------------------------------------------------------------------------------------------------


def _swift(said: Said, times: Sequence[int], sizes: Sequence[int], body: bytes) -> bool:
    """Count a plain stream; whether it was plain. Only its first and last events are parsed."""
    parts = body.split(_MARK)
    count = len(parts) - 1
    first, last = 1, count
    kinds: dict[int, str] = {}

    def look(number: int) -> str:
        if number not in kinds:
            kinds[number], told = _classify(said, _payload(parts[number]), keep=False)
            if told:
                raise ValueError("every event counts tokens")
        return kinds[number]

    try:
        while first <= count and look(first) not in (REASONING, CONTENT):
            first += 1
        while last > first and look(last) not in (REASONING, CONTENT):
            last -= 1
    except ValueError:
        return False
    if said.problem or first > count:
        return False
    lengths = list(accumulate(map(len, parts)))
    ends = list(accumulate(sizes))
    # An event is there when its end is: look at a byte just before it, which lies before the next chunk's head too.
    step = len(_MARK)
    spots = list(map(add, lengths[1:], range(step - 16, step * (count + 1), step)))

    def alike(start: int, stop: int) -> bool:
        """Whether all events from ``start`` to ``stop`` are like the first of them, but for their text."""
        found = _prefix(parts[start])
        if found is None or kinds[start] != kinds[stop]:
            return False
        prefix, key = found
        begin = lengths[start - 1] + step * (start - 1)
        end = lengths[stop] + step * stop
        wanted = stop - start + 1
        if body.count(_MARK + prefix, begin, end) != wanted or body.count(key + b'"', begin, end):
            return False
        # An event whose mark was torn apart would be part of the one before it, which then holds two beginnings.
        longest = max(map(len, parts[start : stop + 1]))
        return longest < 2 * len(prefix) or body.count(key, begin, end) == wanted

    if alike(first, last):
        said.reasoning = 0 if kinds[first] == CONTENT else last - first + 1
    else:
        try:
            order = [look(n) for n in range(first, last + 1)]
        except ValueError:
            return False
        if not {REASONING, CONTENT}.issuperset(order) or len(kinds) != body.count(b"\n\n"):
            return False
        said.reasoning = order.index(CONTENT) if CONTENT in order else len(order)
    said.empty = [times[bisect_right(ends, spots[n - 1])] for n, kind in sorted(kinds.items()) if kind == "e"]
    wanted = spots[first - 1 : last]
    read = bisect_right(ends, wanted[0])
    till = read + len(wanted)
    if all(map(gt, ends[read:till], wanted)) and all(map(le, ends[read : till - 1], wanted[1:])) and till <= len(ends):
        said.tokens = list(times[read:till])  # one event in each read
    else:
        said.tokens = [times[bisect_right(ends, spot)] for spot in wanted]
    return not said.problem


def _payload(part: bytes) -> bytes:
    return part[: part.find(b"\n")].rstrip()


def _prefix(part: bytes) -> tuple[bytes, bytes] | None:
    """All bytes of an event up to its text, and the last of them: the key that holds the text."""
    for key in _KEYS:
        at = part.find(key)
        if at >= 0 and part[at + len(key)] != 34:
            return part[: at + len(key)], key
    return None


# -- what an event means ------------------------------------------------------------------------------------------


def _classify(said: Said, payload: bytes, *, keep: bool) -> tuple[str, int]:
    """The kind of an event (r, c, e for empty content, or nothing), and the tokens that the server has counted so far.

    Raises ValueError if it is not JSON.
    """
    if payload == b"[DONE]":
        said.done = True
        return "", 0
    event = json.loads(payload.decode("utf-8", "replace"))
    if not isinstance(event, dict):
        raise ValueError("an event is not an object")
    choices = event.get("choices")
    if not choices:
        if event.get("error") or event.get("object") == "error":
            said.problem, said.detail = "error_event", _text_of(event)
        if isinstance(event.get("usage"), dict):
            said.usage = event["usage"]
        return "", 0
    usage = event.get("usage")
    told = 0
    if isinstance(usage, dict):
        said.usage = usage
        told = int(usage.get("completion_tokens") or 0)
    choice = choices[0]
    if choice.get("finish_reason"):
        said.finish = str(choice["finish_reason"])
    delta = choice.get("delta") or choice.get("message") or {}
    content = delta.get("content") if "content" in delta else choice.get("text")
    thought = delta.get("reasoning_content") or delta.get("reasoning")
    if keep:
        said.text += content if isinstance(content, str) else ""
        said.thought += thought if isinstance(thought, str) else ""
    if content or delta.get("tool_calls"):
        return CONTENT, told
    if thought:
        return REASONING, told
    return ("e" if content is not None else ""), 0


def _text_of(event: dict[str, Any]) -> str:
    error = event.get("error", event)
    message = error.get("message") if isinstance(error, dict) else error
    return str(message or event)[:_DETAIL]


# -- the careful way ----------------------------------------------------------------------------------------------

_Piece = tuple[int, bytes]


def _dechunked(
    head: bytes, start: int, times: Sequence[int], sizes: Sequence[int], body: bytes
) -> Iterator[_Piece]:  # fmt: skip
    """The body in pieces, each with the time at which its last byte was there."""
    ends = list(accumulate(sizes))
    chunked = b"\r\ntransfer-encoding:" in head and b"chunked" in head

    def cut(begin: int, stop: int) -> Iterator[_Piece]:
        at = begin
        while at < stop:
            read = bisect_right(ends, at)
            upto = min(stop, ends[read])
            yield times[read], body[at:upto]
            at = upto

    if not chunked:
        yield from cut(start, len(body))
        return
    at = start
    while True:
        line = body.find(b"\r\n", at)
        if line < 0:
            return
        try:
            size = int(body[at:line].split(b";", 1)[0], 16)
        except ValueError:
            raise Malformed(f"not the size of a chunk: {body[at : at + 20]!r}") from None
        if not size:
            return
        yield from cut(line + 2, min(len(body), line + 2 + size))
        at = line + 4 + size


def _decoded(head: bytes, pieces: Iterator[_Piece]) -> Iterator[_Piece]:
    at = head.find(b"\r\ncontent-encoding:")
    if at < 0:
        yield from pieces
        return
    coding = head[at + 19 :].split(b"\r\n", 1)[0].strip()
    if coding == b"identity":
        yield from pieces
        return
    if coding not in (b"gzip", b"x-gzip", b"deflate"):
        raise Malformed(f"the answer is encoded as {coding.decode('latin-1')!r}")
    # 32: gzip or zlib, whichever the header says.
    machine = zlib.decompressobj(wbits=32 + zlib.MAX_WBITS)
    for time, data in pieces:
        yield time, machine.decompress(data)


def _events(said: Said, pieces: Iterator[_Piece], *, keep: bool) -> None:
    counts: list[int] = []
    told_before, told_always = 0, True
    kinds: list[str] = []
    for time, payload in _payloads(pieces):
        try:
            kind, told = _classify(said, payload, keep=keep)
        except ValueError:
            said.problem = said.problem or "bad_event"
            said.detail = said.detail or f"an event is not JSON: {payload[:80]!r}"
            continue
        if kind == "e":
            said.empty.append(time)
        elif kind:
            said.tokens.append(time)
            kinds.append(kind)
            told_always = told_always and told > told_before
            counts.append(told - told_before)
            told_before = max(told, told_before)
    said.reasoning = kinds.index(CONTENT) if CONTENT in kinds else len(kinds)
    said.counts = counts if told_always and counts else None


def _payloads(pieces: Iterator[_Piece]) -> Iterator[_Piece]:
    """The data of every event: lines end in LF, CRLF or CR, comments and other fields are passed over."""
    rest = b""
    data: list[bytes] = []
    time = 0
    for time, piece in pieces:
        rest += piece
        # A CR at the very end may be half of a CRLF.
        held = b"\r" if rest.endswith(b"\r") else b""
        lines = rest[: len(rest) - len(held)].replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        rest = lines.pop() + held
        for line in lines:
            if line.startswith(b"data:"):
                data.append(line[6:] if line.startswith(_MARK) else line[5:])
            elif not line and data:
                yield time, b"\n".join(data)
                data = []
    # Some servers leave out the empty line after the last event; an event that was cut off counts for nothing.
    line = rest.rstrip(b"\r\n")
    if line.startswith(b"data:"):
        data.append(line[5:].lstrip())
    payload = b"\n".join(data)
    if payload and _whole_event(payload):
        yield time, payload


def _whole_event(payload: bytes) -> bool:
    try:
        return payload == b"[DONE]" or bool(json.loads(payload))
    except ValueError:
        return False


def _whole(said: Said, head: bytes, pieces: Iterator[_Piece], *, keep: bool) -> None:
    """An answer in one piece: a result, or an error."""
    body = b"".join(data for _, data in pieces)
    try:
        event = json.loads(body)
    except ValueError:
        event = None
    if said.status != 200:
        said.problem = problem_of(said.status)
        text = _text_of(event) if isinstance(event, dict) else body.decode("utf-8", "replace")[:_DETAIL].strip()
        after = head.find(b"\r\nretry-after:")
        wait = head[after + 14 :].split(b"\r\n", 1)[0].strip().decode("latin-1") if after >= 0 else ""
        to = head.find(b"\r\nlocation:")
        where = head[to + 11 :].split(b"\r\n", 1)[0].strip().decode("latin-1") if to >= 0 else ""
        more = (f" (Retry-After: {wait})" if wait else "") + (f" (to {where})" if where else "")
        said.detail = f"HTTP {said.status}: {text}{more}"
        return
    if not isinstance(event, dict):
        said.problem = "not_a_stream"
        said.detail = f"the answer is neither a stream nor JSON: {body[:80].decode('utf-8', 'replace')!r}"
        return
    kind, _ = _classify(said, body, keep=keep)
    if kind in (REASONING, CONTENT):
        said.done = True


def problem_of(status: int) -> str:
    """The error class of an HTTP status.

    >>> problem_of(429), problem_of(404), problem_of(503), problem_of(302)
    ('http_429', 'http_4xx', 'http_5xx', 'redirect')
    """
    if status == 429:
        return "http_429"
    if 300 <= status < 400:
        return "redirect"
    return f"http_{status // 100}xx"
