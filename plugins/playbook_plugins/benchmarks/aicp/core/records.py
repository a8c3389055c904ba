"""One line of JSON for each request: all that any summary is computed from. Times are whole microseconds.

The first line is the run's own (``{"run": ...}``); the last one says how the client fared (``{"client": ...}``). A
file that lacks the last line comes from a run that was killed, and is read all the same.
"""

from __future__ import annotations

import gzip
import importlib
import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, NamedTuple

from .spool import Answer, read
from .sse import Said, understand

VERSION = 1


class Record(NamedTuple):
    """What came of one request.

    ``intended``, ``started`` and ``sent`` count from the start of the run; ``first`` (byte), ``ended``, ``tokens`` and
    ``empty`` from ``sent``. See Said for ``tokens``, ``reasoning``, ``empty`` and ``counts``. ``error`` is "" for a
    success, else its class. ``asked`` is how many tokens were asked for, 0 if nobody did.
    """

    number: int
    error: str
    detail: str
    status: int
    intended: int
    started: int
    sent: int
    first: int
    ended: int
    tokens: list[int]
    reasoning: int
    empty: list[int]
    counts: list[int] | None
    prompt_tokens: int | None
    completion_tokens: int | None
    finish: str
    done: bool
    asked: int = 0
    nominal: int = 0
    usage: dict[str, Any] | None = None
    text: str | None = None
    thought: str | None = None
    source: int = 0

    @property
    def ok(self) -> bool:
        return not self.error


def of_answer(answer: Answer, start: int, *, asked: int = 0, nominal: int = 0, text: bool = False) -> Record:
    """Make a record of what a worker spooled; ``start`` is when the run started, in monotonic nanoseconds."""
    said = understand(answer.times, answer.sizes, answer.body, text=text) if answer.body else Said()
    error, detail = _verdict(answer, said)
    sent = answer.sent or answer.started
    usage = said.usage or {}
    # The connection may stay open long after the last thing said; the end is when that came.
    ended = said.last if said.last and not error else answer.ended
    return Record(
        number=answer.number,
        error=error,
        detail=detail,
        status=said.status,
        intended=(answer.intended - start) // 1000,
        started=(answer.started - start) // 1000,
        sent=(sent - start) // 1000,
        first=(answer.times[0] - sent) // 1000 if answer.times else -1,
        ended=(ended - sent) // 1000,
        tokens=[(t - sent) // 1000 for t in said.tokens],
        reasoning=said.reasoning,
        empty=[(t - sent) // 1000 for t in said.empty],
        counts=said.counts,
        prompt_tokens=_count(usage.get("prompt_tokens")),
        completion_tokens=_count(usage.get("completion_tokens")),
        finish=said.finish,
        done=said.done,
        asked=asked,
        nominal=nominal,
        usage=_details(usage),
        text=said.text if text else None,
        thought=said.thought if text and said.thought else None,
    )


def _verdict(answer: Answer, said: Said) -> tuple[str, str]:
    if answer.outcome == "cut" and said.finish and not said.problem:
        return "", ""  # all was said; only HTTP's own end is missing
    if answer.outcome != "answered":
        # What the server managed to say explains more than that it then closed.
        if said.problem and said.problem not in ("malformed", "closed_early") and answer.outcome in ("cut", "timeout"):
            return said.problem, said.detail
        return answer.outcome, answer.detail
    if said.problem:
        return said.problem, said.detail
    if not said.tokens and not said.done and not said.finish:
        return "empty", "the answer has no token and no end"
    return "", ""


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _details(usage: dict[str, Any]) -> dict[str, Any] | None:
    """The parts of usage beyond the plain counts."""
    found = {k: v for k, v in usage.items() if k.endswith("_details") and v}
    return found or None


# -- files --------------------------------------------------------------------------------------------------------

_SHORT = {
    "number": "i",
    "error": "error",
    "detail": "detail",
    "status": "status",
    "intended": "intended",
    "started": "started",
    "sent": "sent",
    "first": "first",
    "ended": "ended",
    "tokens": "t",
    "reasoning": "reasoning",
    "empty": "empty",
    "counts": "counts",
    "prompt_tokens": "in",
    "completion_tokens": "out",
    "finish": "finish",
    "done": "done",
    "asked": "asked",
    "nominal": "nominal",
    "usage": "usage",
    "text": "text",
    "thought": "thought",
    "source": "source",
}
_LONG = {short: name for name, short in _SHORT.items()}
_ALWAYS = frozenset({"number", "intended", "sent", "first", "ended"})
_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, check_circular=False).encode
_EMPTY = Record(0, "", "", 0, 0, 0, 0, 0, 0, [], 0, [], None, None, None, "", False)  # noqa: FBT003


def to_line(record: Record) -> str:
    """One line, without what says nothing."""
    fields = zip(Record._fields, record, _EMPTY)  # noqa: B905 - Python 3.9
    made = [
        f'"{_SHORT[name]}":{value if type(value) is int else _numbers(value) if type(value) is list else _encode(value)}'
        for name, value, plain in fields
        if value != plain or name in _ALWAYS
    ]
    return "{" + ",".join(made) + "}"


def _numbers(values: list[int]) -> str:
    """As JSON, in one go: that takes a third of the time."""
    return _pattern(len(values)) % tuple(values)


@lru_cache(maxsize=64)
def _pattern(count: int) -> str:
    return "[" + ",".join(["%d"] * count) + "]"


def of_line(line: str) -> Record:
    """The record of a line. Raises ValueError."""
    raw = json.loads(line)
    if not isinstance(raw, dict) or "i" not in raw:
        raise ValueError("not a record")
    return _EMPTY._replace(**{_LONG[key]: value for key, value in raw.items() if key in _LONG})


def open_text(path: Path, mode: str) -> IO[str]:
    """A text file, compressed if its name says so. zstd needs the module ``zstandard``."""
    if path.suffix == ".gz":
        return gzip.open(path, mode + "t", encoding="utf-8", compresslevel=1)  # type: ignore[return-value]
    if path.suffix == ".zst":
        opened: IO[str] = importlib.import_module("zstandard").open(path, mode + "t", encoding="utf-8")
        return opened
    return path.open(mode, encoding="utf-8")


class Loaded(NamedTuple):
    """A file of records; ``client`` is None if the run was killed, ``torn`` says that its last line was cut."""

    run: dict[str, Any]
    records: list[Record]
    client: dict[str, Any] | None
    torn: bool


RUN = "run.json"
"""In the folder of a load that runs: the first line of its records, before there are any."""


def left(folder: Path) -> Loaded:
    """What a load that was killed left in its folder. Raises OSError or ValueError."""
    run = json.loads((folder / RUN).read_text(encoding="utf-8"))["run"]
    found: list[Record] = []
    for path in sorted(folder.glob("spool-*.bin")):
        items = list(read(path))
        answers = [a for a in items if isinstance(a, Answer)]
        # A worker that was killed too could not write when it started.
        begun = [int(n["start"]) for n in items if isinstance(n, dict) and "start" in n]
        start = begun[0] if begun else min((a.intended for a in answers), default=0)
        found += [of_answer(a, start) for a in answers]
    return Loaded(run, found, None, torn=True)


def load(path: Path) -> Loaded:
    """Read a file of records, or the folder of a load that was killed.

    Raises ValueError with the number of a line that is wrong (a cut last one is not).
    """
    if path.is_dir():
        return left(path)
    run: dict[str, Any] = {}
    client: dict[str, Any] | None = None
    found: list[Record] = []
    bad = 0
    for number, line in _numbered(path):
        if bad:
            raise ValueError(f"{path}:{bad}: not a record")
        try:
            if number == 1 and line.startswith('{"run"'):
                run = json.loads(line)["run"]
            elif line.startswith('{"client"'):
                client = json.loads(line)["client"]
            else:
                found.append(of_line(line))
        except ValueError:
            bad = number
    return Loaded(run, found, client, bool(bad))


def _numbered(path: Path) -> Iterator[tuple[int, str]]:
    with open_text(path, "r") as file:
        yield from enumerate(file, 1)
