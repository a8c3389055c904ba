"""Where a stream is even: whole events in each read, all of one shape. Those reads are tokens without being looked at."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import repeat
from operator import add, gt

MARK = b"data: "
_KEYS = (b'"content":"', b'"content": "', b'"text":"', b'"text": "', b'"reasoning_content":"',
         b'"reasoning_content": "', b'"reasoning":"', b'"reasoning": "')  # fmt: skip
_TEXT = re.compile(rb'(?:[^"\\]|\\.)*"', re.DOTALL)
_WORTH = 8
_TRIES = 8
# Reads of a chunk whose size has two digits are at most 261 bytes long; with three, at least 263.
_TWO_DIGITS = 262


def shape(event: bytes) -> tuple[bytes, bytes] | None:
    """All bytes of an event up to its text, and the last of them: the key that holds the text. None: no text."""
    for key in _KEYS:
        at = event.find(key)
        if at >= 0 and event[at + len(key)] != 34:
            return event[: at + len(key)], key
    return None


Stretch = tuple[int, int, dict[int, int]]


def stretch(sizes: Sequence[int], ends: Sequence[int], body: bytes) -> Stretch | None:
    """Two reads with events of one shape, such that every read between them is exactly one more of the same.

    ``ends`` are the sums of ``sizes``. The third is for reads that are several of the same: how many, by their place
    after the first. None where there is no such stretch that is worth it.
    """
    for first in range(1, min(_TRIES, len(sizes) - _WORTH)):
        begin = ends[first - 1]
        line = body.find(b"\r\n", begin, begin + 8)
        if line < 0 or not body.startswith(MARK, line + 2):
            continue
        event = body[line + 2 + len(MARK) : ends[first]]
        found = shape(event)
        if found is not None and MARK not in event:
            return _from(first, line - begin, found[0], event, sizes, ends, body)
    return None


def _from(
    first: int, digits: int, prefix: bytes, event: bytes, sizes: Sequence[int], ends: Sequence[int], body: bytes
) -> Stretch | None:
    needle = b"\r\n" + MARK + prefix
    rest = sizes[first + 1 :]
    starts, view = ends[first:-1], body[digits:]
    count = _like(needle, view, starts)
    if len(rest) - count > _WORTH and digits in (2, 3) and (rest[count] > _TWO_DIGITS) == (digits == 2):
        starts, view = list(map(add, starts, map(gt, rest, repeat(_TWO_DIGITS)))), body[2:]
        count = _like(needle, view, starts)
    # The last of them may hold more than its event, so only those before it are known to be even.
    last = first + count
    between = rest[: max(0, count - 1)]
    if len(between) < _WORTH:
        return None
    several: dict[int, int] = {}
    # A read that is too short for two of them holds one.
    if max(between) >= 2 * len(needle):
        for place, size in enumerate(between):
            if size >= 2 * len(needle):
                begin, end = ends[first + place], ends[first + place + 1]
                count = body.count(MARK, begin, end)
                if count > 1:
                    if body.count(needle, begin, end) != count or body.count(needle + b'"', begin, end):
                        return None
                    several[place] = count
    text = _TEXT.match(event, len(prefix))
    bare = sizes[first] - (text.end() - 1 - len(prefix)) if text else sizes[first]
    if min(between) <= bare and any(map(view.startswith, repeat(needle + b'"'), starts[: len(between)])):
        return None
    return first, last, several


def _like(needle: bytes, view: bytes, starts: Sequence[int]) -> int:
    """At how many of ``starts``, from the first one on, the needle lies in the view."""
    hits = list(map(view.startswith, repeat(needle), starts))
    try:
        return hits.index(False)
    except ValueError:
        return len(hits)
