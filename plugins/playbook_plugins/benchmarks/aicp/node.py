"""A load made on a node: one file and one plan go there, records come back."""

from __future__ import annotations

import contextlib
import io
import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from attrs import define, field, frozen
from playbook_kernel.api import CommandFailed, Process, Session

from . import core
from .calibrate import flags, page
from .core.launch import LaunchError
from .core.plan import Settings
from .core.spool import Glance
from .core.worker import spool_of
from .point import BenchmarkError

_PACKAGE = "aicp_core"
_MAIN = f"""\
import sys
from {_PACKAGE} import piece, site
sys.exit(site.main(sys.argv) if sys.argv[1:] else piece.main())
"""
_LEAST = "import sys; sys.exit(sys.version_info < (3, 9))"


def packed() -> bytes:
    """The load maker as one file that any Python from 3.9 on runs; it needs nothing else."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("__main__.py", _MAIN)
        for path in sorted(Path(core.__file__).parent.glob("*.py")):
            file.writestr(zipfile.ZipInfo(f"{_PACKAGE}/{path.name}"), path.read_bytes())
    return made.getvalue()


@frozen
class NodeKnown:
    """A known-timing server that runs on a node."""

    session: Session
    port: int

    @property
    def url(self) -> str:
        """As seen on the node."""
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str) -> Any:
        """Ask one of its own pages."""
        return page(self.session.dial("127.0.0.1", self.port, timeout=60), path)


@contextlib.contextmanager
def known_server(session: Session, remote: str, **timing: object) -> Iterator[NodeKnown]:
    """Start one on a node, in the folder ``remote``; it ends with the context. Raises BenchmarkError."""
    program = f"{remote}/aicp.pyz"
    try:
        session.put_bytes(packed(), program, mode=0o600)
    except CommandFailed as error:
        raise BenchmarkError(f"{session.node.name}: the known-timing server cannot be sent: {error}") from error
    said = ""
    with session.start(["python3", program, "mock-server", *flags(**timing)]) as process:
        for _, line in process.lines():
            if line.startswith("listening on "):
                yield NodeKnown(session, int(line.rpartition(":")[2]))
                return
            said = line
    raise BenchmarkError(f"{session.node.name}: the known-timing server did not start: {said}")


@define
class NodeWorkers:
    """Like Workers, on the other side of a session. ``remote`` is a folder there that the caller removes."""

    session: Session
    folder: Path
    settings: Settings
    remote: str
    python: str = "python3"
    start: int = 0
    told: dict[str, Any] = field(factory=dict)
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

    def start_of(self, spool: Path) -> int:
        """When the load of this spool started."""
        return self.start

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
