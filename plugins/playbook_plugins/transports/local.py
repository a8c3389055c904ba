"""The node we are on: the same contract as over SSH, without a network."""

from __future__ import annotations

import contextlib
import hashlib
import os
import selectors
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import cast

from playbook_kernel.api import (
    CommandTimeout,
    Node,
    NoOptions,
    OutcomeUnknown,
    Pipe,
    Process,
    Session,
    TransferFailed,
    Transport,
    Unreachable,
    current,
)

from playbook_plugins.parts import beside

from .guard import KILL_AFTER, guarded
from .trees import packing, unpacking

_CHUNK = 256 * 1024


class LocalTransport(Transport[NoOptions]):
    """Runs commands on this machine. The interpreter's own folder comes first in PATH."""

    def connect(self, node: Node, *, owner: str = "") -> Session:
        return LocalSession(node, owner)


class LocalSession(Session):
    """The machine we are on, as a node."""

    def __init__(self, node: Node, owner: str) -> None:
        self.node, self.owner = node, owner
        self._closed = False
        self._running: set[LocalProcess] = set()
        self._lock = threading.Lock()

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
        scope = current()
        scope.check()
        if self._closed:
            raise Unreachable(self.node.name, "the session is closed")
        words = [str(a) for a in argv]
        bound = scope.timeout(timeout)
        line = guarded(words, timeout=bound, fed=stdin, cwd=cwd)
        extra = dict(env or {})
        if self.owner:
            extra["PLAYBOOK_OWNER"] = self.owner
        if sudo and os.geteuid() != 0:
            line = ["sudo", "-n", f"--preserve-env={','.join(extra)}", "--", *line]
        try:
            process = LocalProcess(self, words, line, _environment(extra), bound, stdin=stdin)
        except OSError as error:
            raise Unreachable(self.node.name, f"cannot start a process: {error}") from error
        with self._lock:
            self._running.add(process)
        return process

    def ended(self, process: LocalProcess) -> None:
        """Forget a process that has been waited for."""
        with self._lock:
            self._running.discard(process)

    def put(self, local: Path, remote: str, *, mode: int = 0o644) -> None:
        try:
            with local.open("rb") as source:
                self._place(source.read, Path(remote), mode)
        except OSError as error:
            raise TransferFailed(self.node.name, f"cannot put {remote}: {error.strerror}") from error

    def put_bytes(self, data: bytes, remote: str, *, mode: int = 0o644) -> None:
        view = memoryview(data)
        at = 0

        def read(size: int) -> bytes:
            nonlocal at
            piece = bytes(view[at : at + size])
            at += len(piece)
            return piece

        try:
            self._place(read, Path(remote), mode)
        except OSError as error:
            raise TransferFailed(self.node.name, f"cannot put {remote}: {error.strerror}") from error

    def _place(self, read: Callable[[int], bytes], target: Path, mode: int) -> None:
        if target.is_dir():
            raise TransferFailed(self.node.name, f"cannot put {target}: a directory of that name is there")
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(beside(target.name))
        sent = hashlib.sha256()
        try:
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "wb") as out:
                while piece := read(_CHUNK):
                    current().check()
                    sent.update(piece)
                    out.write(piece)
                out.flush()
                os.fchmod(out.fileno(), mode)
            if _digest(part) != sent.hexdigest():
                raise TransferFailed(self.node.name, f"{target} did not arrive whole")
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)

    def get(self, remote: str, local: Path, *, limit: int | None = None) -> int:
        try:
            with Path(remote).open("rb") as source:
                if limit is not None:
                    source.seek(max(0, os.fstat(source.fileno()).st_size - limit))
                self._place(source.read, local, 0o644)
        except OSError as error:
            raise TransferFailed(self.node.name, f"cannot get {remote}: {error.strerror}") from error
        return local.stat().st_size

    def put_tree(self, local: Path, remote: str) -> None:
        self._copy_tree(local, Path(remote))

    def get_tree(self, remote: str, local: Path) -> None:
        self._copy_tree(Path(remote), local)

    def _copy_tree(self, source: Path, target: Path) -> None:
        node = self.node.name
        with packing(source, node) as reading, unpacking(target, node) as writing:
            while piece := reading.read():
                current().check()
                writing.write(piece)
            reading.finish()
            writing.finish()

    def dial(self, host: str, port: int, *, timeout: float = 10.0) -> socket.socket:
        bound = current().timeout(timeout)
        return socket.create_connection((host, port), timeout=bound)

    def close(self) -> None:
        self._closed = True
        with self._lock:
            left = list(self._running)
        for process in left:
            process.kill()


class LocalProcess(Process):
    """A guarded child process."""

    def __init__(
        self,
        session: LocalSession,
        words: list[str],
        line: list[str],
        env: dict[str, str],
        timeout: float | None,
        *,
        stdin: bool,
    ) -> None:
        self._session, self._words, self._timeout = session, words, timeout
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._fed = stdin
        self._lock = threading.Lock()
        self._killed = False
        self._popen = subprocess.Popen(
            line,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=env,
            start_new_session=True,
        )
        self._early: deque[tuple[Pipe, bytes]] = deque()
        self._selector = selectors.DefaultSelector()
        self._wake, self._waker = os.pipe()
        self._selector.register(self._wake, selectors.EVENT_READ, None)
        for pipe, stream in (("stdout", self._popen.stdout), ("stderr", self._popen.stderr)):
            assert stream is not None
            os.set_blocking(stream.fileno(), False)
            self._selector.register(stream.fileno(), selectors.EVENT_READ, pipe)
        self._open = 2
        self._status: int | None = None
        self._released = False

    def write(self, data: bytes) -> None:
        assert self._popen.stdin is not None, "started without stdin"
        descriptor = self._popen.stdin.fileno()
        os.set_blocking(descriptor, False)
        view = memoryview(data)
        self._selector.register(descriptor, selectors.EVENT_WRITE, "stdin")
        try:
            while view:
                for pipe, piece in self._step():
                    if pipe == "stdin":
                        try:
                            view = view[os.write(descriptor, view[:65536]) :]
                        except BlockingIOError:
                            continue
                        except BrokenPipeError:
                            return  # it does not want more; its status will tell why
                    else:
                        self._early.append((cast("Pipe", pipe), piece))
        finally:
            if not self._released:
                self._selector.unregister(descriptor)

    def end_input(self) -> None:
        if self._fed:
            self._close_input()

    def _close_input(self) -> None:
        if self._popen.stdin is not None and not self._popen.stdin.closed:
            with contextlib.suppress(BrokenPipeError):
                self._popen.stdin.close()

    def chunks(self) -> Iterator[tuple[Pipe, bytes]]:
        while self._early:
            yield self._early.popleft()
        while self._open:
            for pipe, data in self._step():
                yield cast("Pipe", pipe), data

    def _step(self) -> Iterator[tuple[str, bytes]]:
        """Wait for something to happen, within the deadline, and hand it out."""
        scope = current()
        if self._killed:
            self._reap()
            raise OutcomeUnknown(self._session.node.name, f"{self._words[0]} was killed")
        with scope.cancel.watching(self._nudge):
            left = scope.timeout(None if self._deadline is None else self._deadline - time.monotonic())
            ready = self._selector.select(left) if left is None or left > 0 else []
        if scope.cancel.requested:
            self.kill()
            scope.cancel.check()
        if not ready and (left is not None):
            self.kill()
            raise CommandTimeout(self._session.node.name, self._words, self._timeout or left)
        for key, _ in ready:
            if key.data is None:
                os.read(self._wake, 64)
            elif key.data == "stdin":
                yield "stdin", b""
            else:
                try:
                    data = os.read(key.fd, _CHUNK)
                except BlockingIOError:
                    continue
                if data:
                    yield key.data, data
                else:
                    self._selector.unregister(key.fd)
                    self._open -= 1

    def _nudge(self) -> None:
        with self._lock:
            if not self._released:
                os.write(self._waker, b"x")

    def wait(self) -> int:
        for _ in self.chunks():
            pass
        if self._status is None:
            self._status = self._reap()
        status = self._status
        return 128 - status if status < 0 else status

    def _reap(self) -> int:
        self._close_input()
        try:
            status = self._popen.wait(KILL_AFTER + 3)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            status = self._popen.wait()
        with self._lock:
            if not self._released:
                self._released = True
                self._selector.close()
                os.close(self._wake)
                os.close(self._waker)
                for stream in (self._popen.stdout, self._popen.stderr):
                    if stream is not None:
                        stream.close()
        self._session.ended(self)
        return status

    def kill(self) -> None:
        if self._status is not None or self._released:
            return
        self._killed = True
        if self._fed and self._popen.poll() is None:
            self._popen.terminate()  # the guard passes it on; without input to feed, its end is the sign
        self._status = self._reap()


def _environment(extra: Mapping[str, str]) -> dict[str, str]:
    env = {**os.environ, **extra}
    own = str(Path(sys.executable).parent)
    env["PATH"] = os.pathsep.join([own, *(p for p in env.get("PATH", os.defpath).split(os.pathsep) if p != own)])
    return env


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
