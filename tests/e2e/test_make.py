"""``make demo`` in another place than this one, twice; what it needs is installed already."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .helpers import ROOT, copy, marked_processes

VENV = Path(sys.executable).parent.parent


@pytest.mark.skipif(not (VENV / ".stamp").exists(), reason="not in an environment that the Makefile made")
def test_make_demo_twice(tmp_path: Path) -> None:
    clone = tmp_path / "a clone"
    for name in ("config", "scenarios", "contrib/playbook-sim-engine"):
        copy(name, clone / name)
    for name in ("Makefile", "pyproject.toml"):
        (clone / name).write_bytes((ROOT / name).read_bytes())
        os.utime(clone / name, (0, 0))  # older than the stamp: there is nothing to install
    os.utime(clone / "contrib/playbook-sim-engine/pyproject.toml", (0, 0))
    reports = set()
    for _ in range(2):
        done = subprocess.run(
            ["make", "--no-print-directory", "demo", f"VENV={VENV}"],
            cwd=clone, capture_output=True, text=True, timeout=200, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        report = clone / done.stdout.splitlines()[-1]
        assert report.is_file()
        reports.add(report)
        assert marked_processes(report.parent) == []
    assert len(reports) == 2
