"""One value of a user's file set in place: every other byte of the file, comments too, stays as it is."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from pathlib import Path
from typing import Any

import tomli
import yaml
from playbook_kernel.api import ConfigError

from playbook_plugins.text import Key, dotted, hide, show

Scalar = bool | int | str


def set_value(path: Path, place: tuple[Key, ...], value: Scalar) -> None:
    """Set the value at a key path; a missing file or last key is made. The file is replaced in one step.

    Raises ConfigError if the file cannot be read or written, or if the change would touch anything else.
    """
    before, toml = _text(path), path.suffix == ".toml"
    after = (_in_toml if toml else _in_yaml)(before, place, _written(value))
    _keep(path, before, after, place, value)


def set_member(path: Path, place: tuple[str, str], member: str, *, present: bool) -> bool:
    """Add a text to the list at a key path, or take it out; what is missing on the way is made.

    Returns whether it had to be changed. Raises ConfigError as :func:`set_value` does.
    """
    before, toml = _text(path), path.suffix == ".toml"
    try:
        data: Any = (tomli.loads if toml else yaml.safe_load)(before) or {}
        held = list((data.get(place[0]) or {}).get(place[1]) or ())
    except (yaml.YAMLError, ValueError, AttributeError, TypeError) as error:
        raise ConfigError([f"{path}: cannot be read: {error}"]) from error
    if (member in held) == present:
        return False
    wanted = [member, *held] if present else [m for m in held if m != member]
    _keep(path, before, None if toml else _member_in_yaml(before, place, member, wanted), place, wanted)
    return True


def _text(path: Path) -> str:
    try:
        text = path.read_bytes().decode("utf-8") if path.exists() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: cannot be read: {getattr(error, 'strerror', None) or 'not UTF-8'}"]) from error
    return text if path.suffix == ".toml" else hide(text)  # a variable in braces is a word to YAML, as when it is read


def _keep(path: Path, before: str, after: str | None, place: tuple[Key, ...], value: object) -> None:
    if after is None or not _is_only_change(before, after, place, value, toml=path.suffix == ".toml"):
        raise ConfigError(
            [f"{path}: {dotted(place)} cannot be set from here"], hint=f"write {place[-1]}: {value} there"
        )
    _replace(path, show(after))


def _member_in_yaml(text: str, place: tuple[str, str], member: str, wanted: list[str]) -> str | None:
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    above = _child(node, place[0])
    held = _child(above, place[1])
    newline = "\r\n" if "\r\n" in text else "\n"
    if above is None:
        end = "" if not text or text.endswith("\n") else newline
        return f"{text}{end}{place[0]}:{newline}  {place[1]}: [{_written(member)}]{newline}"
    if isinstance(above, yaml.ScalarNode):
        at = text.index(":", _key(node, place[0]).end_mark.index) + 1
        return f"{text[:at]}{newline}  {place[1]}: [{_written(member)}]{text[at:]}"
    if not isinstance(held, yaml.SequenceNode) or held.flow_style:
        return _in_yaml(text, place, "[" + ", ".join(_written(m) for m in wanted) + "]")
    if len(wanted) > len(held.value):
        start = held.start_mark
        return f"{text[: start.index]}- {_written(member)}{newline}{' ' * start.column}{text[start.index :]}"
    [gone] = [n for n in held.value if n.value == member]
    line = text.rindex("\n", 0, gone.start_mark.index) + 1
    rest = text[line:].partition("\n")[2]
    if wanted:
        return text[:line] + rest
    at = text.index(":", _key(above, place[1]).end_mark.index) + 1
    return f"{text[:at]} []{text[at:line]}{rest}"


def _key(node: Any, key: str) -> Any:
    return next(k for k, _ in node.value if k.value == key)


def _written(value: Scalar) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else f'"{value}"'


def _in_yaml(text: str, place: tuple[Key, ...], value: str) -> str | None:
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    if node is None:
        end = "" if not text or text.endswith("\n") else "\n"
        return f"{text}{end}{place[0]}: {value}\n" if len(place) == 1 else None
    for key in place[:-1]:
        node = _child(node, key)
    if not isinstance(node, yaml.MappingNode):
        return None
    held = _child(node, place[-1])
    if held is not None:
        start, end_at = held.start_mark.index, held.end_mark.index
        return f"{text[:start]}{' ' if start == end_at else ''}{value}{text[end_at:]}"
    if not node.value:
        return None
    first = node.value[0][0].start_mark
    newline = "\r\n" if "\r\n" in text else "\n"
    gap = ", " if node.flow_style else newline + " " * first.column
    return f"{text[: first.index]}{place[-1]}: {value}{gap}{text[first.index :]}"


def _child(node: Any, key: Key) -> Any:
    if isinstance(node, yaml.MappingNode):
        return next((v for k, v in node.value if getattr(k, "value", None) == key), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
        return node.value[key]
    return None


def _in_toml(text: str, place: tuple[Key, ...], value: str) -> str | None:
    if len(place) != 1:
        return None
    head = re.search(r"^\s*\[", text, re.MULTILINE)
    top = text[: head.start()] if head else text
    line = re.compile(rf"^({re.escape(str(place[0]))}\s*=\s*)[^#\n\r]*?(\s*(?:#[^\n\r]*)?)$", re.MULTILINE)
    changed, count = line.subn(lambda m: f"{m[1]}{value}{m[2]}", top, count=1)
    return (changed if count else f"{place[0]} = {value}\n{top}") + text[len(top) :]


def _is_only_change(before: str, after: str, place: tuple[Key, ...], value: object, *, toml: bool) -> bool:
    try:
        load: Any = tomli.loads if toml else yaml.safe_load
        expected, found = _unshared(load(before) or {}), load(after)
        inner = expected
        for key in place[:-1]:
            if isinstance(inner, dict) and inner.get(key) is None:
                inner[key] = {}
            inner = inner[key]
        inner[place[-1]] = value
    except (yaml.YAMLError, ValueError, KeyError, IndexError, TypeError):
        return False
    return bool(expected == found)


def _unshared(value: Any) -> Any:
    """A copy in which what aliases share is there several times."""
    if isinstance(value, dict):
        return {k: _unshared(v) for k, v in value.items()}
    return [_unshared(v) for v in value] if isinstance(value, list) else value


def _replace(path: Path, text: str) -> None:
    target = path.resolve()
    try:
        mode = target.stat().st_mode & 0o777 if target.exists() else 0o644
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with open(descriptor, "w", encoding="utf-8", newline="") as file:  # noqa: PTH123 - it is a descriptor
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(name).chmod(mode)
            Path(name).replace(target)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(name).unlink()
            raise
    except OSError as error:
        raise ConfigError([f"{path}: cannot be written: {error.strerror}"]) from error
