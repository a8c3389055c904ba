"""JSON with comments, as templates of test_config have it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

# A string is passed over whole, so that what looks like a comment inside of it stays.
_TOKEN = re.compile(r'"(?:\\.|[^"\\])*"|//[^\n]*|/\*.*?\*/|,(?=\s*(?:(?://[^\n]*|/\*.*?\*/)\s*)*[}\]])', re.DOTALL)


def loads(text: str) -> Any:
    """Parse JSON that may have // and /* */ comments and trailing commas; lines stay where they were.

    >>> loads('{"a": "http://x", // why' + chr(10) + '"b": 1,}')
    {'a': 'http://x', 'b': 1}
    """

    def blank(match: re.Match[str]) -> str:
        found = match[0]
        return found if found[0] == '"' else re.sub(r"[^\n]", " ", found)

    return json.loads(_TOKEN.sub(blank, text))


def line_of(path: Path, key: str) -> int:
    """The line in which a file first says a key, with ``-`` or ``_`` in it; 0 if it does not."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return 0
    name = re.escape(key).replace(r"\-", "[-_]").replace("_", "[-_]")
    found = re.search(rf"^[^/#\n]*?(['\"]?)(?<![\w-]){name}\1\s*:", text, re.MULTILINE)
    return text[: found.end()].count("\n") + 1 if found else 0


def load_config(path: Path) -> dict[str, Any]:
    """The object in a file. Raises ValueError with file and line, or OSError."""
    if path.suffix in (".yaml", ".yml"):
        import yaml

        try:
            found = yaml.safe_load(path.read_text(encoding="utf-8"))
        except yaml.YAMLError as error:
            raise ValueError(f"{path}: {error}") from None
    else:
        try:
            found = loads(path.read_text(encoding="utf-8-sig"))
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}:{error.lineno}: {error.msg}") from None
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}: not UTF-8: {error.reason}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path}: expected an object")
    return found
