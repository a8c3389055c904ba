"""The command line, called as a user does, in this process or in one of its own."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import frozen
from playbook_kernel.cli.main import main

COMPOSE = "services:\n  engine:\n    image: none\n    command: [sleep, '60']\n"
METADATA = "name: {name}\ndescription: A scenario\ntags: [{tag}]\nservices:\n  - name: engine\n    nodes: [local]\n"


@frozen
class Called:
    """What a call came to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as JSON; fails if there is anything else on it."""
        return json.loads(self.out)


def call(*args: object, cwd: Path, stdin: str = "", environ: Mapping[str, str] | None = None) -> Called:
    """Call ``playbook-kernel ARGS`` in this process, from a folder."""
    out, err = io.StringIO(), io.StringIO()
    before = dict(os.environ)
    keep = sys.stdin
    os.environ.update(environ or {})
    sys.stdin = io.StringIO(stdin)
    code = 0
    try:
        with contextlib.chdir(cwd), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main([str(a) for a in args])
    except SystemExit as done:
        code = done.code if isinstance(done.code, int) else 1
    finally:
        sys.stdin = keep
        os.environ.clear()
        os.environ.update(before)
    return Called(code, out.getvalue(), err.getvalue())


def spawn(*args: object, cwd: Path, environ: Mapping[str, str] | None = None, timeout: float = 120) -> Called:
    """Call it in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "playbook_kernel", *map(str, args)],
        cwd=cwd, capture_output=True, text=True, timeout=timeout, env={**os.environ, **(environ or {})},
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return Called(done.returncode, done.stdout, done.stderr)


def write(root: Path, files: Mapping[str, str]) -> Path:
    """Write files below a folder; returns it."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def workspace(root: Path, *names: str, files: Mapping[str, str] | None = None) -> Path:
    """A folder with a config and these scenarios, each of one service that is a plain process and a script."""
    made: dict[str, str] = {
        "config/scenarios.yaml": "inter_scenario:\n  wait_between_scenarios: 0\n  retry_count: 0\n",
    }
    for name in names:
        folder = f"config/scenarios/{name}"
        made[f"{folder}/docker-compose.yml"] = "services:\n  engine:\n    command: [sleep, '60']\n"
        made[f"{folder}/metadata.yaml"] = METADATA.format(name=name, tag=name[-3:])
        made[f"{folder}/run_test.sh"] = "echo measuring\necho METRIC:throughput=12.5\n"
    return write(root, {**made, **(files or {})})
