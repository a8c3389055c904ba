"""One line of the journal, and whether it is whole; engine/journal.py says what lines there are."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from playbook_kernel.errors import PlaybookError

VERSION = 1


class JournalDamaged(PlaybookError):
    """A record before the last one cannot be trusted, or is of a version that this one cannot read."""


@frozen
class Record:
    """One line of the journal."""

    seq: int
    utc: str
    mono: float
    type: str
    trial: str
    data: Mapping[str, Any] = field(factory=dict)


def checksum(text: bytes) -> str:
    """The CRC-32 of a line as it would be without it; ``text``: everything before it."""
    return f"{zlib.crc32(text + b'}'):08x}"


def record_of(line: bytes) -> Record | None:
    """The record of a line without its end; None if the line is torn or damaged. Raises JournalDamaged for other versions."""
    text, separator, tail = line.rpartition(b',"crc":"')
    if not separator or tail != f'{checksum(text)}"}}'.encode():
        return None
    try:
        body = json.loads(text + b"}")
        version = body["v"]
        if version != VERSION:
            raise JournalDamaged(
                f"the journal is of version {version}, this is a reader of version {VERSION}",
                hint="use the version of playbook-kernel that wrote it; nothing was changed",
            )
        return Record(body["seq"], body["utc"], body["mono"], body["type"], body["trial"], body["data"])
    except (ValueError, KeyError, TypeError):
        return None
