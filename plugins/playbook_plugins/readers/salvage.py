"""All that is good of a mapping in which something is wrong, so that a file's values are looked at in the same go."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar

from attrs import field, frozen
from playbook_kernel.api import Problem, Problems

from playbook_plugins.text import Document, Key, dotted

T = TypeVar("T")
Path = tuple[Key, ...]
_UNKNOWN = re.compile(r"unknown key '(?P<name>[^']*)'(?:, did you mean '(?P<meant>[^']*)')?")


@frozen
class Doubt:
    """Places of which nothing is known, for what stands there was left out; or what may have been meant stands elsewhere."""

    places: frozenset[Path] = field(factory=frozenset)

    def about(self, *paths: Path) -> bool:
        """Whether what is missing at one of the paths may only have been left out."""
        return any(p[: len(d)] == d or d[: len(p)] == p for d in self.places for p in paths)

    def within(self, path: Path, key: str) -> bool:
        """Whether an entry of the list at a path, or an entry's ``key``, was left out."""
        depth = len(path)
        return any(
            d[:depth] == path[: len(d)] and (len(d) <= depth + 1 or d[depth + 1 :] == (key,)) for d in self.places
        )

    def __or__(self, other: Doubt) -> Doubt:
        return Doubt(self.places | other.places)


def salvage(
    document: Document, cls: type[T], problems: Problems, path: Path = (), value: Any = None
) -> tuple[T | None, Doubt]:
    """Like ``document.structure``, but what is wrong is left out after it was told, and the rest is made.

    None comes back where nothing can be made: a required key is missing or wrong.
    """
    raw = document.at(*path) if value is None else value
    unreadable = not document.data and any(p.file == str(document.file) for p in problems.items)
    found = Problems()
    made = document.structure(cls, found, path, value)
    for one in found.items:
        problems.add(one.file, one.line, one.key, one.message, one.hint)
    if not isinstance(raw, Mapping) or unreadable:
        return made, Doubt(frozenset([path] if found.items or unreadable else ()))
    if made is not None:
        return made, Doubt()
    if made is not None:
        return made, Doubt()
    out: set[Path] = set()
    meant: set[Path] = set()
    known = {dotted(p): p for p in document.lines if p[: len(path)] == path} | {dotted(path): path}
    while made is None:
        before = len(out)
        for one in found.items:
            place, alias = _place(one, known)
            out.add(place)
            meant |= {alias} if alias else set()
        if path in out or len(out) == before:
            break
        found = Problems()
        made = document.structure(cls, found, path, _without(raw, path, out))
    return made, Doubt(frozenset(out | meant))


def _place(problem: Problem, known: Mapping[str, Path]) -> tuple[Path, Path | None]:
    """What must go, and the place that an unknown key was probably meant for.

    A key that is missing cannot go, so what lacks it does.
    """
    if (unknown := _UNKNOWN.match(problem.message)) is not None and problem.key in known:
        around = known[problem.key]
        return (*around, unknown["name"]), (*around, unknown["meant"]) if unknown["meant"] else None
    key = problem.key
    while key not in known:
        key = key[: max(key.rfind("."), key.rfind("["))] if "." in key or "[" in key else ""
        if not key:
            return known.get("", ()), None
    return known[key], None


def _without(value: Any, path: Path, out: set[Path]) -> Any:
    if isinstance(value, Mapping):
        return {k: _without(v, (*path, k), out) for k, v in value.items() if (*path, k) not in out}
    if isinstance(value, list):
        return [_without(v, (*path, n), out) for n, v in enumerate(value) if (*path, n) not in out]
    return value
