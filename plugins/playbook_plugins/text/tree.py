"""A tree of values that know their places, whatever text they were read from. Reading that text is a reader's business."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from attrs import field, frozen
from playbook_kernel.api import Problems, structure

Key = str | int
T = TypeVar("T")
_UNKNOWN = re.compile(r"unknown key '([^']*)'")
_STEP = re.compile(r"\[(?P<index>\d+)\]|\[(?P<quote>['\"])(?P<key>.*?)(?P=quote)\]|\.?(?P<name>[^.\[\]]+)")


@frozen
class Document:
    """A mapping from a file; ``lines`` gives the line of each key path."""

    file: Path
    data: Mapping[str, Any] = field(factory=dict)
    lines: Mapping[tuple[Key, ...], int] = field(factory=dict, repr=False)

    def line(self, *path: Key) -> int:
        """The line of a key, or of the nearest thing around it that has one."""
        while path:
            if path in self.lines:
                return self.lines[path]
            path = path[:-1]
        return 1

    def origin(self, *path: Key) -> str:
        """``file:line: a.b[0]``, for messages."""
        return f"{self.file}:{self.line(*path)}: {dotted(path)}" if path else f"{self.file}:1"

    def structure(self, cls: type[T], problems: Problems, path: tuple[Key, ...] = (), value: Any = None) -> T | None:
        """Make a ``cls`` of the mapping at ``path`` (or of ``value``, which stood there).

        Keys that hold nothing count as absent. Problems are noted with their lines, and then None is returned.
        """
        raw = self.at(*path) if value is None else value
        if raw is None:
            raw = {}
        if not isinstance(raw, Mapping):
            problems.add(self.file, self.line(*path), dotted(path), "must be a mapping of keys to values")
            return None
        made, found = structure(_without_none(raw), cls)
        for where, message in found:
            full = (*path, *_parsed(where))
            unknown = _UNKNOWN.match(message)
            line = self.line(*full, unknown[1]) if unknown else self.line(*full)
            problems.add(self.file, line, dotted(full), message)
        return made

    def at(self, *path: Key) -> Any:
        """The value at a key path; None if there is none."""
        value: Any = self.data
        for key in path:
            try:
                value = value[key]
            except (KeyError, IndexError, TypeError):
                return None
        return value


def _parsed(text: str) -> tuple[Key, ...]:
    return tuple(int(m["index"]) if m["index"] else m["key"] or m["name"] for m in _STEP.finditer(text))


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_none(v) for k, v in value.items() if v is not None}
    if isinstance(value, list):
        return [_without_none(v) for v in value]
    return value


def dotted(path: tuple[Key, ...]) -> str:
    """A key path as a person writes it.

    >>> dotted(("services", 0, "name"))
    'services[0].name'
    """
    text = "".join(f"[{k}]" if isinstance(k, int) else f".{k}" for k in path)
    return text.removeprefix(".")
