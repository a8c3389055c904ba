"""A node over SSH: commands on one pooled connection, transfers on another, both re-opened when they are lost."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import paramiko
from playbook_kernel.api import Node, OutcomeUnknown, Process, Session, TransferFailed, current

from . import dial as dialing
from . import transfer
from .channels import Bell, listen
from .connection import Connection
from .line import Line
from .options import Options
from .process import SshProcess
from .runner import Runner, Turn, suits
from .warden import Order, Sudo, Warden, Wish


class SshSession(Session):
    """An open line to a node over SSH."""

    def __init__(self, node: Node, options: Options, owner: str) -> None:
        self.node, self.owner, self.options = node, owner, options
        self.warnings: list[str] = []
        self._sudo = (
            Sudo(options.password.reveal() if options.password else None) if options.username != "root" else None
        )
        self._main = Line(node.name, options, self._warn, keeps_shell=options.kept_shell)
        self._bulk = Line(node.name, options, lambda _: None, keeps_shell=False)
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
        wish = self._wish(argv, timeout, env=env or {}, cwd=cwd, stdin=stdin)
        if not sudo and suits(wish) and (runner := self._main.runner()) is not None:
            return self._in_turn(self._main, runner, wish)
        return self._in_session(self._main, wish, self._sudo if sudo else None)

    def start_bulk(self, argv: Sequence[object], *, stdin: bool = False, timeout: float | None = None) -> Process:
        """Like :meth:`start`, on the connection for transfers: closing a channel there disturbs no command."""
        return self._in_session(self._bulk, self._wish(argv, timeout, stdin=stdin), None)

    def _wish(self, argv: Sequence[object], timeout: float | None, **more: Any) -> Wish:
        scope = current()
        scope.check()
        return Wish([str(a) for a in argv], owner=self.owner, timeout=scope.timeout(timeout), **more)

    def _in_turn(self, line: Line, runner: Runner, wish: Wish) -> Process:
        """Start a command on the shell that is kept."""
        try:
            order = runner.warden.text(wish)
            turn = runner.turn()
        except BaseException:
            line.next()
            raise
        start = functools.partial(runner.start, order)
        return self._begin(wish, order, runner.connection, runner.warden, turn, runner.bell, start, line.next)

    def _in_session(self, line: Line, wish: Wish, sudo: Sudo | None) -> Process:
        """Start a command on a session of its own."""
        connection, warden, channel = line.channel(sudo)
        try:
            order = warden.line(wish)
            bell = listen(channel)
        except BaseException:
            channel.close()
            line.release()
            raise
        start = functools.partial(connection.transport.execute, channel, order.command)
        return self._begin(wish, order, connection, warden, channel, bell, start, line.release)

    def _begin(
        self,
        wish: Wish,
        order: Order,
        connection: Connection,
        warden: Warden,
        channel: paramiko.Channel | Turn,
        bell: Bell,
        start: Callable[[], None],
        released: Callable[[], None],
    ) -> Process:
        try:
            start()
        except (paramiko.SSHException, EOFError, OSError) as error:
            with contextlib.suppress(Exception):
                channel.close()
            released()
            why = connection.lost or str(error) or type(error).__name__
            raise OutcomeUnknown(
                self.node.name, f"{wish.words[0]}: the connection was lost as it was started: {why}"
            ) from error
        process = SshProcess(
            self.node.name,
            channel,
            bell,
            connection.wire,
            wish.words,
            wish.timeout,
            warden=warden,
            number=order.id,
            mark=order.mark,
            released=released,
            why=connection.why,
        )
        if order.header:
            process.write(order.header)
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
