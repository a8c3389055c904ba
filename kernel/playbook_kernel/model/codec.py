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
import types
from collections.abc import Callable, Mapping
from pathlib import Path, PurePath
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import attrs

from playbook_kernel.redaction import MASK, Secret

from .events import EVENTS, Event

T = TypeVar("T")
_Decoder = Callable[[Any, str], Any]


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
    kind: Any = cls
    return cast(T, _decoder(kind)(data, cls.__name__))


@functools.cache
def _names(cls: type[Any]) -> tuple[str, ...]:
    return tuple(a.name for a in attrs.fields(cls))


def _any(data: Any, where: str) -> Any:
    if isinstance(data, dict):
        match data:
            case {"$secret": str(text)}:
                return Secret(text)
            case {"$float": str(text)}:
                return float(text)
        return {k: _any(v, where) for k, v in data.items()}
    return [_any(v, where) for v in data] if isinstance(data, list) else data


def _exactly(cls: type[Any]) -> _Decoder:
    def check(data: Any, where: str) -> Any:
        if type(data) is not cls:
            raise ValueError(f"{where}: expected {cls.__name__}, got {type(data).__name__}")
        return data

    return check


def _float(data: Any, where: str) -> float:
    value = _any(data, where)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{where}: expected a number, got {type(data).__name__}")
    return float(value)


def _event(data: Any, where: str) -> Any:
    cls: Any = EVENTS.get(data.get("event", "")) if isinstance(data, dict) else None
    if cls is None:
        raise ValueError(f"{where}: not an event: {str(data)[:80]}")
    return _decoder(cls)(data, cls.__name__)


@functools.cache
def _decoder(kind: Any) -> _Decoder:
    if kind is Event:
        return _event
    if isinstance(kind, type) and attrs.has(kind):
        return _object(kind)
    if kind is float:
        return _float
    if kind in (str, int, bool, type(None)):
        return _exactly(kind)
    if kind is Path:
        return lambda data, where: Path(_exactly(str)(data, where))
    origin, args = get_origin(kind), get_args(kind)
    if origin is Literal:
        return functools.partial(_literal, args)
    if origin is tuple:
        return functools.partial(_tuple, _decoder(args[0]))
    if origin in (Union, types.UnionType) and len(args) == 2 and type(None) in args:
        inner = _decoder(next(a for a in args if a is not type(None)))
        return lambda data, where: None if data is None else inner(data, where)
    if isinstance(origin, type) and issubclass(origin, Mapping) and args[1] is not Any:
        return functools.partial(_mapping, _decoder(args[1]))
    return _any


def _literal(allowed: tuple[Any, ...], data: Any, where: str) -> Any:
    if data not in allowed:
        raise ValueError(f"{where}: {data!r} is none of {', '.join(map(str, allowed))}")
    return data


def _tuple(item: _Decoder, data: Any, where: str) -> tuple[Any, ...]:
    return tuple(item(v, f"{where}[{n}]") for n, v in enumerate(_exactly(list)(data, where)))


def _mapping(item: _Decoder, data: Any, where: str) -> dict[str, Any]:
    return {k: item(v, f"{where}.{k}") for k, v in _exactly(dict)(data, where).items()}


def _object(cls: type[Any]) -> _Decoder:
    hints = get_type_hints(cls)
    decoders = {a.name: _decoder(hints[a.name]) for a in attrs.fields(cls)}
    required = [a.name for a in attrs.fields(cls) if a.default is attrs.NOTHING]

    def build(data: Any, where: str) -> Any:
        _exactly(dict)(data, where)
        if missing := [name for name in required if name not in data]:
            raise ValueError(f"{where}: {', '.join(missing)} missing")
        return cls(**{k: decoders[k](v, f"{where}.{k}") for k, v in data.items() if k in decoders})

    return build
