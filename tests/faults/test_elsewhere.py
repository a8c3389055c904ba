"""A copy of a run that used the controller itself as a node, cleaned up on another machine: files there are somebody else's."""

from __future__ import annotations

import os
import signal
import subprocess
import uuid
from pathlib import Path

import pytest

from tests.cli.calls import spawn, workspace
from tests.e2e.helpers import COMMAND, marked_processes

_ELSEWHERE = 'hostname elsewhere && exec "$0" "$@"'


@pytest.mark.skipif(os.geteuid() != 0, reason="another host name needs root")
def test_what_was_done_on_the_controller_is_cleaned_up_there_and_nowhere_else(tmp_path: Path) -> None:
    name, fifo = f"t{uuid.uuid4().hex[:12]}", tmp_path / "fifo"
    os.mkfifo(fifo)
    script = f"echo there >{fifo}\nsleep 600\n"
    files = {f"config/scenarios/{name}/{n}": t for n, t in (("test_config.json", "{}"), ("run_test.sh", script))}
    root = workspace(tmp_path, name, files=files)
    named_by_user = Path(f"/tmp/test_config_{name}.json")
    process = subprocess.Popen([str(COMMAND), "run", name], cwd=root, stderr=subprocess.DEVNULL)
    assert fifo.read_text() == "there\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    try:
        named_by_user.write_text("of somebody else, on another machine")
        done = subprocess.run(
            ["unshare", "-u", "sh", "-c", _ELSEWHERE, str(COMMAND), "cleanup"], cwd=root, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 1, done.stdout + done.stderr
        assert f"on local: is {os.uname().nodename}, and this is elsewhere: clean up there" in done.stdout, done.stdout
        assert named_by_user.read_text() == "of somebody else, on another machine"
        here = spawn("cleanup", cwd=root)
        assert here.code == 0, here.out + here.err
        assert not named_by_user.exists(), "here it is ours"
        [run] = [p for p in (root / "results").iterdir() if not p.name.startswith(".")]
        assert marked_processes(run) == []
    finally:
        named_by_user.unlink(missing_ok=True)


_READ_ONLY = 'mount --bind results results && mount -o remount,ro,bind results && exec "$0" "$@"'


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
@pytest.mark.parametrize("words", ["cleanup", "run --resume"])
def test_a_run_that_cannot_be_written_here_is_told_so(tmp_path: Path, words: str) -> None:
    root = workspace(tmp_path, "001_a", files={"config/scenarios/001_a/run_test.sh": "kill -9 $(cat pid)\nsleep 600\n"})
    started = 'echo $$ >config/scenarios/001_a/pid; exec "$0" "$@"'
    subprocess.run(["sh", "-c", started, str(COMMAND), "run", "--all"], cwd=root, capture_output=True, check=False)
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", _READ_ONLY, str(COMMAND), *words.split()], cwd=root, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert "cannot be written, and what is done after a run is written down there" in done.stderr
    assert "that is a bug" not in done.stderr
    assert done.returncode in (1, 2)
    assert spawn("cleanup", cwd=root).code == 0
