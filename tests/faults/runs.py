"""A small campaign over two nodes of the lab, and what is done to it from outside while it runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import define, field

from tests.e2e.helpers import COMMAND, copy
from tests.lab.core import Lab

NODES = ("n1", "n2")
QUICK_SSH = {"connect_timeout": 4, "auth_timeout": 8, "keepalive_interval": 1, "keepalive_timeout": 3}
"""So that a dead node is noticed in seconds; the defaults are more patient."""

WATCHER = '''
"""Runs commands when a scenario comes to a phase, in the parent, before anything else hears of it."""
import json, os, signal, subprocess
from playbook_kernel.api import hookimpl

AT = json.loads(os.environ["PLAYBOOK_TEST_AT"])

@hookimpl(tryfirst=True)
def playbook_event(ctx, event):
    name, phase = type(event).__name__, getattr(event, "phase", "")
    done = getattr(event, "outcome", None)
    moment = " ".join(w for w in (event.scenario, name, phase or (done.phase if done else "")) if w)
    if moment in AT and not (ctx.folder / "struck").exists():
        with (ctx.folder / "moments").open("a") as file:
            file.write(moment + "\\n")
        for command in AT[moment]:
            if command == "kill":
                (ctx.folder / "struck").touch()
                os.kill(os.getpid(), signal.SIGKILL)
            subprocess.run(command, check=True)
'''


@define
class Campaign:
    """A folder with the campaign of tests/faults/campaign, and the ways to call the tool in it."""

    lab: Lab
    folder: Path
    env: dict[str, str] = field(factory=dict)

    @classmethod
    def make(cls, lab: Lab, folder: Path, **ssh: object) -> Campaign:
        """A copy of the campaign over the lab's first two nodes."""
        copy("tests/faults/campaign", folder)
        (folder / "config/nodes.yaml").write_text(lab.nodes_yaml(NODES, ssh={**QUICK_SSH, **ssh}))
        (folder / "watcher.py").write_text(WATCHER)
        return cls(lab, folder)

    def _command(self, *argv: str) -> list[str]:
        return [str(COMMAND), *argv]

    def start(self, *argv: str, at: Mapping[str, Any] | None = None, **more: Any) -> subprocess.Popen[str]:
        """Begin a command; ``at``: what to run (commands, or ``kill``: the campaign itself) at ``SCENARIO EVENT PHASE``."""
        words = [*argv, "--plugin", "watcher.py"] if at is not None else [*argv]
        return subprocess.Popen(
            self._command(*words),
            cwd=self.folder,
            env={**os.environ, **self.env, "PLAYBOOK_TEST_AT": json.dumps(at or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **more,
        )

    def call(
        self, *argv: str, at: Mapping[str, Any] | None = None, timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        process = self.start(*argv, at=at)
        try:
            out, errors = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            out, errors = process.communicate()
            raise AssertionError(f"{argv} did not end within {timeout} s:\n{errors}") from None
        return subprocess.CompletedProcess(argv, process.returncode, out, errors)

    @property
    def run(self) -> Path:
        """The newest run."""
        return max(p for p in (self.folder / "results").iterdir() if not p.name.startswith("."))

    def result(self, run: Path | None = None) -> dict[str, Any]:
        """What campaign.json of a run says, by scenario."""
        data = json.loads(((run or self.run) / "campaign.json").read_text())
        return {s["scenario"]: s for s in data["scenarios"]}


def lab_command(lab: Lab, *argv: str) -> list[str]:
    """A command of the lab, for a process that knows nothing of this one's objects."""
    root = Path(__file__).resolve().parents[2]
    code = f"import os, sys; os.chdir({str(root)!r}); sys.path.insert(0, '.'); "
    code += "from tests.lab.__main__ import main; sys.exit(main())"
    return [sys.executable, "-c", code, "--name", lab.name, *argv]
