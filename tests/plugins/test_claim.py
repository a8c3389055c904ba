"""The process that holds a node's lock, by itself: it ends in many ways, and leaves its file in none."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from playbook_plugins.isolation.claim import _HOLD


@pytest.mark.parametrize("shell", ["sh", "bash"])
@pytest.mark.parametrize("moment", ["silent", "while it answers"])
def test_a_holder_whose_campaign_is_killed_removes_its_file(tmp_path: Path, shell: str, moment: str) -> None:
    process = subprocess.Popen(
        [shell, "-c", _HOLD, "playbook-claim", "somebody", "60", ""],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True,
        env={**os.environ, "PLAYBOOK_LOCK_DIR": str(tmp_path)},
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline().startswith(b"claimed")
    assert [p.name for p in tmp_path.iterdir()] == ["playbook-claim.lock"]
    process.stdout.close()  # nobody reads any more, as sshd does when the connection is gone
    if moment != "silent":
        process.stdin.write(b"here\n")
        process.stdin.flush()
    process.stdin.close()
    process.wait(60)
    assert [*tmp_path.iterdir()] == []
