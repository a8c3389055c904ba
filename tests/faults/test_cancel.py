"""The controller's own troubles: its terminal is closed, its disk is full. What there is is kept, and nothing is left."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.calls import workspace
from tests.e2e.helpers import COMMAND, marked_processes


def run_of(root: Path) -> Path:
    [run] = [p for p in (root / "results").iterdir() if not p.name.startswith(".")]
    return run


def result(run: Path) -> Any:
    return json.loads((run / "campaign.json").read_text())


_IN_A_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.mark.parametrize("term", ["xterm", "dumb"])
def test_a_closed_terminal_ends_a_campaign_in_good_order(tmp_path: Path, term: str) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    slow = f"echo METRIC:throughput=1\necho there >{fifo}\nsleep 600\n"
    root = workspace(tmp_path, "001_good", "002_slow", files={"config/scenarios/002_slow/run_test.sh": slow})
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", _IN_A_TERMINAL, str(COMMAND), "run", "--all"], cwd=root, stdin=theirs, stdout=theirs,
        stderr=theirs, start_new_session=True, env={**os.environ, "TERM": term},
    )  # fmt: skip
    os.close(theirs)
    assert fifo.read_text() == "there\n"
    os.close(ours)  # the window is gone: a hang-up, and nobody to talk to
    assert process.wait(60) == 129
    run = run_of(root)
    assert [s["status"] for s in result(run)["scenarios"]] == ["completed", "cancelled"]
    assert result(run)["scenarios"][1]["trials"][0]["clean"]
    assert "001_good" in (run / "report.md").read_text()
    assert marked_processes(run) == []


_ON_A_SMALL_DISK = """
mount -t tmpfs -o size=2m small results || exit 99
"$0" run --all; code=$?
cp -a results kept
exit $code
"""
FILLS = """i=0
while [ $i -lt 40000 ]; do echo "line $i of what nobody reads, and that is long enough to fill any disk"; i=$((i+1)); done
echo METRIC:throughput=1
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_keeps_what_was_measured_and_leaves_room_for_the_end(tmp_path: Path) -> None:
    files = {"config/scenarios/002_fills/run_test.sh": FILLS}
    root = workspace(tmp_path, "001_good", "002_fills", "003_after", files=files)
    (root / "results").mkdir()
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", _ON_A_SMALL_DISK, str(COMMAND)], cwd=root, capture_output=True, check=False,
        encoding="utf-8", stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    (root / "results").rmdir()
    (root / "kept").rename(root / "results")
    run = run_of(root)
    good, fills, _ = result(run)["scenarios"]
    assert (good["status"], fills["status"]) == ("completed", "failed")
    assert "No space left on device" in fills["reason"]
    assert fills["trials"][0]["clean"]
    assert (
        json.loads((run / "001_good/trial.json").read_text())["measurement"]["metrics"]["throughput"]["value"] == 12.5
    )
    assert (
        json.loads((run / "002_fills/trial.json").read_text())["phases"][3]["hint"]
        == "the disk of this machine is full"
    )
    for report in ("summary.json", "report.md"):
        assert "001_good" in (run / report).read_text(), report
    assert list(run.glob(".reserve*")) == []
    assert "Logging error" not in done.stderr
    assert marked_processes(run) == []
