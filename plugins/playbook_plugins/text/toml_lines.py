"""Where each key of a TOML document stands. Only for documents that the parser has accepted."""

from __future__ import annotations

import re

_KEY = re.compile(r"""\s*(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|([A-Za-z0-9_-]+))\s*(\.?)""")
_SKIP = re.compile(  # whole strings and comments, so that what is inside them counts for nothing
    r'"""(?:[^\\]|\\.)*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'|#[^\n]*', re.DOTALL
)

Path = tuple[str | int, ...]


def key_lines(text: str) -> dict[Path, int]:
    """Map each key's path to its line; keys of inline tables are left to their parents."""
    lines: dict[Path, int] = {}
    arrays: dict[Path, int] = {}
    table: Path = ()
    pos, line = 0, 1
    while pos < len(text):
        end = _statement_end(text, pos)
        statement = text[pos:end]
        body = statement.lstrip()
        if body.startswith("[["):
            path = _resolve(_keys(body[2:]), arrays)
            arrays[path] = arrays.get(path, -1) + 1
            table = (*path, arrays[path])
            lines[table] = line
        elif body.startswith("["):
            table = _resolve(_keys(body[1:]), arrays)
            lines[table] = line
        elif body and not body.startswith("#"):
            path = table
            for key in _keys(body):
                path = (*path, key)
                lines.setdefault(path, line)
        line += statement.count("\n") + 1
        pos = end + 1
    return lines


def _statement_end(text: str, pos: int) -> int:
    """The next newline that is in no string and no bracket."""
    depth = 0
    while pos < len(text):
        if m := _SKIP.match(text, pos):
            pos = m.end()
            continue
        char = text[pos]
        if char == "\n" and not depth:
            return pos
        depth += (char in "[{") - (char in "]}")
        pos += 1
    return pos


def _keys(text: str) -> list[str]:
    keys, pos = [], 0
    while m := _KEY.match(text, pos):
        keys.append(next(g for g in m.groups()[:3] if g is not None))
        if not m[4]:
            break
        pos = m.end()
    return keys


def _resolve(keys: list[str], arrays: dict[Path, int]) -> Path:
    path: Path = ()
    for n, key in enumerate(keys, 1):
        path = (*path, key)
        if path in arrays and n < len(keys):
            path = (*path, arrays[path])
    return path
