"""What ``extends`` and ``include`` make of services: united with a base, and with paths told from another folder."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

_JOINED = ("ports", "expose", "volumes", "env_file", "tmpfs", "dns", "devices", "configs", "secrets", "cap_add")


def merged(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """A service over its base: maps are united, some lists are joined, the rest is replaced."""
    found = {**base, **own}
    for key in set(base) & set(own):
        one, other = base[key], own[key]
        if key in ("environment", "labels"):
            found[key] = {**_mapping(one), **_mapping(other)}
        elif isinstance(one, Mapping) and isinstance(other, Mapping):
            found[key] = {**one, **other}
        elif key in _JOINED:
            found[key] = [*_items(one), *_items(other)]
    return found


def _mapping(value: Any) -> dict[str, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    pairs = (str(item).partition("=") for item in _items(value))
    return {name: text if equals else None for name, equals, text in pairs}


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def moved(raw: Mapping[str, Any], folder: PurePosixPath) -> dict[str, Any]:
    """A service with its relative paths told from the folder above ``folder``."""
    found = dict(raw)
    if "env_file" in raw:
        found["env_file"] = [
            {**i, "path": below(folder, str(i.get("path")))} if isinstance(i, Mapping) else below(folder, str(i))
            for i in _items(raw["env_file"])
        ]
    if isinstance(raw.get("volumes"), list):
        found["volumes"] = [_moved_volume(v, folder) for v in raw["volumes"]]
    return found


def _moved_volume(volume: Any, folder: PurePosixPath) -> Any:
    if isinstance(volume, Mapping):
        source = str(volume.get("source") or "")
        return {**volume, "source": below(folder, source)} if source.startswith(".") else volume
    source, colon, rest = str(volume).partition(":")
    return f"{below(folder, source)}{colon}{rest}" if colon and source.startswith(".") else volume


def below(folder: PurePosixPath, name: str) -> str:
    """A path of ``folder`` as its parent sees it; it begins with a dot, as paths in compose files do."""
    if PurePosixPath(name).is_absolute() or name.startswith("~"):
        return name
    return f"./{posixpath.normpath(folder / name)}"
