"""A load made on a node: one file and one plan go there, records come back."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from attrs import define, field
from playbook_kernel.api import CommandFailed, Process, Session

from . import core
from .core.launch import LaunchError
from .core.plan import Settings
from .core.spool import Glance
from .core.worker import spool_of

_PACKAGE = "aicp_core"
_MAIN = f"import sys\nfrom {_PACKAGE}.site import main\nsys.exit(main(sys.argv))\n"
_LEAST = "import sys; sys.exit(sys.version_info < (3, 9))"


def packed() -> bytes:
    """The load maker as one file that any Python from 3.9 on runs; it needs nothing else."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("__main__.py", _MAIN)
        for path in sorted(Path(core.__file__).parent.glob("*.py")):
            file.writestr(zipfile.ZipInfo(f"{_PACKAGE}/{path.name}"), path.read_bytes())
    return made.getvalue()


@define
class NodeWorkers:
    """Like Workers, on the other side of a session. ``remote`` is a folder there that the caller removes."""

    session: Session
    folder: Path
    settings: Settings
    remote: str
    python: str = "python3"
    start: int = 0
    spools: list[Path] = field(factory=list)
    _process: Process | None = None
    _lines: Iterator[tuple[str, str]] | None = None
    _news: list[Glance] = field(factory=list)

    def launch(self, timeout: float = 120.0) -> None:
        """Put everything there and start it. Raises LaunchError."""
        if not self.session.run([self.python, "-c", _LEAST], check=False).ok:
            raise LaunchError(f"{self.session.node.name}: {self.python} is not there, or older than 3.9")
        program = f"{self.remote}/aicp.pyz"
        self.session.put_bytes(packed(), program, mode=0o600)
        self.session.put_tree(self.folder, f"{self.remote}/plan")
        process = self.session.start([self.python, program, f"{self.remote}/plan"], stdin=True)
        self._process, self._lines = process, iter(process.lines())
        for word, rest in self._words():
            if word == "started":
                self.start = int(rest)
                return
            if word == "failed":
                raise LaunchError(f"{self.session.node.name}: {rest}")
        raise LaunchError(f"{self.session.node.name}: the load did not start")

    def wait(self, interval: float = 0.5, look: Callable[[], bool] | None = None) -> None:
        """Wait for the end and fetch the records. Raises LaunchError; what was recorded is fetched all the same."""
        process, why, stopping = self._process, "the load ended without a word", False
        if process is None:
            return
        with process:
            for word, rest in self._words():
                if word == "seen":
                    self._news += [Glance(*g) for g in json.loads(rest)]
                    if look is not None and not stopping and look():
                        stopping = True
                        process.end_input()
                elif word == "ended":
                    why = ""
                elif word == "failed":
                    why = rest
        for share in range(self.settings.processes):
            there = spool_of(Path(self.remote) / "plan", share)
            local = spool_of(self.folder, share)
            try:
                self.session.get(str(there), local)
                self.spools.append(local)
            except CommandFailed:
                continue
        if why and not stopping:
            raise LaunchError(f"{self.session.node.name}: {why}")

    def news(self) -> list[Glance]:
        """What ended since the last call."""
        found, self._news = self._news, []
        return found

    def _words(self) -> Iterator[tuple[str, str]]:
        if self._lines is None:
            return
        for pipe, line in self._lines:
            word, _, rest = line.partition(" ")
            if pipe == "stdout":
                yield word, rest
            elif line.strip():
                yield "said", line
