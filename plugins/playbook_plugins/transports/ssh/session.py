"""A node over SSH: commands on one pooled connection, transfers on another, both re-opened when they are lost."""

from __future__ import annotations

import contextlib
import io
import os
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import paramiko
from playbook_kernel.api import Deadline, Node, OutcomeUnknown, Process, Session, TransferFailed, Unreachable, current

from . import dial as dialing
from . import transfer
from .channels import listen
from .connection import Connection, connect
from .options import Options
from .process import SshProcess
from .warden import Sudo, Warden

_FULL = 2
"""ChannelException's code for a server that has no session left."""


class Line:
    """One connection and its queue of sessions; ``get`` re-opens it, once for all threads that find it dead."""

    def __init__(self, node: str, options: Options, warn: Callable[[str], None]) -> None:
        self._node, self._options, self._warn = node, options, warn
        self._connection: Connection | None = None
        self._lock = threading.Lock()
        self._slots = threading.Semaphore(max(1, options.max_sessions))
        self._used = 0
        self._closed = False

    def get(self) -> Connection:
        """The live connection. Raises Unreachable and what connecting raises."""
        connection = self._connection
        if connection is not None and connection.alive:
            return connection
        with self._lock:  # whoever comes second finds what the first has opened
            if self._closed:
                raise Unreachable(self._node, "the session is closed")
            if self._connection is None or not self._connection.alive:
                if self._connection is not None:
                    self._connection.close()
                self._connection = connect(self._node, self._options)
                for warning in self._connection.warnings:
                    self._warn(warning)
            return self._connection

    def channel(self, sudo: Sudo | None) -> tuple[Connection, Warden, paramiko.Channel]:
        """A session of the server, queued when there are too many, and who guards it.

        Raises Unreachable, AuthenticationFailed (sudo), Cancelled.
        """
        self._take_slot()
        try:
            while True:
                connection, channel = self._open()
                if (warden := connection.warden(sudo, channel)) is not None:
                    return connection, warden, channel
                self._leave()  # it has become the warden's
        except BaseException:
            self._slots.release()
            raise

    def release(self) -> None:
        """A session has ended."""
        self._leave()
        self._slots.release()

    def _leave(self) -> None:
        with self._lock:
            self._used -= 1

    def _take_slot(self) -> None:
        while not self._slots.acquire(timeout=0.1):
            current().check()

    def _open(self) -> tuple[Connection, paramiko.Channel]:
        pause, again = 0.005, True
        alone: Deadline | None = None
        while True:
            current().check()
            connection = self.get()
            try:
                timeout = current().timeout(self._options.connect_timeout) or 0.001
                channel = connection.transport.open_session(timeout=timeout)
                with self._lock:
                    self._used += 1
                return connection, channel
            except paramiko.ChannelException as error:
                if error.code != _FULL:
                    raise Unreachable(self._node, f"the server opens no session: {error}") from error
            except (paramiko.SSHException, EOFError, OSError) as error:
                # Concurrent refusals steal one another's exception inside paramiko, which then says only this.
                if not (connection.alive and "Unable to open channel" in str(error)):
                    slow = connection.alive and "Timeout" in str(error)  # whether it is dead is for the watchdog to say
                    if not slow:
                        connection.close()
                    if again and not slow:
                        again = False  # it died while idle: nothing ran yet, so one more connection is safe
                        continue
                    why = connection.lost or str(error) or type(error).__name__
                    raise Unreachable(self._node, f"no session: {why}") from error
            # Sessions that have ended are given back a moment later; but if none of ours runs, there is none to wait for.
            alone = None if self._used else alone or Deadline.after(self._options.connect_timeout)
            if alone is not None and alone.remaining() == 0:
                raise Unreachable(
                    self._node, "the server has no session for a command", hint="sshd needs MaxSessions 3 or more"
                )
            current().sleep(pause)
            pause = min(pause * 2, 0.25)

    def close(self) -> None:
        self._closed = True
        with self._lock:
            if self._connection is not None:
                self._connection.close()


class SshSession(Session):
    """An open line to a node over SSH."""

    def __init__(self, node: Node, options: Options, owner: str) -> None:
        self.node, self.owner, self.options = node, owner, options
        self.warnings: list[str] = []
        self._sudo = (
            Sudo(options.password.reveal() if options.password else None) if options.username != "root" else None
        )
        self._main = Line(node.name, options, self._warn)
        self._bulk = Line(node.name, options, lambda _: None)
        self._main.get()

    def _warn(self, text: str) -> None:
        import structlog

        if text not in self.warnings:
            self.warnings.append(text)
            structlog.get_logger("ssh").warning(text, node=self.node.name)

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
        return self._start(self._main, argv, env=env, cwd=cwd, timeout=timeout, sudo=sudo, stdin=stdin)

    def start_bulk(self, argv: Sequence[object], *, stdin: bool = False, timeout: float | None = None) -> Process:
        """Like :meth:`start`, on the connection for transfers: closing a channel there disturbs no command."""
        return self._start(self._bulk, argv, stdin=stdin, timeout=timeout)

    def _start(
        self,
        line: Line,
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
        words = [str(a) for a in argv]
        bound = scope.timeout(timeout)
        connection, warden, channel = line.channel(self._sudo if sudo else None)
        try:
            asked = warden.line(words, env=env or {}, cwd=cwd, owner=self.owner, timeout=bound, stdin=stdin)
            bell = listen(channel)
        except BaseException:
            channel.close()
            line.release()
            raise
        try:
            connection.transport.execute(channel, asked.command)
        except (paramiko.SSHException, EOFError, OSError) as error:
            with contextlib.suppress(Exception):
                channel.close()
            line.release()
            why = connection.lost or str(error) or type(error).__name__
            raise OutcomeUnknown(
                self.node.name, f"{words[0]}: the connection was lost as it was started: {why}"
            ) from error
        process = SshProcess(
            self.node.name,
            channel,
            bell,
            connection.wire,
            words,
            bound,
            warden=warden,
            number=asked.id,
            mark=asked.mark,
            released=line.release,
            lost=lambda: connection.lost,
        )
        if asked.header:
            process.write(asked.header)
        return process

    def put(self, local: Path, remote: str, *, mode: int = 0o644) -> None:
        try:
            with local.open("rb", buffering=0) as source:
                transfer.put(self, source.read, os.fstat(source.fileno()).st_size, remote, mode)
        except OSError as error:
            raise TransferFailed(self.node.name, f"cannot put {local}: {error.strerror}") from error

    def put_bytes(self, data: bytes, remote: str, *, mode: int = 0o644) -> None:
        transfer.put(self, io.BytesIO(data).read, len(data), remote, mode)

    def get(self, remote: str, local: Path, *, limit: int | None = None) -> int:
        return transfer.get(self, remote, local, limit)

    def put_tree(self, local: Path, remote: str) -> None:
        transfer.put_tree(self, local, remote)

    def get_tree(self, remote: str, local: Path) -> None:
        transfer.get_tree(self, remote, local)

    def dial(self, host: str, port: int, *, timeout: float = 10.0) -> socket.socket:
        return dialing.dial(self.node.name, self._main.get(), host, port, current().timeout(timeout) or 0.001)

    def close(self) -> None:
        # Commands that run lose their lifeline with the connection.
        self._main.close()
        self._bulk.close()
