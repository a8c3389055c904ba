"""Older names of files that are kept under another one."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def link(name: Path, target: Path) -> None:
    """Make ``name`` a relative link to the file ``target``, if that exists; to itself, if that is a link too.

    A file that has the name already stays. A file system without links goes without them.
    """
    if not target.is_file() or (name.exists() and not name.is_symlink()):
        return
    name.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(OSError, NotImplementedError):
        name.unlink(missing_ok=True)
        name.symlink_to(os.path.relpath(target.resolve(), name.parent.resolve()))
