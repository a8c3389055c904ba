"""Looking at paths that users wrote: one that the system cannot even look up (too long, too many links) is not there."""

from __future__ import annotations

import os
import posixpath
from pathlib import Path


def leads_out(path: str) -> bool:
    """Whether a path leads out of the folder that it begins in, as it is written. An absolute one begins nowhere.

    >>> [leads_out(p) for p in ("results", "a/../b", "..", "a/../../b", "/tmp/../x")]
    [False, False, True, True, False]
    """
    return posixpath.normpath(path).partition("/")[0] == ".."


def is_file(path: Path) -> bool:
    """Whether there is a file of that name."""
    return os.path.isfile(path)  # noqa: PTH113 - pathlib raises for names that are too long


def is_dir(path: Path) -> bool:
    """Whether there is a folder of that name."""
    return os.path.isdir(path)  # noqa: PTH112


def is_there(path: Path) -> bool:
    """Whether there is anything of that name."""
    return os.path.exists(path)  # noqa: PTH110
