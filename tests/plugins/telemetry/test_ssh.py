"""The sampling over a real SSH connection, and when that is lost."""

from __future__ import annotations

import itertools
import os
import signal
import tempfile
from pathlib import Path

import pytest
from playbook_kernel.api import Deployment, TrialContext
from playbook_plugins.telemetry.watch import Watch

from tests.plugins.telemetry.conftest import eventually
from tests.plugins.telemetry.test_watch import FAST, rows, seen
from tests.plugins.transports.helpers import connect
from tests.plugins.transports.sshd import Sshd, cannot


@pytest.mark.ssh
def test_a_lost_connection_is_a_gap(ctx: TrialContext):
    if why := cannot():
        pytest.skip(f"no sshd: {why}")
    with (
        tempfile.TemporaryDirectory(prefix="playbook-sshd-") as name,
        Sshd(Path(name)) as sshd,
        connect(sshd) as session,
    ):
        ctx.session = lambda node: session
        with Watch(ctx, Deployment(), FAST) as watch:
            assert watch._file is not None
            watch._file.reconfigure(line_buffering=True)
            eventually(lambda: seen(watch.path, "cpu", 3), "samples over SSH")
            before = len(rows(watch.path))
            for worker in sshd.workers():
                os.kill(worker, signal.SIGKILL)
            eventually(lambda: len(rows(watch.path)) > before + 8, "samples over a new connection")
        assert session.run(["echo", "still here"]).text == "still here\n"
    times = sorted(r["t"] for r in rows(watch.path))
    assert max(b - a for a, b in itertools.pairwise(times)) > 1.0
