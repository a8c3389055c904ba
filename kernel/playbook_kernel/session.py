"""A line to one node: commands that run there, what came of them, files that go there and back."""

from __future__ import annotations

import json
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from attrs import field, frozen

from .errors import CommandFailed

if TYPE_CHECKING:
    from .model import Node

Pipe = Literal["stdout", "stderr"]


@frozen
class Completed:
    """A command that ended by itself: ``status`` is what it really returned.

    ``stdout`` and ``stderr`` are bytes, each cut at the limit that was asked for (``truncated`` says so).
    """

    argv: tuple[str, ...]
    status: int
    stdout: bytes = field(default=b"", repr=False)
    stderr: bytes = field(default=b"", repr=False)
    seconds: float = 0.0
    truncated: bool = False

    @property
    def ok(self) -> bool:
        """Whether the status is 0."""
        return self.status == 0

    @property
    def text(self) -> str:
        """Standard output as text; bytes that are not UTF-8 are replaced."""
        return self.stdout.decode("utf-8", "replace")

    @property
    def errors(self) -> str:
        """Standard error as text."""
        return self.stderr.decode("utf-8", "replace")

    def json(self) -> Any:
        """Parse standard output."""
        return json.loads(self.stdout)


class Process(ABC):
    """A command that runs on a node, under a guard.

    It dies, with its whole process group, when its deadline passes, when it is killed, when this process dies, or when
    the connection is lost and its input ends.

    Leaving it as a context manager while it runs kills it. Not for use by several threads at once, except :meth:`kill`.
    """

    @abstractmethod
    def write(self, data: bytes) -> None:
        """Send bytes to its standard input; blocks while the other side does not read."""

    @abstractmethod
    def end_input(self) -> None:
        """Close its standard input; harmless twice."""

    @abstractmethod
    def chunks(self) -> Iterator[tuple[Pipe, bytes]]:
        """Yield what it prints, as it comes, until both pipes end.

        Raises CommandTimeout, OutcomeUnknown (the connection was lost) or Cancelled.
        """

    @abstractmethod
    def wait(self) -> int:
        """Return its exit status; output that nobody read is dropped. Raises as :meth:`chunks`."""

    @abstractmethod
    def kill(self) -> None:
        """End it with its whole process group; harmless when it has ended."""

    def lines(self, *, limit: int = 65536) -> Iterator[tuple[Pipe, str]]:
        """Yield whole lines without their ends (LF or CRLF); longer ones are cut into pieces of ``limit`` bytes."""
        rest: dict[Pipe, bytes] = {"stdout": b"", "stderr": b""}
        for pipe, data in self.chunks():
            *whole, tail = (rest[pipe] + data).split(b"\n")
            for line in whole:
                yield pipe, line.removesuffix(b"\r").decode("utf-8", "replace")
            while len(tail) > limit:
                yield pipe, tail[:limit].decode("utf-8", "replace")
                tail = tail[limit:]
            rest[pipe] = tail
        for pipe, tail in rest.items():
            if tail:
                yield pipe, tail.removesuffix(b"\r").decode("utf-8", "replace")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()


class Session(ABC):
    """An open line to one node, safe for use by many threads.

    Every call is bounded by its ``timeout`` and by the scope it runs in (:func:`playbook_kernel.api.current`),
    whichever ends first. A lost connection is re-opened, once for all threads, before the next command. Arguments are
    quoted exactly once, here; nothing else of the project builds shell strings from data.
    """

    node: Node
    owner: str
    """Marks every remote process (environment variable ``PLAYBOOK_OWNER``); the trial's id, or ``""``."""

    @abstractmethod
    def start(
        self,
        argv: Sequence[object],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        timeout: float | None = None,
        sudo: bool = False,
        stdin: bool = False,
    ) -> Process:
        """Start a command. Environment values never appear in an argument list or a process title.

        With ``stdin`` it reads what :meth:`Process.write` sends; without, its input is empty.

        Raises Unreachable if nothing ran.
        """

    @abstractmethod
    def put(self, local: Path, remote: str, *, mode: int = 0o644) -> None:
        """Copy a file to the node: streamed, verified, and moved over ``remote`` in one step. Makes parent folders.

        Raises TransferFailed; then the old file is still there.
        """

    @abstractmethod
    def put_bytes(self, data: bytes, remote: str, *, mode: int = 0o644) -> None:
        """Like :meth:`put`, from memory."""

    @abstractmethod
    def get(self, remote: str, local: Path, *, limit: int | None = None) -> int:
        """Copy a file from the node, verified; returns its size. At most ``limit`` bytes, from its end, if given."""

    @abstractmethod
    def put_tree(self, local: Path, remote: str) -> None:
        """Copy the contents of a folder into a folder of the node (made if missing); what else is there stays."""

    @abstractmethod
    def get_tree(self, remote: str, local: Path) -> None:
        """Copy the contents of a folder of the node into a local one; nothing can land outside of it."""

    @abstractmethod
    def dial(self, host: str, port: int, *, timeout: float = 10.0) -> socket.socket:
        """Open a TCP connection as the node would. Raises ConnectionError or Unreachable.

        The result behaves as a connected, blocking :class:`socket.socket`; the caller closes it.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go; commands that still run are killed. Harmless twice."""

    def run(
        self,
        argv: Sequence[object],
        *,
        stdin: bytes | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        timeout: float | None = 60.0,
        check: bool = True,
        sudo: bool = False,
        limit: int = 16 * 1024 * 1024,
    ) -> Completed:
        """Run a command to its end. ``limit`` bytes of each pipe are kept, the rest is read and dropped.

        Raises CommandFailed (``check`` and a status other than 0), CommandTimeout, Unreachable (nothing ran),
        OutcomeUnknown (the connection was lost: it may have run), Cancelled.
        """
        began = time.monotonic()
        kept: dict[Pipe, bytearray] = {"stdout": bytearray(), "stderr": bytearray()}
        truncated = False
        with self.start(argv, env=env, cwd=cwd, timeout=timeout, sudo=sudo, stdin=stdin is not None) as process:
            if stdin:
                process.write(stdin)
            if stdin is not None:
                process.end_input()
            for pipe, data in process.chunks():
                room = limit - len(kept[pipe])
                truncated = truncated or len(data) > room
                kept[pipe] += data[: max(room, 0)]
            status = process.wait()
        words = tuple(str(a) for a in argv)
        done = Completed(
            words, status, bytes(kept["stdout"]), bytes(kept["stderr"]), time.monotonic() - began, truncated
        )
        if check and status:
            raise CommandFailed(self.node.name, words, status, done.errors, done.text)
        return done

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
