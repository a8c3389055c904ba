"""Paths as users write them."""

from __future__ import annotations

import os
from pathlib import Path


def at_home(path: str | Path) -> Path:
    """A path whose ``~`` or ``~NAME`` is a home; it stays as it is where nobody of that name has one."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 - pathlib raises
