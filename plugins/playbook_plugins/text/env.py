"""``KEY=VALUE`` lines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from playbook_kernel.api import Problems


def read_env_file(path: Path, problems: Problems) -> dict[str, str]:
    """Read ``KEY=VALUE`` lines: ``#`` comments, ``export``, quotes around the value. Later lines win."""
    found: dict[str, str] = {}
    for number, name, value in env_lines(path, problems):
        if not name.replace("_", "a").isalnum() or name[:1].isdigit():
            problems.add(path, number, name, "is not a variable's name")
            continue
        found[name] = value
    return found


def env_lines(path: Path, problems: Problems) -> Iterator[tuple[int, str, str]]:
    """Every assignment of an env file as (line, name, value)."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        problems.add(path, 0, "", f"cannot be read: {getattr(error, 'strerror', None) or 'it is not UTF-8 text'}")
        return
    for number, row in enumerate(text.splitlines(), 1):
        line = row.strip().removeprefix("export ").lstrip()
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not equals:
            problems.add(path, number, "", "expected KEY=VALUE")
            continue
        yield number, name.strip(), _unquoted(value.strip())


def _unquoted(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
        return value[1:-1]
    return value.split(" #", 1)[0].rstrip()
