"""A guarded command on a channel."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import paramiko
from playbook_kernel.api import CommandTimeout, OutcomeUnknown, Pipe, Process, current

from playbook_plugins.transports.guard import KILL_AFTER

_READ = 1024 * 1024
_WRITE = 32 * 1024  # one SSH packet; a bigger piece is only cut again, by a slower loop


class Bell:
    """Rings whenever a channel has news; stays silent about having none."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        self._event.set()

    def clear(self) -> None:
        """Paramiko's buffers call this when one of them is empty, which says nothing about the other."""

    def is_set(self) -> bool:
        return self._event.is_set()

    def wait(self, timeout: float | None) -> None:
        """Until it rings; it is quiet again afterwards."""
        self._event.wait(timeout)
        self._event.clear()


class SshProcess(Process):
    """A command that runs on a node. ``mark``: its guard tells its own pid in the first line of stderr."""

    def __init__(
        self,
        node: str,
        channel: paramiko.Channel,
        words: Sequence[str],
        timeout: float | None,
        *,
        released: Callable[[], None],
        killer: Callable[[int], None] | None,
        lost: Callable[[], str],
    ) -> None:
        self._node, self._channel, self._words, self._timeout = node, channel, words, timeout
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._released, self._killer, self._lost = released, killer, lost
        self._bell = Bell()
        self._early: deque[tuple[Pipe, bytes]] = deque()
        self._over = False
        self._status: int | None = None
        self._head: bytes | None = b"" if killer else None
        self._guard_pid: int | None = None
        event: Any = self._bell
        channel.in_buffer.set_event(event)
        channel.in_stderr_buffer.set_event(event)
        self._bell.set()

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        channel = self._channel
        while view:
            self._check()
            # A command that answers while it is fed must not wait for us while we wait for it.
            self._early.extend(self._ready())
            channel.settimeout(0.05)
            try:
                view = view[channel.send(bytes(view[:_WRITE])) :]
            except TimeoutError:
                continue
            except OSError:
                if channel.closed or channel.eof_received:
                    return  # it does not want more; its status will tell why
                raise OutcomeUnknown(self._node, f"the connection was lost: {self._why()}") from None

    def end_input(self) -> None:
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
            self._channel.shutdown_write()

    def chunks(self) -> Iterator[tuple[Pipe, bytes]]:
        channel = self._channel
        while True:
            ended = channel.eof_received or channel.closed
            news = False
            while self._early:
                yield self._early.popleft()
            for piece in self._ready():
                news = True
                yield piece
            if not news:
                if ended:
                    return
                self._wait()

    def _ready(self) -> Iterator[tuple[Pipe, bytes]]:
        """What has come already."""
        channel = self._channel
        while channel.recv_ready():
            yield "stdout", channel.recv(_READ)
        while channel.recv_stderr_ready():
            if data := self._without_mark(channel.recv_stderr(_READ)):
                yield "stderr", data

    def _without_mark(self, data: bytes) -> bytes:
        """Take the guard's own first line out of stderr."""
        if self._head is None:
            return data
        self._head += data
        line, newline, rest = self._head.partition(b"\n")
        if not newline:
            return b""
        self._head = None
        if line.startswith(b"playbook-guard:"):
            self._guard_pid = int(line.split(b":")[1])
            return rest
        return line + newline + rest

    def _wait(self) -> None:
        self._check()
        scope = current()
        with scope.cancel.watching(self._bell.set):
            self._bell.wait(
                scope.timeout(None if self._deadline is None else max(0.0, self._deadline - time.monotonic()))
            )
        self._check()

    def _check(self) -> None:
        scope = current()
        if scope.cancel.requested:
            self.kill()
            scope.cancel.check()
        late = self._deadline is not None and time.monotonic() >= self._deadline
        if late or scope.deadline.remaining() == 0:
            self.kill()
            raise CommandTimeout(self._node, self._words, self._timeout or 0.0)

    def wait(self) -> int:
        for _ in self.chunks():
            pass
        if self._status is not None:
            return self._status
        # The status comes before the end of the channel; without one the connection, or the guard, has died.
        end = time.monotonic() + 5.0
        while not self._channel.exit_status_ready() and time.monotonic() < end and not self._channel.closed:
            self._channel.status_event.wait(0.05)
        status = int(self._channel.exit_status) if self._channel.exit_status_ready() else -1
        if status == -1:
            self._close()
            raise OutcomeUnknown(self._node, f"{self._words[0]}: no exit status came: {self._why()}")
        self._status = status
        self._close()
        return status

    def _why(self) -> str:
        return self._lost() or "the connection was lost"

    def kill(self) -> None:
        if self._over:
            return
        channel = self._channel
        if not channel.closed and not channel.exit_status_ready():
            if self._killer is None:
                self.end_input()  # its input is the guard's lifeline
            else:
                if self._head is not None:
                    with contextlib.suppress(Exception):
                        channel.settimeout(1.0)
                        self._without_mark(channel.recv_stderr(4096))
                if self._guard_pid is not None:
                    self._killer(self._guard_pid)
            end = time.monotonic() + KILL_AFTER + 1.5
            while not channel.closed and not channel.exit_status_ready() and time.monotonic() < end:
                channel.status_event.wait(0.05)
        self._close()

    def _close(self) -> None:
        if not self._over:
            self._over = True
            with contextlib.suppress(Exception):
                self._channel.close()
            self._released()
