"""Untyped mappings in, attrs objects out; nothing is coerced, every problem is told with its key."""

from __future__ import annotations

import collections.abc
import difflib
import functools
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import attrs
from cattrs import BaseValidationError, Converter, ForbiddenExtraKeysError, transform_error

from playbook_kernel.redaction import Secret, redact, redacted

from .problems import Problems

T = TypeVar("T")
_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


def _shown(value: object) -> str:
    text = redact(repr(redacted(value)))
    return text if len(text) <= 60 else text[:57] + "..."


def _strict(expected: type[Any]) -> Callable[[Any, type], Any]:
    def structure(value: Any, _: type) -> Any:
        if type(value) is expected:
            return value
        if expected is float and type(value) is int:
            return float(value)
        raise TypeError(f"expected {_WORDS[expected]}, got {_shown(value)}")

    return structure


def _path(value: Any, _: type) -> Path:
    if isinstance(value, (str, Path)) and str(value):
        return Path(value).expanduser()
    raise TypeError(f"expected a path, got {_shown(value)}")


def _secret(value: Any, _: type) -> Secret:
    if isinstance(value, Secret):
        return value
    if isinstance(value, str):
        return Secret(value)
    raise TypeError("expected a text; quote it if it looks like a number")


def _plain(value: Any, _: type) -> Any:
    return value


def _is_sequence(kind: Any) -> bool:
    origin = typing.get_origin(kind) or kind
    return origin in (list, tuple, set, frozenset, collections.abc.Sequence)


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
        if _is_sequence(member) and isinstance(value, list):
            return converter().structure(value, member)
        if attrs.has(member) and isinstance(value, Mapping):
            return converter().structure(value, member)
    words = [_WORDS.get(m, "a mapping" if attrs.has(m) else "a list") for m in members if m is not type(None)]
    raise TypeError(f"expected {' or '.join(words)}, got {_shown(value)}")


def _is_literal(kind: Any) -> bool:
    return typing.get_origin(kind) is typing.Literal


def _literal(value: Any, kind: Any) -> Any:
    for member in typing.get_args(kind):
        if type(value) is type(member) and value == member:
            return value
    raise TypeError(f"expected {' or '.join(map(repr, typing.get_args(kind)))}, got {_shown(value)}")


def _is_mapping(kind: Any) -> bool:
    origin = typing.get_origin(kind) or kind
    return origin in (dict, collections.abc.Mapping)


@functools.cache
def converter() -> Converter:
    """The one converter: unknown keys are errors, ``"no"`` is not true, 3.9 is not 3, a text is not a list."""
    made = Converter(forbid_extra_keys=True)
    for primitive in _WORDS:
        made.register_structure_hook(primitive, _strict(primitive))
    made.register_structure_hook(Path, _path)
    made.register_structure_hook(Secret, _secret)
    made.register_structure_hook_func(lambda t: t is Any, _plain)
    made.register_structure_hook_func(_is_choice, _choice)
    made.register_structure_hook_func(_is_literal, _literal)

    making: list[Any] = []

    def guard(applies: Callable[[Any], bool], accepts: type[Any] | tuple[type[Any], ...], words: str) -> None:
        def factory(kind: Any) -> Callable[[Any, Any], Any]:
            making.append(kind)  # so that the hook inside of the guard is cattrs' own
            try:
                inner = made.get_structure_hook(kind, cache_result=False)
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


def _explain(error: BaseException, cls: type | None) -> str:
    match error:
        case ForbiddenExtraKeysError():
            known = [a.name for a in attrs.fields(error.cl)] if attrs.has(error.cl) else []
            return "\0".join(_unknown(key, known) for key in sorted(error.extra_fields))
        case KeyError():
            return "required key is missing"
        case _:
            return str(error) or type(error).__name__


def _unknown(key: str, known: list[str]) -> str:
    near = difflib.get_close_matches(key, known, n=1)
    tail = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known) or 'none'}"
    return f"unknown key {key!r}, {tail}"


def structure(raw: Mapping[str, Any], cls: type[T]) -> tuple[T | None, list[tuple[str, str]]]:
    """Make a ``cls`` of a mapping; returns it, or None and every problem as (key path, message)."""
    try:
        return converter().structure(raw, cls), []
    except BaseValidationError as error:
        found = []
        for line in transform_error(error, path="", format_exception=_explain):
            message, _, path = line.rpartition(" @ ")
            found += [(path.lstrip("."), part) for part in (message or line).split("\0")]
        return None, found


def structure_options(cls: type[T], raw: Mapping[str, Any], origin: str, problems: Problems) -> T | None:
    """Make a driver's options; problems are noted under ``origin`` (``file:line: key``), and then None is returned."""
    made, found = structure(raw, cls)
    for path, message in found:
        problems.add(origin, 0, path, message)
    return made
