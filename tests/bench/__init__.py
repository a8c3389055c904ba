"""Benchmarks of this project; each module's docstring says how it is called."""

from __future__ import annotations

import os
from pathlib import Path


def as_installed(folder: Path) -> dict[str, str]:
    """The environment of a command that was installed and called before: the bytecode of its modules is kept, in ``folder``.

    Where PYTHONDONTWRITEBYTECODE is set, or a checkout is new, each call would compile every module, and that would be measured.
    """
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPYCACHEPREFIX": str(folder / "bytecode")}
