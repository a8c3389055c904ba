"""One connection of a node, re-opened when it is lost, and its queue of sessions."""

from __future__ import annotations

import threading
from collections.abc import Callable

import paramiko
from playbook_kernel.api import Deadline, NodeError, Unreachable, current

from .connection import Connection, Patience, connect
from .options import Options
from .runner import Runner
from .warden import Sudo, Warden

_FULL = 2
"""ChannelException's code for a server that has no session left."""


class Line:
    """One connection and its queue of sessions; ``get`` re-opens it, once for all threads that find it dead."""

    def __init__(self, node: str, options: Options, warn: Callable[[str], None], *, keeps_shell: bool) -> None:
        self._node, self._options, self._warn = node, options, warn
        self._connection: Connection | None = None
        self._lock = threading.Lock()
        self._slots = threading.Semaphore(max(1, options.max_sessions))
        self._used = self._reopened = 0
        self._closed = False
        self._runner: Runner | None = None
        self._keeps_runner = keeps_shell
        self._turn = threading.Lock()  # held by who starts the runner, or has it
        self._taken = False

    def get(self) -> Connection:
        """The live connection. Raises Unreachable and what connecting raises."""
        connection = self._connection
        if connection is not None and connection.alive:
            return connection
        with self._lock:  # whoever comes second finds what the first has opened
            if self._closed:
                raise Unreachable(self._node, "the session is closed")
            if self._connection is None or not self._connection.alive:
                before = self._connection
                if before is not None:
                    before.close()
                self._connection = connect(self._node, self._options)
                for warning in self._connection.warnings:
                    self._warn(warning)
                if before is not None:
                    self._reopened += 1
                    why = before.lost or "it was ended"
                    self._warn(f"the connection was lost and is open again (number {self._reopened}): {why}")
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

    def runner(self) -> Runner | None:
        """The shell for short commands, unless somebody has it or it cannot be trusted; :meth:`next` gives it back.

        Raises what :meth:`channel` raises.
        """
        if not self._keeps_runner or not self._turn.acquire(blocking=False):
            return None
        try:
            runner = self._runner
            if runner is None or not runner.alive:
                runner = self._runner = self._hire()
            elif not runner.connection.wire.answers():
                runner = None  # the opening of a session tells whether anybody is there before anything runs
            self._taken = runner is not None
        finally:
            if not self._taken:
                self._turn.release()
        return runner

    def next(self) -> None:
        """Somebody's turn on the runner is over."""
        self._taken = False
        self._turn.release()

    def _hire(self) -> Runner | None:
        connection, warden, channel = self.channel(None)
        try:
            return Runner(connection, channel, warden, current().timeout(self._options.connect_timeout) or 0.001)
        except (NodeError, paramiko.SSHException, EOFError, OSError):
            channel.close()
            self._keeps_runner = False  # nothing is wrong with a node that cannot keep one
            return None
        finally:
            self.release()

    def _dismiss(self) -> bool:
        """Leave the runner's session to others for good; whether there was one."""
        if not self._turn.acquire(blocking=False):
            return False
        try:
            runner, self._runner = self._runner, None
            if runner is not None and runner.alive:
                self._keeps_runner = False
                runner.close()
                return True
            return False
        finally:
            self._turn.release()

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
                timeout = Patience(current().timeout(self._options.connect_timeout) or 0.001)
                channel = connection.transport.open_session(timeout=timeout)
                with self._lock:
                    self._used += 1
                return connection, channel
            except paramiko.ChannelException as error:
                if error.code != _FULL:
                    raise Unreachable(self._node, f"the server opens no session: {error}") from error
            except (paramiko.SSHException, EOFError, OSError) as error:
                current().cancel.check()
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
            waits = self._used or self._taken or self._dismiss()
            alone = None if waits else alone or Deadline.after(self._options.connect_timeout)
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
