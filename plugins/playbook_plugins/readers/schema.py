"""JSON Schemas (draft 2020-12) of files, made from the attrs classes that their mappings become.

A field whose annotation says less than is known (``Mapping[str, Any]``) names its type in its metadata:
``field(metadata={"schema": Mapping[str, NodeEntry]})``. Any scalar but a text may also be a text with ``${VARIABLE}``, and
any key that is not required may hold nothing, for so the files are read. A class with ``OPEN = True`` takes further keys.
"""

from __future__ import annotations

import collections.abc
import inspect
import re
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import attrs
from playbook_kernel.api import Secret

_SCALARS = {bool: "boolean", int: "integer", float: "number"}
_VARIABLE = r"\$\{"
Schema = dict[str, Any]


def schema_of(cls: type[Any], title: str) -> Schema:
    """The schema of a file whose top mapping becomes a ``cls``."""
    found: dict[str, Schema] = {}
    top = _mapping(cls, found)
    schema: Schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, **top}
    return {**schema, "$defs": dict(sorted(found.items()))} if found else schema


def _mapping(cls: type[Any], found: dict[str, Schema]) -> Schema:
    attrs.resolve_types(cls, include_extras=True)
    summary, keys = described(cls)
    properties, required = {}, []
    for item in attrs.fields(cls):
        if not item.init:
            continue
        must = item.default is attrs.NOTHING
        schema = _type(item.metadata.get("schema", item.type), found)
        if item.default is not attrs.NOTHING and isinstance(item.default, (str, int, float)) and item.default != "":
            schema["default"] = item.default
        name = item.name.rstrip("_")  # what Python keeps for itself
        words = {"description": keys[name]} if name in keys else {}
        properties[name] = {**(schema if must else _or_nothing(schema)), **words}
        if must:
            required.append(name)
    made: Schema = {
        "type": "object", "description": summary, "properties": properties,
        "additionalProperties": bool(getattr(cls, "OPEN", False)),
    }  # fmt: skip
    return {**made, "required": required} if required else made


def described(cls: type[Any]) -> tuple[str, dict[str, str]]:
    """Return what a docstring says of the mapping, and of each key for which it has an item (``* ``key``: meaning``)."""
    summary, *items = re.split(r"^\* ``(\w+)``: ", inspect.getdoc(cls) or "", flags=re.MULTILINE)
    words = [re.sub(r"\s+", " ", text).replace("``", "`").strip() for text in items[1::2]]
    return re.sub(r"\s+", " ", summary).replace("``", "`").strip(), dict(zip(items[::2], words, strict=True))


def _type(kind: Any, found: dict[str, Schema]) -> Schema:
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return {}
    if kind in _SCALARS:
        return {"type": [_SCALARS[kind], "string"], "pattern": _VARIABLE}
    if kind in (str, Secret, Path):
        return {"type": "string"}
    if origin is Literal:
        return {"anyOf": [{"enum": list(args)}, {"type": "string", "pattern": _VARIABLE}]}
    if origin in (typing.Union, types.UnionType):
        return _union([a for a in args if a is not type(None)], found)
    if origin in (list, tuple, collections.abc.Sequence):
        return {"type": "array", "items": _type(args[0], found)}
    if origin in (dict, Mapping, collections.abc.Mapping):
        return {"type": "object", "additionalProperties": _type(args[1], found)}
    if attrs.has(kind):
        if kind.__name__ not in found:
            found[kind.__name__] = {}  # a class that holds itself ends here
            found[kind.__name__] = _mapping(kind, found)
        return {"$ref": f"#/$defs/{kind.__name__}"}
    raise TypeError(f"no schema for {kind!r}")


def _union(kinds: list[Any], found: dict[str, Schema]) -> Schema:
    if len(kinds) == 1:
        return _type(kinds[0], found)
    if str in kinds:  # a text may be anything, so it needs no pattern
        kinds = [k for k in kinds if k is not str]
        plain = [_SCALARS[k] for k in kinds if k in _SCALARS]
        rest = [_type(k, found) for k in kinds if k not in _SCALARS]
        return {"anyOf": [{"type": [*plain, "string"]}, *rest]} if rest else {"type": [*plain, "string"]}
    return {"anyOf": [_type(k, found) for k in kinds]}


def _or_nothing(schema: Schema) -> Schema:
    if not schema:
        return schema
    if "anyOf" in schema:
        return {**schema, "anyOf": [*schema["anyOf"], {"type": "null"}]}
    if "$ref" in schema:
        return {"anyOf": [schema, {"type": "null"}]}
    kind = schema["type"]
    return {**schema, "type": [*(kind if isinstance(kind, list) else [kind]), "null"]}
