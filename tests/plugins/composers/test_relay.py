"""The stub for a local docker client: what it is told runs on the session, and what that says comes back."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from pathlib import Path

import pytest
from playbook_plugins.composers.relay import relayed

from tests.plugins.transports.helpers import local

DOCKER = """#!/bin/sh
for word in "$@"; do printf '[%s]' "$word"; done
printf 'trouble\\n' >&2
exit "${STATUS:-0}"
"""


@pytest.fixture(autouse=True)
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "docker").write_text(DOCKER)
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")


def threads() -> set[str]:
    return {t.name for t in threading.enumerate() if t.name.startswith("relay")}


def test_words_output_and_status_pass() -> None:
    words = ["compose", "", "two words", "$(id)", "ä\nb", "*"]
    with contextlib.closing(local()) as session, relayed(session) as call:
        done = subprocess.run([*call, *words], capture_output=True, check=False)
        again = subprocess.run([*call, "again"], capture_output=True, check=False)
    assert (done.returncode, done.stdout.decode(), done.stderr) == (0, "".join(f"[{w}]" for w in words), b"trouble\n")
    assert again.stdout == b"[again]"
    assert threads() == set()


def test_a_failure_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATUS", "17")
    with contextlib.closing(local()) as session, relayed(session) as call:
        assert subprocess.run([*call, "x"], capture_output=True, check=False).returncode == 17


def test_what_the_session_cannot_run_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with contextlib.closing(local()) as session:
        monkeypatch.setattr(type(session), "start", lambda *_, **__: (_ for _ in ()).throw(ValueError("no such node")))
        with relayed(session) as call:
            done = subprocess.run([*call, "x"], capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (125, b"no such node\n")


@pytest.mark.parametrize("moment", ["before", "during"])
def test_a_client_that_is_killed_leaves_nothing(moment: str, tmp_path: Path) -> None:
    with contextlib.closing(local()) as session, relayed(session) as call:
        if moment == "during":
            (tmp_path / "docker").write_text("#!/bin/sh\necho begun\nexec sleep 1\n")
            client = subprocess.Popen([*call, "x"], stdout=subprocess.PIPE, start_new_session=True)
            assert client.stdout is not None
            assert client.stdout.readline() == b"begun\n"
            os.killpg(client.pid, signal.SIGKILL)
            client.wait()
            client.stdout.close()
        folder = Path(call[-1])
    assert not folder.exists()
    assert moment == "during" or threads() == set()
