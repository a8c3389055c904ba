"""Untyped mappings in, attrs objects out; nothing is coerced, every problem is told with its key."""

from __future__ import annotations

import collections.abc
import difflib
import functools
import os
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import attrs
from cattrs import BaseValidationError, Converter, ForbiddenExtraKeysError, transform_error
from cattrs.gen import make_mapping_structure_fn

from playbook_kernel.redaction import Secret, redact, redacted

T = TypeVar("T")
_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


def _shown(value: object) -> str:
    text = redact(repr(redacted(value)))
    return text if len(text) <= 60 else text[:57] + "..."


def strict(expected: type[Any]) -> Callable[[Any, type], Any]:
    """What structures exactly that type, and an int for a float."""

    def structure(value: Any, _: type) -> Any:
        if type(value) is expected:
            return value
        if expected is float and type(value) is int:
            return float(value)
        raise TypeError(f"expected {_WORDS[expected]}, got {_shown(value)}")

    return structure


def _path(value: Any, _: type) -> Path:
    if isinstance(value, (str, Path)) and str(value):
        return Path(os.path.expanduser(value))  # noqa: PTH111 - pathlib raises for users that do not exist
    raise TypeError(f"expected a path, got {_shown(value)}")


def _secret(value: Any, _: type) -> Secret:
    if isinstance(value, Secret):
        return value
    if isinstance(value, str):
        return Secret(value)
    raise TypeError("expected a text; quote it if it looks like a number")


def _origin(kind: Any) -> Any:
    return typing.get_origin(kind) or kind


def _is_sequence(kind: Any) -> bool:
    return _origin(kind) in (list, tuple, set, frozenset, collections.abc.Sequence)


def _is_choice(kind: Any) -> bool:
    """Whether a type is a union such as ``str | list[str]`` or ``str | Entry``; ``X | None`` is cattrs' own business."""
    if typing.get_origin(kind) not in (typing.Union, types.UnionType):
        return False
    members = set(typing.get_args(kind)) - {type(None)}
    return len(members) > 1 and all(m in _WORDS or _is_sequence(m) or attrs.has(m) for m in members)


def _choice(value: Any, kind: Any) -> Any:
    members = typing.get_args(kind)
    if value is None and type(None) in members:
        return None
    for member in members:
        if type(value) is member:
            return value
        if (_is_sequence(member) and isinstance(value, list)) or (attrs.has(member) and isinstance(value, Mapping)):
            return converter().structure(value, member)
    words = [_WORDS.get(m, "a mapping" if attrs.has(m) else "a list") for m in members if m is not type(None)]
    raise TypeError(f"expected {' or '.join(words)}, got {_shown(value)}")


def _literal(value: Any, kind: Any) -> Any:
    for member in typing.get_args(kind):
        if type(value) is type(member) and value == member:
            return value
    raise TypeError(f"expected {' or '.join(map(repr, typing.get_args(kind)))}, got {_shown(value)}")


def _is_mapping(kind: Any) -> bool:
    return _origin(kind) in (dict, collections.abc.Mapping)


@functools.cache
def converter(*, unknown: bool = False) -> Converter:
    """Strict: ``"no"`` is not true, 3.9 is not 3, a text is not a list; keys that are not known are errors unless ``unknown``."""
    made = Converter(forbid_extra_keys=not unknown)
    for primitive in _WORDS:
        made.register_structure_hook(primitive, strict(primitive))
    made.register_structure_hook(Path, _path)
    made.register_structure_hook(Secret, _secret)
    made.register_structure_hook_func(lambda kind: kind is Any, lambda value, _: value)
    made.register_structure_hook_func(_is_choice, _choice)
    made.register_structure_hook_func(lambda kind: _origin(kind) is typing.Literal, _literal)

    making: list[Any] = []

    def guard(applies: Callable[[Any], bool], accepts: type[Any] | tuple[type[Any], ...], words: str) -> None:
        def factory(kind: Any) -> Callable[[Any, Any], Any]:
            making.append(kind)  # so that the hook inside of the guard is cattrs' own
            try:
                # cattrs notes its own hook of a mapping under its type, and would find that without the guard the next time
                inner = (
                    make_mapping_structure_fn(kind, made, dict)
                    if applies is _is_mapping
                    else made.get_structure_hook(kind, cache_result=False)
                )
            finally:
                making.remove(kind)

            def structure(value: Any, target: Any) -> Any:
                if not isinstance(value, accepts):
                    raise TypeError(f"expected {words}, got {_shown(value)}")
                return inner(value, target)

            return structure

        made.register_structure_hook_factory(lambda kind: kind not in making and applies(kind), factory)

    guard(_is_sequence, (list, tuple), "a list")
    guard(_is_mapping, Mapping, "a mapping")
    guard(attrs.has, Mapping, "a mapping")
    return made


def explain(error: BaseException, cls: type | None) -> str:
    """What is wrong with one value, in words; several things with a NUL between them."""
    match error:
        case ForbiddenExtraKeysError():
            known = [a.name for a in attrs.fields(error.cl)] if attrs.has(error.cl) else []
            return "\0".join(
                f"unknown key {key!r}, {instead(key, known, 'known keys')}" for key in sorted(error.extra_fields)
            )
        case KeyError():
            return "required key is missing"
        case _:
            return str(error) or type(error).__name__


def instead(name: str, known: Sequence[str], otherwise: str) -> str:
    """What to say about a name that is not known: the nearest one, or all of them after the word ``otherwise``.

    >>> instead("htlm", ["html", "json"], "installed"), instead("x", [], "installed")
    ("did you mean 'html'?", 'installed: none')
    """
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"{otherwise}: {', '.join(known) or 'none'}"


def structure(raw: Mapping[str, Any], cls: type[T]) -> tuple[T | None, list[tuple[str, str]]]:
    """Make a ``cls`` of a mapping; returns it, or None and every problem as (key path, message)."""
    try:
        return converter().structure(raw, cls), []
    except BaseValidationError as error:
        found = []
        for line in transform_error(error, path="", format_exception=explain):
            message, _, path = line.rpartition(" @ ")
            found += [(path.lstrip("."), part) for part in (message or line).split("\0")]
        return None, found
