"""Files of a run as answers: none from outside of its folder, and none that could act as a page of this site."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from attrs import frozen

TEXT = "text/plain; charset=utf-8"
_TYPES = {
    ".html": "text/html; charset=utf-8", ".json": "application/json", ".png": "image/png", ".xml": TEXT, ".csv": TEXT,
    **dict.fromkeys((".md", ".txt", ".log", ".jsonl", ".yaml", ".yml", ".prom", ".env", ".sh", ".conf", ".out", ".err"), TEXT),
}  # fmt: skip
_BARE = ("SHA256SUMS",)
ASLEEP = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
"""The policy of whatever a run brought home: it is shown, and can do nothing."""
_HASH = r"'sha256-[A-Za-z0-9+/=]{44}'"
_OWN = re.compile(
    rb'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="(default-src &#39;none&#39;; [^"]{0,300})">'
)
_OWN_POLICY = re.compile(
    rf"default-src 'none'; style-src {_HASH}; script-src {_HASH}; base-uri 'none'; form-action 'none'"
)


@frozen
class Found:
    """An open file. ``download``: the browser shall keep it, not show it."""

    file: IO[bytes]
    size: int
    type: str
    policy: str
    download: bool


def resolve(run: Path, parts: Sequence[str]) -> Path | None:
    """The file or folder of a run with that address; None for what is outside of it, hidden, or not there."""
    if any(p in ("", ".", "..") or p.startswith(".") or "/" in p or "\\" in p or "\0" in p for p in parts):
        return None
    try:
        path = run.joinpath(*parts).resolve(strict=True)
    except (OSError, RuntimeError):
        return None
    return path if path.is_relative_to(run.resolve()) and path.name != "lock" else None


def open_file(path: Path) -> Found | None:
    """Open what :func:`resolve` found, if it is a regular file still."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    about = os.fstat(descriptor)
    if not stat.S_ISREG(about.st_mode):
        os.close(descriptor)
        return None
    file = os.fdopen(descriptor, "rb")
    kind = _TYPES.get(path.suffix.lower(), TEXT if path.name in _BARE else "")
    return Found(file, about.st_size, kind or "application/octet-stream", _policy(file, path), not kind)


def _policy(file: IO[bytes], path: Path) -> str:
    """A report keeps its own policy, which allows its own script by hash; it runs in a box, with no right to this site."""
    if path.suffix != ".html":
        return ASLEEP
    found = _OWN.search(file.read(1024))
    file.seek(0)
    own = found[1].decode("latin-1").replace("&#39;", "'") if found else ""
    return f"sandbox allow-scripts allow-downloads; {own}" if _OWN_POLICY.fullmatch(own) else ASLEEP
