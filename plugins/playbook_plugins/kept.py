"""What was found out once and holds until something changes: small verdicts, kept in the user's cache from one run to the next.

A key must hold everything that the verdict depends on: a changed version or file then is another key, and what is kept is
never asked. Nothing that can change by itself (whether a node is there) belongs here. Losing the file costs time only.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import define, field

_MOST = 4096
_Json = Mapping[str, Any]


def cache_folder() -> Path:
    """Where this tool may keep what it can find out again: ``$XDG_CACHE_HOME/playbook-kernel``, or below ``~/.cache``."""
    home = os.environ.get("XDG_CACHE_HOME") or ""
    return (Path(home) if home.startswith("/") else Path("~/.cache").expanduser()) / "playbook-kernel"


def key_of(*parts: object) -> str:
    """A key made of everything that a verdict depends on.

    >>> key_of("a", 1) == key_of("a", 1), key_of("ab", "c") == key_of("a", "bc")
    (True, False)
    """
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=repr).encode()).hexdigest()


@define
class Kept:
    """Verdicts of one kind, in one file; safe to use from several threads and processes. Never raises for the file's sake."""

    name: str
    _found: dict[str, _Json] | None = None
    _lock: threading.Lock = field(factory=threading.Lock)

    @property
    def path(self) -> Path:
        return cache_folder() / f"{self.name}.json"

    def get(self, key: str) -> _Json | None:
        """What is kept under a key; None if nothing is."""
        with self._lock:
            if self._found is None:
                self._found = self._read()
            return self._found.get(key)

    def put(self, key: str, verdict: _Json) -> None:
        """Keep a verdict, which must be JSON."""
        with self._lock:
            self._found = {**self._read(), **(self._found or {}), key: verdict}
            newest = dict(list(self._found.items())[-_MOST:])
            with contextlib.suppress(OSError):
                self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                part = self.path.with_suffix(f".{os.getpid()}.part")
                part.write_text(json.dumps(newest), encoding="utf-8")
                part.replace(self.path)

    def _read(self) -> dict[str, _Json]:
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return {k: v for k, v in found.items() if isinstance(v, dict)} if isinstance(found, dict) else {}
