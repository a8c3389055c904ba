"""Per-request records, as columns: read from what a benchmark left in the trial's folder.

A record is a JSON object a line in ``requests.jsonl`` (or ``records.jsonl``; ``.gz`` and, where a module for it is
installed, ``.zst``), or in any artifact of kind ``requests``. Names that tools use are understood, with their units:
``ttft``, ``ttft_s``, ``ttft_ms``, ``ttft_ns`` mean the same. So are the records of the ``aicp`` benchmark: an ``i`` each,
times in whole microseconds, a first line about the run and a last one about the client. Times in the columns are seconds.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import gzip
import io
import itertools
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
_BATCH = 2000
_EPOCHS = ("epoch", "started", "start", "utc")
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
    kept = [
        a.path for a in trial.artifacts if a.kind in ("requests", "records") or (_FILE.search(a.path) and not a.partial)
    ]
    return kept or _of_points(trial)


def load_points(trial: TrialResult) -> list[Mapping[str, Any]]:
    """The load points that the aicp benchmark measured, if it was that one."""
    points = trial.measurement.raw.get("points") if trial.measurement else None
    return [p for p in points if isinstance(p, Mapping)] if isinstance(points, list) else []


def _of_points(trial: TrialResult) -> list[str]:
    """The records of that load point which the measurement stands for: the one of the same throughput, else the last."""
    points = [p for p in load_points(trial) if isinstance(p.get("records"), str)]
    measured = trial.measurement.metrics.get("output_throughput") if trial.measurement else None
    for point in points:
        rates = point.get("rates")
        if measured and isinstance(rates, Mapping) and rates.get("output_tokens_per_second") == measured.value:
            return [point["records"]]
    return [points[-1]["records"]] if points else []


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
    reader = _Reader(into if into is not None else Requests())
    lines = _lines(path)
    while batch := list(itertools.islice(lines, _BATCH)):
        reader.take(batch)
    _complete(reader.requests)
    return reader.requests


@define(eq=False)
class _Reader:
    """Takes lines in batches: as one, where every line is alike, else one by one."""

    requests: Requests
    _keys: frozenset[str] = frozenset()
    _plan: list[tuple[str | None, float]] = field(factory=list)
    _epoch: float = 0.0

    def take(self, lines: Sequence[bytes]) -> None:
        rows: list[Any] = []
        with contextlib.suppress(ValueError):
            rows = json.loads(b"[" + b",".join(lines) + b"]")
        if len(rows) != len(lines):
            rows = [_parsed(line) for line in lines]
        try:
            if self._alike(rows):
                return
        except (KeyError, TypeError, AttributeError):
            pass
        for row in rows:
            self._one(row)

    def _alike(self, rows: Sequence[Mapping[str, Any]]) -> bool:
        """Add rows of which every one has what the first one has; False, and nothing added, if they are not so."""
        if "i" in rows[0] or "run" in rows[0]:
            return False
        self._look(rows[0])
        if self._lacking() or not all(row.keys() == self._keys or self._but_for_failure(row) for row in rows):
            return False
        count = len(rows)
        made = [[row[key] * scale for row in rows] if key else [math.nan] * count for key, scale in self._plan]
        said = [_failure(row) for row in rows]
        if not all(type(v) is float for values in made for v in values):
            return False
        start = len(self.requests)
        for name, values in zip(_NAMES, made, strict=True):
            self.requests.column(name).extend(values)
        for n, error in enumerate(said):
            if error:
                self.requests.failures[start + n] = error
        return True

    def _look(self, row: Mapping[str, Any]) -> None:
        if row.keys() != self._keys:
            self._keys = frozenset(row)
            self._plan = [_source(row, name) for name in _NAMES]

    def _but_for_failure(self, row: Mapping[str, Any]) -> bool:
        return (row.keys() ^ self._keys).issubset(_ERROR_KEYS)

    def _lacking(self) -> bool:
        return self._plan[0][0] is None and self._plan[3][0] is None

    def _one(self, row: Any) -> None:
        requests = self.requests
        if not isinstance(row, dict):
            requests.skipped += 1
            return
        if isinstance(row.get("run"), dict) or isinstance(row.get("client"), dict):
            self._epoch = next((v for k in _EPOCHS if (v := _instant(row.get("run", {}).get(k)))), self._epoch)
            return
        if "i" in row:
            self._compact(row)
            return
        self._look(row)
        if self._lacking():
            requests.skipped += 1
            return
        for name, (key, scale) in zip(_NAMES, self._plan, strict=True):
            value: Any = row[key] if key is not None else None
            requests.column(name).append(value * scale if type(value) in _NUMBERS else math.nan)
        if error := _failure(row):
            requests.failures[len(requests) - 1] = error

    def _compact(self, row: Mapping[str, Any]) -> None:
        """A record of the aicp benchmark; what says nothing is left out of it."""
        requests = self.requests
        try:
            sent, ended = row["sent"] * 1e-6, row["ended"] * 1e-6
            came = row.get("t") or ()
            tokens = float(row.get("out") or sum(row.get("counts") or ()) or len(came))
            first = came[0] * 1e-6 if came else math.nan
        except (KeyError, TypeError):
            requests.skipped += 1
            return
        requests.sent.append(self._epoch + sent)
        requests.ttft.append(first)
        requests.tpot.append((ended - first) / (tokens - 1) if tokens > 1 else math.nan)
        requests.e2el.append(ended)
        requests.tokens.append(tokens)
        if row.get("error"):
            requests.failures[len(requests) - 1] = _class(row["error"])


def _source(row: Mapping[str, Any], name: str) -> tuple[str | None, float]:
    for alias in _NAMES[name]:
        for suffix, scale in _SCALES.items():
            if alias + suffix in row:
                return alias + suffix, scale
    return None, 1.0


def _instant(value: Any) -> float:
    """Unix seconds of a number or an ISO 8601 text; 0 if it is neither."""
    if type(value) in _NUMBERS and value > 1e8:
        return float(value) / (1e9 if value > 1e17 else 1.0)
    try:
        return dt.datetime.fromisoformat(value).timestamp() if isinstance(value, str) else 0.0
    except ValueError:
        return 0.0


def _failure(row: Mapping[str, Any]) -> str:
    """The class of a failed request's error, or nothing."""
    for key in _ERROR_KEYS:
        if row.get(key):
            return _class(row[key])
    return "failed" if row.get("success") is False or row.get("ok") is False else ""


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


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
