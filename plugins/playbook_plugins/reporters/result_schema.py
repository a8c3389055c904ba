"""The JSON Schema of ``summary.json`` and ``campaign.json``, made from the classes that are written."""

from __future__ import annotations

import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from attrs import NOTHING, fields, has
from playbook_kernel.api import CampaignResult

Schema = dict[str, Any]

VERSION = 1
_PLAIN: Mapping[Any, Schema] = {
    str: {"type": "string"}, bool: {"type": "boolean"}, int: {"type": "integer"}, Path: {"type": "string"},
    float: {"anyOf": [{"type": "number"}, {"$ref": "#/$defs/NotANumber"}]}, type(None): {"type": "null"}, Any: {},
}  # fmt: skip
_NOT_A_NUMBER: Schema = {
    "description": "A value for which JSON has no word.", "type": "object", "required": ["$float"],
    "properties": {"$float": {"enum": ["nan", "inf", "-inf"]}},
}  # fmt: skip


def result_schema() -> Schema:
    """The schema of version 1. Keys that it does not name may be there: a newer version adds some, and takes none away."""
    found: dict[str, Schema] = {"NotANumber": _NOT_A_NUMBER}
    root = _object(CampaignResult, found)
    counts = {"type": "object", "additionalProperties": {"type": "integer"}}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Result of a campaign, version {VERSION}",
        **root,
        "properties": {**root["properties"], "counts": {"description": "Scenarios by verdict.", **counts}},
        "$defs": dict(sorted(found.items())),
    }


def _object(cls: type[Any], found: dict[str, Schema]) -> Schema:
    hints = get_type_hints(cls)
    said = (cls.__doc__ or "").split("\n\n")
    return {
        "description": " ".join(" ".join(said).split()).replace("``", "`"),
        "type": "object",
        "required": [f.name for f in fields(cls) if f.default is NOTHING],
        "properties": {f.name: _of(hints[f.name], found) for f in fields(cls)},
    }


def _of(kind: Any, found: dict[str, Schema]) -> Schema:
    if kind in _PLAIN:
        return _PLAIN[kind]
    if isinstance(kind, type) and has(kind):
        if kind.__name__ not in found:
            found[kind.__name__] = {}  # a class may hold itself
            found[kind.__name__] = _object(kind, found)
        return {"$ref": f"#/$defs/{kind.__name__}"}
    origin, args = get_origin(kind), get_args(kind)
    if origin is Literal:
        return {"enum": list(args)}
    if origin in (Union, types.UnionType):
        return {"anyOf": [_of(a, found) for a in args]}
    if origin is tuple:
        return {"type": "array", "items": _of(args[0], found)}
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": _of(args[1], found)}
    raise TypeError(f"{kind} has no schema")


if __name__ == "__main__":
    import json
    import sys

    json.dump(result_schema(), sys.stdout, indent=1, ensure_ascii=False)
    sys.stdout.write("\n")
