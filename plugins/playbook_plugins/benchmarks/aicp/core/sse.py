"""From the bytes of an answer to what was said when. Runs after the window.

Most answers are chunked streams whose events differ only in their text: those are counted without parsing each event.
Whatever looks different is parsed byte by byte.
"""

from __future__ import annotations

import json
import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from operator import add
from typing import Any, NamedTuple

from .even import MARK, shape, stretch
from .exchange import Malformed

REASONING, CONTENT = "r", "c"
_DETAIL = 300
_scan: Callable[[str, int], tuple[Any, int]] = json.JSONDecoder().scan_once  # type: ignore[attr-defined]
_CHOICES = b'"choices":'
_REMEMBERED, _LONG = 512, 4096


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
        if _evenly(said, times, sizes, body):
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


def _evenly(said: Said, times: Sequence[int], sizes: Sequence[int], body: bytes) -> bool:
    """As _swift, which sees only the ends of a stretch that is even."""
    ends = list(accumulate(sizes))
    found = stretch(sizes, ends, body)
    if found is None:
        return _swift(said, times, ends, body)
    first, last, several = found
    skipped = ends[last - 1] - ends[first]
    short = body[: ends[first]] + body[ends[last - 1] :]
    kept = ends[: first + 1] + [end - skipped for end in ends[last:]]
    if not _swift(said, [*times[: first + 1], *times[last:]], kept, short):
        return False
    at = bisect_right(said.tokens, times[first])
    if not at or said.tokens[at - 1] != times[first]:
        return False
    between = list(times[first + 1 : last])
    for place in sorted(several, reverse=True):
        between[place:place] = [between[place]] * (several[place] - 1)
    said.tokens[at:at] = between
    if at <= said.reasoning:
        said.reasoning += len(between)
    return True


def _swift(said: Said, times: Sequence[int], ends: Sequence[int], body: bytes) -> bool:
    """Count a plain stream, ``ends`` being those of its reads; whether it was plain. Few of its events are parsed."""
    parts = body.split(MARK)
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
    # An event is there when its end is: look at a byte just before it, which lies before the next chunk's head too.
    step = len(MARK)
    spots = list(map(add, lengths[1:], range(step - 16, step * (count + 1), step)))

    def alike(start: int, stop: int) -> bool:
        """Whether all events from ``start`` to ``stop`` are like the first of them, but for their text."""
        found = shape(parts[start])
        if found is None or kinds[start] != kinds[stop]:
            return False
        prefix, key = found
        begin = lengths[start - 1] + step * (start - 1)
        end = lengths[stop] + step * stop
        wanted = stop - start + 1
        if body.count(MARK + prefix, begin, end) != wanted or body.count(key + b'"', begin, end):
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
    done = 0
    # Read by read rather than event by event: where they come in bursts, there are fewer of them.
    for read in range(bisect_right(ends, wanted[0]), len(ends)):
        until = bisect_left(wanted, ends[read], done)
        if until > done:
            said.tokens += [times[read]] * (until - done)
            done = until
            if done == len(wanted):
                break
    return not said.problem


def _payload(part: bytes) -> bytes:
    return part[: part.find(b"\n")].rstrip()


# -- what an event means ------------------------------------------------------------------------------------------


class _Meaning(NamedTuple):
    """What an event says. ``kind``: r, c, e for empty content, or nothing; ``told``: the tokens counted so far."""

    kind: str = ""
    told: int = 0
    usage: dict[str, Any] | None = None
    finish: str = ""
    problem: str = ""
    detail: str = ""
    content: str = ""
    thought: str = ""


# Ends of streams are alike but for their ids, which come first: what follows is looked at once.
_meanings: dict[bytes, _Meaning] = {}


def _classify(said: Said, payload: bytes, *, keep: bool) -> tuple[str, int]:
    """The kind of an event, and the tokens that the server has counted so far, see _Meaning.

    Raises ValueError if it is not JSON.
    """
    if payload == b"[DONE]":
        said.done = True
        return "", 0
    before, _, rest = payload.partition(_CHOICES)
    plain = 0 < len(rest) < _LONG and before.rfind(b"{") == 0 and b'"usage"' not in before and b'"error"' not in before
    meaning = _meanings.get(rest) if plain else None
    if meaning is None:
        meaning = _meaning(payload)
        if plain and len(_meanings) < _REMEMBERED:
            _meanings[rest] = meaning
    kind, told, usage, finish, problem, detail, content, thought = meaning
    if usage is not None:
        said.usage = usage
    if finish:
        said.finish = finish
    if problem:
        said.problem, said.detail = problem, detail
    if keep:
        said.text += content
        said.thought += thought
    return kind, told


def _meaning(payload: bytes) -> _Meaning:
    try:
        text = payload.decode("utf-8", "replace").strip()
        event, end = _scan(text, 0)
    except StopIteration:
        raise ValueError("an event is not JSON") from None
    if end != len(text) or not isinstance(event, dict):
        raise ValueError("an event is not an object")
    usage = event.get("usage")
    counted = usage if isinstance(usage, dict) else None
    choices = event.get("choices")
    if not choices:
        if event.get("error") or event.get("object") == "error":
            return _Meaning(usage=counted, problem="error_event", detail=_text_of(event))
        return _Meaning(usage=counted)
    told = int(counted.get("completion_tokens") or 0) if counted else 0
    choice = choices[0]
    finish = str(choice.get("finish_reason") or "")
    delta = choice.get("delta") or choice.get("message") or {}
    content = delta.get("content") if "content" in delta else choice.get("text")
    thought = delta.get("reasoning_content") or delta.get("reasoning")
    said = (content if isinstance(content, str) else "", thought if isinstance(thought, str) else "")
    if content or delta.get("tool_calls"):
        return _Meaning(CONTENT, told, counted, finish, "", "", *said)
    if thought:
        return _Meaning(REASONING, told, counted, finish, "", "", *said)
    return _Meaning("e" if content is not None else "", 0, counted, finish, "", "", *said)


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
                data.append(line[6:] if line.startswith(MARK) else line[5:])
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
