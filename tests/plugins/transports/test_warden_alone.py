"""The warden's script by itself, without a server: what it guards ends with the connection, whenever that breaks."""

from __future__ import annotations

import os
import subprocess

import pytest
from playbook_plugins.transports.ssh.warden import SCRIPT


@pytest.mark.parametrize("shell", ["sh", "bash"])
@pytest.mark.parametrize("moment", ["silent", "while it answers"])
def test_what_it_guards_ends_with_the_connection(shell: str, moment: str) -> None:
    guarded = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    warden = subprocess.Popen(
        [shell, "-c", SCRIPT, "playbook-guard"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        assert warden.stdin is not None
        assert warden.stdout is not None
        assert warden.stdout.readline().startswith(b"playbook-guard: ")
        warden.stdout.close()
        asks = b"" if moment == "silent" else b"a 0\n"
        warden.stdin.write(b"+ 1 %d 1000\n" % guarded.pid + asks)
        warden.stdin.close()
        warden.wait(60)
        guarded.wait(60)
    finally:
        for process in (guarded, warden):
            if process.poll() is None:
                os.killpg(process.pid, 9)
                process.wait()
