"""Per-request records, as columns: read from what a benchmark left in the trial's folder.

A record is a JSON object a line in ``requests.jsonl`` (or ``records.jsonl``; ``.gz`` and, where a module for it is
installed, ``.zst``), or in any artifact of kind ``requests``. Names that tools use are understood, with their units:
``ttft``, ``ttft_s``, ``ttft_ms``, ``ttft_ns`` mean the same. Times in the columns are seconds.
"""

from __future__ import annotations

import gzip
import io
import json
import math
import re
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from attrs import define, field
from playbook_kernel.api import TrialResult

_FILE = re.compile(r"(?:^|[/._-])(?:requests|records)\.jsonl(?:\.gz|\.zst)?$")
_SCALES = {"": 1.0, "_s": 1.0, "_seconds": 1.0, "_ms": 1e-3, "_us": 1e-6, "_ns": 1e-9}
_NAMES: Mapping[str, Sequence[str]] = {
    "sent": ("sent", "t_sent", "start", "start_time", "request_start", "started", "intended", "t_intended"),
    "ttft": ("ttft", "time_to_first_token", "ttft_content"),
    "tpot": ("tpot", "time_per_output_token"),
    "e2el": ("e2el", "latency", "e2e_latency", "request_latency", "duration"),
    "tokens": ("output_tokens", "completion_tokens", "output_len", "tokens_out", "tokens"),
}
_ERROR_KEYS = ("error", "error_class", "error_type", "failure")
_NUMBERS = (int, float)
LATENCIES = ("ttft", "tpot", "e2el")


def _column() -> array[float]:
    return array("d")


@define(eq=False)
class Requests:
    """A load, request by request, in order of sending; equal places of the columns belong together.

    ``sent``: when, Unix seconds (or from the start of the load, if the tool says no more). A latency that was not
    recorded, or that a failed request does not have, is NaN. ``failures``: the place of each failed request and its
    class. ``skipped``: lines that could not be read.
    """

    sent: array[float] = field(factory=_column)
    ttft: array[float] = field(factory=_column)
    tpot: array[float] = field(factory=_column)
    e2el: array[float] = field(factory=_column)
    tokens: array[float] = field(factory=_column)
    failures: dict[int, str] = field(factory=dict)
    skipped: int = 0

    def __len__(self) -> int:
        return len(self.sent)

    def column(self, name: str) -> array[float]:
        """A column by its name."""
        found: array[float] = getattr(self, name)
        return found

    def values(self, name: str) -> list[float]:
        """What successful requests have in a column."""
        failed = self.failures
        column = self.column(name)
        if not failed:
            return [v for v in column if v == v]
        return [v for n, v in enumerate(column) if v == v and n not in failed]

    @property
    def errors(self) -> Counter[str]:
        """How many requests failed, by class."""
        return Counter(self.failures.values())

    def span(self) -> tuple[float, float]:
        """When the first request was sent and the last one ended."""
        if not self.sent:
            return 0.0, 0.0
        ends = (s + (e if e == e else 0.0) for s, e in zip(self.sent, self.e2el, strict=True))
        return min(self.sent), max(ends)


def files(trial: TrialResult) -> list[str]:
    """The artifacts of a trial that hold requests, as paths within its folder."""
    return [
        a.path for a in trial.artifacts if a.kind in ("requests", "records") or (_FILE.search(a.path) and not a.partial)
    ]


def of_trial(folder: Path, trial: TrialResult) -> Requests | None:
    """All requests of a trial; None if it kept none, or none that can be read."""
    merged: Requests | None = None
    for name in files(trial):
        path = folder / name
        if not path.is_file() or not path.resolve().is_relative_to(folder.resolve()):
            continue
        try:
            merged = read(path, merged)
        except (OSError, EOFError, ImportError):
            continue
    return merged if merged is not None and len(merged) else None


def read(path: Path, into: Requests | None = None) -> Requests:
    """The requests of a file, added to ``into``.

    Raises OSError, EOFError (a torn archive), ImportError (no module for zstd).
    """
    requests = into if into is not None else Requests()
    plan: list[tuple[str | None, float]] = []
    keys: frozenset[str] = frozenset()
    error_key: str | None = None
    loads = json.loads
    columns = [requests.column(name) for name in _NAMES]
    nan = math.nan
    for line in _lines(path):
        try:
            row: Any = loads(line)
        except ValueError:
            requests.skipped += 1
            continue
        if not isinstance(row, dict):
            requests.skipped += 1
            continue
        if row.keys() != keys:
            keys = frozenset(row)
            plan = [_source(row, name) for name in _NAMES]
            error_key = next((k for k in _ERROR_KEYS if k in keys), None)
        if plan[0][0] is None and plan[3][0] is None:
            requests.skipped += 1
            continue
        for column, (key, scale) in zip(columns, plan, strict=True):
            value: Any = row[key] if key is not None else None
            column.append(value * scale if type(value) in _NUMBERS else nan)
        if error_key is not None and row[error_key]:
            requests.failures[len(requests.sent) - 1] = _class(row[error_key])
        elif row.get("success") is False or row.get("ok") is False:
            requests.failures[len(requests.sent) - 1] = "failed"
    _complete(requests)
    return requests


def _source(row: Mapping[str, Any], name: str) -> tuple[str | None, float]:
    for alias in _NAMES[name]:
        for suffix, scale in _SCALES.items():
            if alias + suffix in row:
                return alias + suffix, scale
    return None, 1.0


def _class(error: object) -> str:
    if isinstance(error, Mapping):
        error = error.get("class") or error.get("type") or error.get("message") or "failed"
    return " ".join(str(error).split())[:200] or "failed"


def _complete(requests: Requests) -> None:
    """Unknown send times become places in line, and a missing time per token follows from what is there."""
    for n, value in enumerate(requests.sent):
        if value != value:
            requests.sent[n] = float(n)
    if all(v != v for v in requests.tpot):
        for n, (first, whole, tokens) in enumerate(zip(requests.ttft, requests.e2el, requests.tokens, strict=True)):
            if tokens > 1 and first == first and whole == whole:
                requests.tpot[n] = (whole - first) / (tokens - 1)


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        if path.suffix == ".gz":
            with gzip.open(file) as plain:
                yield from plain
        elif path.suffix == ".zst":
            yield from io.BufferedReader(_zstd(file), 1 << 20)
        else:
            yield from file


def _zstd(file: BinaryIO) -> Any:
    try:
        from compression import zstd  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        import zstandard  # type: ignore[import-not-found,unused-ignore]

        return zstandard.ZstdDecompressor().stream_reader(file)
    return zstd.ZstdFile(file)
