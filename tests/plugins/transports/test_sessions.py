"""All transports keep what a session promises."""

from __future__ import annotations

import os
import socketserver
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playbook_kernel.testing import FakeSession, sessions

from .helpers import connect, local
from .sshd import Sshd

Opened = sessions.Opened


@pytest.fixture(params=["local", *(pytest.param(p, marks=pytest.mark.ssh) for p in ("ssh", "ssh-no-kept-shell"))])
def opened(request: pytest.FixtureRequest) -> Opened:
    if request.param == "local":
        return local
    server: Sshd = request.getfixturevalue("server")
    return lambda: connect(server, kept_shell=request.param == "ssh")


@pytest.mark.parametrize("check", sessions.CHECKS, ids=lambda c: c.__name__.removeprefix("check_"))
def test_keeps(check: Callable[[Opened, Path], None], opened: Opened, tmp_path: Path) -> None:
    check(opened, tmp_path)


@pytest.mark.parametrize("check", sessions.PORTABLE, ids=lambda c: c.__name__.removeprefix("check_"))
def test_fake_keeps(check: Callable[[Opened, Path], None], tmp_path: Path) -> None:
    files: dict[str, bytes] = {}
    check(lambda: FakeSession(sessions.SAYS, files), tmp_path)


class _Echo(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        while data := self.request.recv(65536):
            self.request.sendall(data)


@pytest.fixture
def echo() -> Iterator[int]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Echo) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def test_dials(opened: Opened, echo: int) -> None:
    sessions.check_dial(opened, "127.0.0.1", echo)


def test_full_target_locally(tmp_path: Path) -> None:
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "none", tmp_path]).returncode:
        pytest.skip("a full disk needs the right to mount a small one")
    try:
        sessions.check_full_target(local, str(tmp_path))
    finally:
        subprocess.run(["umount", tmp_path], check=True)


@pytest.mark.ssh
def test_full_target_over_ssh(folder: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("a full disk needs the right to mount a small one")
    small = folder / "small"
    small.mkdir()
    with Sshd(folder, tmpfs=small) as server:
        sessions.check_full_target(lambda: connect(server), str(small))
