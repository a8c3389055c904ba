"""Bringing a file or a folder home without losing or overwriting anything."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from playbook_kernel.api import Artifact, redact

_UNSAFE = re.compile(r"[^\w.,=+@ -]")
_ENDING = re.compile(r"(?<=.)(?:\.[A-Za-z]\w{0,5})?\.\w{1,12}$")
"""What tells the type of a file: ``.json``, and ``.tar.gz`` too."""
_LONGEST = 120
"""Bytes of a name."""


def safe_name(name: str) -> str:
    """A file name that is safe everywhere; what was replaced makes no two names equal by accident.

    >>> safe_name("a/b"), safe_name(".."), safe_name("结果.log"), safe_name("a:b.json")
    ('a_b-c14cddc0', '_-5ec1f7e7', '结果.log', 'a_b-bd75638c.json')
    """
    clean = _UNSAFE.sub("_", name).strip(" .") or "_"
    if clean == name and len(name.encode()) <= _LONGEST:
        return name
    ending = found.group() if (found := _ENDING.search(clean)) else ""
    stem = clean.removesuffix(ending).encode()[: _LONGEST - len(ending.encode())].decode(errors="ignore")
    return f"{stem}-{hashlib.sha256(name.encode()).hexdigest()[:8]}{ending}"


def clean(path: Path) -> None:
    """Take known secrets out of a file that services wrote; it is left alone if there are none."""
    text = path.read_bytes().decode("utf-8", "surrogateescape")
    if (without := redact(text)) != text:
        path.write_bytes(without.encode("utf-8", "surrogateescape"))


def free(path: Path) -> Path:
    """The path, or the first of ``name-2.ext``, ``name-3.ext`` ... that is not taken."""
    candidate, number = path, 1
    while candidate.exists() or candidate.is_symlink():
        number += 1
        candidate = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return candidate


def landing(origin: str, base: str) -> PurePosixPath:
    """Where a remote path lands below the artifacts folder: its place relative to ``base``, else its last part.

    >>> str(landing("/opt/bench/results/run1", "/opt/bench")), str(landing("/var/log/x.log", "/opt/bench"))
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
