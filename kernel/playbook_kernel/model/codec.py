"""Objects to JSON-able values and back: for the pipe between processes, the journal and the result files.

====================  =======================================================================
object                JSON
====================  =======================================================================
attrs class           object of its fields; an :class:`Event` has ``"event": "<class name>"`` too
tuple, list, set      array
Path, date            string
Secret                ``"***"``; with ``reveal=True``, for the pipe to our own child only, ``{"$secret": "text"}``
NaN, infinities       ``{"$float": "nan"}``, for JSON has no words for them
====================  =======================================================================

Decoding follows the annotations of the class, coerces nothing but int to float, and ignores keys that it does not know,
so that a run of a newer version can be read.
"""

from __future__ import annotations

import datetime as dt
import functools
import math
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any, TypeVar

import attrs
from cattrs import Converter, transform_error

from playbook_kernel.redaction import MASK, Secret
from playbook_kernel.structuring import converter, explain, strict

from .events import EVENTS, Event
from .results import Fact

T = TypeVar("T")


def encode(obj: object, *, reveal: bool = False) -> Any:
    """Turn any value of the model into what ``json.dumps(..., allow_nan=False)`` takes.

    Raises TypeError for anything else.
    """
    if obj is None or isinstance(obj, (str, bool, int)):
        return obj
    if isinstance(obj, float):
        return obj if math.isfinite(obj) else {"$float": repr(obj)}
    if isinstance(obj, Mapping):
        return {str(k): encode(v, reveal=reveal) for k, v in obj.items()}
    if isinstance(obj, (tuple, list, set, frozenset)):
        return [encode(v, reveal=reveal) for v in obj]
    if isinstance(obj, Secret):
        return {"$secret": obj.reveal()} if reveal else MASK
    if isinstance(obj, PurePath):
        return str(obj)
    if isinstance(obj, (dt.date, dt.time)):
        return obj.isoformat()
    kind: Any = type(obj)
    if attrs.has(kind):
        data = {name: encode(getattr(obj, name), reveal=reveal) for name in _names(kind)}
        return {"event": kind.__name__, **data} if isinstance(obj, Event) else data
    raise TypeError(f"{type(obj).__qualname__} cannot be written as JSON: {obj!r}")


def decode(data: Any, cls: type[T]) -> T:
    """Make a ``cls`` out of JSON values. Raises ValueError that says where it does not fit."""
    try:
        return _reader().structure(data, cls)
    except Exception as error:
        lines = (line.rpartition(" @ ") for line in transform_error(error, path=cls.__name__, format_exception=explain))
        raise ValueError("; ".join(f"{path}: {message}" for message, _, path in lines)) from error


@functools.cache
def _names(cls: type[Any]) -> tuple[str, ...]:
    return tuple(a.name for a in attrs.fields(cls))


@functools.cache
def _reader() -> Converter:
    made = converter(unknown=True)
    made.register_structure_hook(float, lambda data, kind: strict(float)(_any(data), kind))
    made.register_structure_hook(Path, _path)
    made.register_structure_hook(Secret, _secret)
    made.register_structure_hook_func(lambda kind: kind is Any or kind == Fact, lambda data, _: _any(data))
    made.register_structure_hook_func(lambda kind: kind is Event, lambda data, _: made.structure(data, _event(data)))
    return made


def _any(data: Any) -> Any:
    match data:
        case {"$secret": str(text)}:
            return Secret(text)
        case {"$float": str(text)}:
            return float(text)
        case dict():
            return {k: _any(v) for k, v in data.items()}
        case list():
            return [_any(v) for v in data]
    return data


def _secret(data: Any, _: type) -> Secret:
    value = _any(data)
    if not isinstance(value, Secret):
        raise TypeError(f"expected a secret, got {type(data).__name__}")
    return value


def _path(data: Any, _: type) -> Path:
    if not isinstance(data, str):
        raise TypeError(f"expected a path, got {type(data).__name__}")
    return Path(data)


def _event(data: Any) -> type[Event]:
    cls = EVENTS.get(data.get("event", "")) if isinstance(data, dict) else None
    if cls is None:
        raise ValueError(f"not an event: {str(data)[:80]}")
    return cls
