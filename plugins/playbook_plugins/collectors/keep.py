"""Bringing a file or a folder home without losing or overwriting anything."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from playbook_kernel.api import Artifact

_UNSAFE = re.compile(r"[^\w.,=+@ -]", re.ASCII)


def safe_name(name: str) -> str:
    """A file name that is safe everywhere; what was replaced makes no two names equal by accident.

    >>> safe_name("a/b"), safe_name(".."), safe_name("plain.log")
    ('a_b-c14cddc0', '_-a14a6a6d', 'plain.log')
    """
    clean = _UNSAFE.sub("_", name).strip(" .") or "_"
    clean = clean[:120]
    return clean if clean == name else f"{clean}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def free(path: Path) -> Path:
    """The path, or the first of ``name-2.ext``, ``name-3.ext`` ... that is not taken."""
    candidate, number = path, 1
    while candidate.exists() or candidate.is_symlink():
        number += 1
        candidate = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return candidate


def landing(origin: str, base: str) -> PurePosixPath:
    """Where a remote path lands below the artifacts folder: its place relative to ``base``, else its last part.

    >>> str(landing("/opt/work/results/run1", "/opt/work")), str(landing("/var/log/x.log", "/opt/work"))
    ('results/run1', 'x.log')
    """
    path, root = PurePosixPath(origin), PurePosixPath(base or "/nonexistent")
    parts = path.relative_to(root).parts if path.is_relative_to(root) else (path.name,)
    return PurePosixPath(*(safe_name(p) for p in parts)) if parts else PurePosixPath(safe_name(path.name or "root"))


def described(kind: str, file: Path, home: Path, *, node: str = "", origin: str = "", note: str = "") -> Artifact:
    """An artifact with its size and hash as they are on disk now. ``note`` given: it is marked as partial."""
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    size = file.stat().st_size
    return Artifact(kind, file.relative_to(home).as_posix(), node, origin, size, digest, bool(note), note)


def files_below(folder: Path) -> Iterator[Path]:
    """Every regular file, in a stable order; links are not followed."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield path
