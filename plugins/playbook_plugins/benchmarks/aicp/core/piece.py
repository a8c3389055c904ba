"""A piece of a load on one of several machines: it comes on standard input, its records leave on standard output.

Every machine gets the whole plan and makes some of its shares, so the schedule is the same for any number of them. All
start at one moment, which each is told in its own clock.
"""

from __future__ import annotations

import json
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .clock import now, realtime_offset
from .launch import LaunchError, Workers, file_limit
from .site import resolved
from .worker import spool_of

_FILES = ("plan.json", "order.bin", "wire.bin")


class Came(NamedTuple):
    """What a machine sent back: ``start`` and the spools' times are its own monotonic nanoseconds.

    ``ready``: how long before the start it was ready, in nanoseconds. ``failed``: why it did not run to its end, or "".
    """

    start: int
    ready: int
    failed: str
    spools: list[bytes]


def packed(folder: Path, shares: Sequence[int], at: int) -> bytes:
    """The piece of a plan: which shares to make, and from which nanosecond of that machine's real-time clock on."""
    return _joined({"shares": list(shares), "at": at}, [(folder / name).read_bytes() for name in _FILES])


def opened(data: bytes) -> Came:
    """What came back. Raises ValueError if it is not whole."""
    try:
        head, parts = _parted(data)
        return Came(head["start"], head["ready"], head["failed"], list(parts))
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError(f"what came back is not the records of a load: {error}") from None


def main() -> int:
    """Make the piece that standard input holds. SIGTERM ends it early, with what was recorded."""
    head, parts = _parted(sys.stdin.buffer.read())
    with tempfile.TemporaryDirectory(prefix="aicp-") as made:
        folder = Path(made)
        for name, part in zip(_FILES, parts):  # noqa: B905 - Python 3.9
            (folder / name).write_bytes(part)
        start, ready, failed = 0, 0, ""
        try:
            settings = resolved(folder)
            problem = file_limit(settings.open_at_once)
            if problem:
                raise LaunchError(problem)
            workers = Workers(folder, settings, [sys.executable, sys.argv[0], "worker"], head["shares"])
            signal.signal(signal.SIGTERM, lambda *_: workers.stop())
            start = head["at"] - realtime_offset()
            workers.launch(timeout=max(1.0, (start - now()) / 1e9), at=start)
            ready = start - workers.ready
            workers.wait(0.1)
        except (LaunchError, OSError) as error:
            failed = str(error) or type(error).__name__
        found = [p.read_bytes() for p in (spool_of(folder, s) for s in head["shares"]) if p.exists()]
        spools = [data for data in found if data]
        sys.stdout.buffer.write(_joined({"start": start, "ready": ready, "failed": failed}, spools))
        sys.stdout.buffer.flush()
    if failed:
        sys.stderr.write(f"{failed}\n")
    return 1 if failed else 0


def lead(ready: int, given: float) -> float:
    """How many seconds to allow for the start, from how long before it the slowest machine was ready last time."""
    return min(max(3.0, 3 * (given - ready / 1e9)), 60.0)


def wall(seconds: float) -> int:
    """A moment so far from now, in nanoseconds of this machine's real-time clock."""
    return time.time_ns() + round(seconds * 1e9)


def _joined(head: dict[str, Any], parts: Sequence[bytes]) -> bytes:
    line = json.dumps({**head, "sizes": [len(p) for p in parts]}).encode()
    return b"\n".join([line, b"".join(parts)])


def _parted(data: bytes) -> tuple[dict[str, Any], Iterator[bytes]]:
    line, _, rest = data.partition(b"\n")
    head = json.loads(line)
    if sum(head["sizes"]) != len(rest):
        raise ValueError(f"{sum(head['sizes'])} bytes were to come, and {len(rest)} did")

    def parts() -> Iterator[bytes]:
        at = 0
        for size in head["sizes"]:
            yield rest[at : at + size]
            at += size

    return head, parts()
