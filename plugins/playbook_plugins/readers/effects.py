"""What is said of keys beyond their types: which have no effect, which work now and did not, and what is out of range."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from playbook_kernel.api import Problems

from playbook_plugins.text import Document, Key, dotted

from .rules import ERROR_CLASSES, MINIMA, NEWLY_LIVE, NO_EFFECT, OFF_HAS_NO_EFFECT, OWN_BUSINESS

NEWLY = "had no effect in the earlier tool, and works here"


def is_ours(file: Path) -> bool:
    """Whether a file names its schema, as those that ``init`` writes do: who has it does not come from the earlier tool."""
    try:
        with file.open(encoding="utf-8", errors="replace") as lines:
            return ".schema.json" in lines.readline()
    except OSError:
        return False


def tell(document: Document, kind: str, problems: Problems, at: tuple[Key, ...] = ()) -> None:
    """Look through one file of a kind, or the part of it at a key path."""
    for path, why in NO_EFFECT.get(kind, {}).items():
        if document.at(*at, *path) is not None:
            _once(document, (*at, *path), f"has no effect: {why}", problems)
    for path, why in OFF_HAS_NO_EFFECT.get(kind, {}).items():
        if document.at(*at, *path) is False:
            _once(document, (*at, *path), f"cannot be switched off: {why}", problems)
    for path in NEWLY_LIVE.get(kind, ()):
        if document.at(*at, *path) is not None and all(n.key != dotted(path) for n in problems.notes):
            problems.note(document.file, document.line(*path), dotted(path), NEWLY)


def _once(document: Document, path: tuple[Key, ...], text: str, problems: Problems) -> None:
    """A key that stands in a hundred files deserves one warning, not a hundred."""
    if not any(w.message == text and w.key.rpartition(".")[2] == path[-1] for w in problems.warnings):
        problems.warn(document.file, document.line(*path), dotted(path), text)


def check_bounds(document: Document, problems: Problems) -> None:
    """Find numbers that are too small, wherever a key of that name stands, and error classes that do not exist."""
    for path, value in _leaves(document.data, ()):
        least = MINIMA.get(str(path[-1]))
        if least is not None and _too_small(value, least):
            words = "above 0" if isinstance(least, float) else f"at least {least}"
            problems.add(document.file, document.line(*path), dotted(path), f"must be {words}, is {value}")
        if len(path) > 1 and path[-2] in ("by_error_class", "timeout_by_error_type", "error_patterns"):
            name = str(path[-1])
            if name not in ERROR_CLASSES:
                near = difflib.get_close_matches(name, ERROR_CLASSES, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(ERROR_CLASSES)}"
                problems.add(
                    document.file, document.line(*path), dotted(path), f"no class of errors is called {name!r}", hint
                )


def _too_small(value: Any, least: int | float) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return value <= least if isinstance(least, float) else value < least


def _leaves(value: Any, path: tuple[Key, ...]) -> Iterator[tuple[tuple[Key, ...], Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in OWN_BUSINESS:
                continue
            if path and path[-1] == "error_patterns":
                yield (*path, key), None
            else:
                yield from _leaves(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _leaves(inner, (*path, index))
    elif path:
        yield path, value
