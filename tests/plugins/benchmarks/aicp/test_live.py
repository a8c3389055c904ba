"""What is shown while a load runs: a picture on a terminal, lines elsewhere, and nothing if so asked."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
import threading

from playbook_plugins.benchmarks.aicp.live import Live
from playbook_plugins.benchmarks.aicp.point import Status

from .servers import mock_server

WORDS = ["--model", "m", "--dataset-name", "random", "--dynamic-input-len", "1", "--dynamic-output-len", "4",
         "--num-prompts", "60", "--max-concurrency", "4", "--calibrate", "0"]  # fmt: skip


def on_a_terminal(port, folder, *more):
    """What a terminal of 120 columns gets of a load, and its standard output."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "playbook_plugins.benchmarks.aicp.cli", "--base-url", f"http://127.0.0.1:{port}"]
    environment = {**os.environ, "COLUMNS": "120", "TERM": "xterm"}
    environment.pop("CI", None)
    shown = []

    def read():
        try:
            while data := os.read(ours, 65536):
                shown.append(data)
        except OSError:
            return

    reader = threading.Thread(target=read)
    reader.start()
    words = [*command, *WORDS, "--result-dir", str(folder), *more]
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=theirs, env=environment, text=True, check=True)
    os.close(theirs)
    reader.join()
    os.close(ours)
    return b"".join(shown).decode(), done.stdout


def test_a_terminal_sees_rate_flight_ttft_and_what_is_left(tmp_path):
    with mock_server(ttft_ms=60, itl_ms=5) as server:
        shown, out = on_a_terminal(server.port, tmp_path)
        quiet, _ = on_a_terminal(server.port, tmp_path, "--disable-pbar")
    for wanted in (r"\d+/60 done", "━", r"4 in flight", r"\d+\.\d req/s", r"TTFT p50 \d+\.\d p99 \d+\.\d ms", "s left"):
        assert re.search(wanted, shown), wanted
    assert shown.endswith("\x1b[?25h") or shown.rstrip().endswith(("\x1b[2K", "\x1b[?25h"))  # gone at the end
    assert "Successful requests:" in out
    assert "in flight" not in quiet


def test_without_a_terminal_there_are_lines_now_and_then(monkeypatch):
    at = [100.0]
    monkeypatch.setattr("playbook_plugins.benchmarks.aicp.live.time.monotonic", lambda: at[0])
    out = io.StringIO()
    live = Live(out)
    for second in range(25):
        at[0] = 100.0 + second
        live.of("fast")(Status(total=50, done=second, failed=1, seconds=second, in_flight=3, ttft=[2_000_000]))
    live.close()
    assert out.getvalue().splitlines() == [
        "fast: 10/50 done, 1 failed, 3 in flight, 1.0 req/s, TTFT p50 2.0 p99 2.0 ms, 40 s left",
        "fast: 20/50 done, 1 failed, 3 in flight, 1.0 req/s, TTFT p50 2.0 p99 2.0 ms, 30 s left",
    ]


def test_rich_is_imported_for_a_terminal_only():
    code = "import sys, playbook_plugins.benchmarks.aicp.live; print('rich' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout == "False\n"
