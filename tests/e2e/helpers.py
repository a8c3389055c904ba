"""Running the product as its user does."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from playbook_kernel.engine.store import trial_id

ROOT = Path(__file__).resolve().parents[2]
COMMAND = Path(sys.executable).parent / "playbook-kernel"


def playbook(
    *argv: object, cwd: Path, env: dict[str, str] | None = None, timeout: float = 240
) -> subprocess.CompletedProcess[str]:
    """Run the console script; stdin is empty, as in the night."""
    return subprocess.run(
        [str(COMMAND), *map(str, argv)],
        cwd=cwd,
        env={**os.environ, "PLAYBOOK_NO_PLUGINS": "", **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def copy(name: str, into: Path) -> Path:
    """A folder of this repository, without what earlier runs wrote there."""
    return Path(shutil.copytree(ROOT / name, into, ignore=shutil.ignore_patterns("results", "__pycache__")))


def marked_processes(run: Path) -> list[str]:
    """Commands of processes on this machine that carry the mark of a trial of this run."""
    mark = f"PLAYBOOK_OWNER={trial_id(run, 'x', 1)[:11]}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (folder / "environ").read_bytes():
                found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found
