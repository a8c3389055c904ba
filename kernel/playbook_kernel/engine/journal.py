"""What was done, and what may be left where: written before it happens, readable after anything.

``journal.jsonl`` holds one JSON object a line::

    {"v":1,"seq":3,"utc":"2026-01-01T00:00:00Z","mono":12.5,"type":"intent","trial":"pk-","data":{},"crc":"0a1b"}

``crc`` is the CRC-32 of the line as it would be without it, that is of everything before ``,"crc"`` and a ``}``. A torn
last line is ignored (its effect was not begun, since nothing is done before its record is on disk); a bad line before the
last one means that the file was damaged, and reading refuses.

==============  =====================================================================================================
type            data
==============  =====================================================================================================
campaign        run, mark, scenarios, only, tool, host, command, salt, config
resumed         tool, host, command, salt, config, changes: a later process goes on
trial           scenario, attempt, folder, nodes, services
intent          id, kind, node, data: about to be done
done            id, data: it was done
undone          id: it was undone, verified
event           event and its fields
trial_ended     status, clean
campaign_ended  status
recovered       clean: a later process cleaned up
==============  =====================================================================================================
"""

from __future__ import annotations

import functools
import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from attrs import define, evolve, field, frozen

from playbook_kernel.context import Effect
from playbook_kernel.model.record import VERSION, JournalDamaged, Record, checksum, record_of
from playbook_kernel.redaction import redacted

from .store import now

_HEAD = b'{"v":%d,"seq":' % VERSION


@define(eq=False)
class Journal:
    """Appends records; safe for use by many threads. Raises OSError when the disk does not take them.

    ``keep`` makes each write, and may make it again when the disk is full: see :meth:`.store.Reserve.keep`.
    """

    path: Path
    keep: Callable[[Callable[[], None]], None] = field(default=lambda write: write())
    _file: BinaryIO = field(init=False)
    _seq: int = field(init=False, default=0)
    _lock: threading.Lock = field(factory=threading.Lock, init=False)

    def __attrs_post_init__(self) -> None:
        raw = self.path.read_bytes() if self.path.exists() else b""
        records, whole = parse(raw)
        self._seq = records[-1].seq if records else 0
        self._file = self.path.open("r+b" if raw else "w+b", buffering=0)
        self._file.truncate(whole)  # a torn tail must not swallow the next record
        self._file.seek(whole)

    def append(self, entries: Iterable[tuple[str, str, Mapping[str, Any]]], *, sync: bool = True) -> None:
        """Write ``(type, trial, data)`` records in one go, and return once they are on disk (if ``sync``)."""
        with self._lock:
            lines = [
                format_record(Record(seq, now(), time.monotonic(), kind, trial, data))
                for seq, (kind, trial, data) in enumerate(entries, self._seq + 1)
            ]
            self.keep(functools.partial(self._write, b"".join(lines), sync=sync))
            self._seq += len(lines)

    def _write(self, data: bytes, *, sync: bool) -> None:
        at = self._file.tell()
        view = memoryview(data)
        try:
            while view:
                view = view[self._file.write(view) :]
            if sync:
                os.fdatasync(self._file.fileno())
        except OSError:
            self._file.truncate(at)
            self._file.seek(at)
            raise

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


def format_record(record: Record) -> bytes:
    """One line, with its checksum."""
    body = {
        "v": VERSION, "seq": record.seq, "utc": record.utc, "mono": round(record.mono, 6), "type": record.type,
        "trial": record.trial, "data": redacted(record.data),
    }  # fmt: skip
    text = json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":"))[:-1]
    # half of a surrogate pair (a file name that is not UTF-8) becomes its JSON escape
    line = text.encode(errors="backslashreplace")
    return line + f',"crc":"{checksum(line)}"}}\n'.encode()


def parse(raw: bytes) -> tuple[list[Record], int]:
    """Every whole record, and how many bytes they take; a torn last line is left out. Raises JournalDamaged."""
    records: list[Record] = []
    position = 0
    while (end := raw.find(b"\n", position)) != -1:
        record = record_of(raw[position:end])
        if record is None or record.seq != len(records) + 1:
            # the very last line, with its newline but without all of its bytes, is torn; two that became one are not
            if record is None and end + 1 == len(raw) and raw.count(_HEAD, position) < 2:
                break
            raise JournalDamaged(
                f"the journal is damaged in line {len(records) + 1}", hint="restore it from a copy; nothing was changed"
            )
        records.append(record)
        position = end + 1
    return records, position


def read(path: Path) -> list[Record]:
    """The records of a journal file."""
    return parse(path.read_bytes())[0]


@frozen
class TrialState:
    """What the journal knows of one trial. ``open``: effects not known to be undone, newest first."""

    trial: str
    scenario: str
    attempt: int
    folder: str
    nodes: tuple[str, ...]
    open: tuple[Effect, ...] = ()
    ended: bool = False


def trials(records: Sequence[Record]) -> dict[str, TrialState]:
    """The state of every trial, in order."""
    found: dict[str, TrialState] = {}
    for record in records:
        data = record.data
        if record.type == "trial":
            nodes = tuple(data["nodes"])
            found[record.trial] = TrialState(record.trial, data["scenario"], data["attempt"], data["folder"], nodes)
        elif (state := found.get(record.trial)) is None:
            continue
        elif record.type == "trial_ended":
            found[record.trial] = evolve(state, ended=True)
        else:
            found[record.trial] = evolve(state, open=applied(state.open, record.type, data))
    return found


def applied(effects: Sequence[Effect], kind: str, data: Mapping[str, Any]) -> tuple[Effect, ...]:
    """The open effects after one more record."""
    if kind == "intent":
        return (Effect(data["id"], data["kind"], data["node"], dict(data["data"])), *effects)
    if kind == "undone":
        return tuple(e for e in effects if e.id != data["id"])
    if kind == "done":
        return tuple(
            evolve(e, state="done", data={**e.data, **data["data"]}) if e.id == data["id"] else e for e in effects
        )
    return tuple(effects)
