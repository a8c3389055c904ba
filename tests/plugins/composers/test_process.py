"""Services as plain processes: what their shell programs do."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

from playbook_plugins.composers import process


def test_started_again_it_is_not_seen_by_its_old_number(tmp_path: Path) -> None:
    """Its old number may be dead, or somebody else's, and the new one is written a moment later."""
    (tmp_path / "a.pid").write_text("999999999\n")
    (tmp_path / "a.exit").write_text("137\n")
    start = ["sh", "-c", process._START, "-", str(tmp_path / "a"), "sleep", "60"]
    pid = int(subprocess.run(start, capture_output=True, check=True, timeout=60).stdout)
    assert pid != 999999999
    try:
        told = subprocess.run(["sh", "-c", process._STATES, "-", str(tmp_path)], capture_output=True, check=True)
        assert told.stdout.decode() == f"a\t{pid}\talive\n"
    finally:
        os.killpg(pid, signal.SIGKILL)
