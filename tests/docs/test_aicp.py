"""The commands of docs/aicp.md, on smaller loads."""

from __future__ import annotations

import contextlib
import re
import shlex
import socket
import subprocess
import sys
import time
from pathlib import Path

from .blocks import ROOT, blocks
from .test_docs import run

SMALLER = {
    "1,8,64": "1,2",
    "--num-prompts 500": "--num-prompts 8",
    "--num-prompts 1000": "--num-prompts 8",
    "--max 512": "--max 4",
    "--streams 512": "--streams 8",
    "--dynamic-output-len 128": "--dynamic-output-len 8",
}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as asked:
        return int(asked.getsockname()[1])


def wait_for(port: int) -> None:
    for _ in range(300):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    raise AssertionError("the server does not listen")


def test_every_command(tmp_path: Path) -> None:
    steps = [s for b in blocks(ROOT / "docs/aicp.md") for s in b.steps]
    commands = [re.sub(r"\s+#.*", "", s.command) for s in steps]
    serve, *rest = commands
    port = free_port()
    argv = shlex.split(serve.replace("8000", str(port)))
    argv[0] = str(Path(sys.executable).parent / argv[0])
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            wait_for(port)
            for command in rest:
                for large, small in SMALLER.items():
                    command = command.replace(large, small)
                status, printed = run(command.replace("localhost:8000", f"localhost:{port}"), tmp_path)
                assert status == 0, f"{command} exited {status}:\n{printed}"
        finally:
            server.terminate()
    assert list(tmp_path.glob("out/*.csv")), "the rows are kept"
