"""A command on a channel."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence

import paramiko
from playbook_kernel.api import CommandTimeout, OutcomeUnknown, Pipe, Process, current

from playbook_plugins.transports.guard import KILL_AFTER

from .channels import Bell
from .runner import Turn
from .warden import UNGUARDED, Warden
from .wire import Wire

_READ = 1024 * 1024
_BATCH = 512 * 1024
_WRITE = 32 * 1024  # one SSH packet; a bigger piece is only cut again, by a slower loop


class SshProcess(Process):
    """A command that runs on a node, known to the warden as ``number``. Output up to the line ``mark`` is not its own."""

    def __init__(
        self,
        node: str,
        channel: paramiko.Channel | Turn,
        bell: Bell,
        wire: Wire,
        words: Sequence[str],
        timeout: float | None,
        *,
        warden: Warden,
        number: int,
        mark: bytes,
        released: Callable[[], None],
        why: Callable[[], str],
    ) -> None:
        self._node, self._channel, self._bell, self._wire = node, channel, bell, wire
        self._words, self._timeout = words, timeout
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._warden, self._number = warden, number
        self._released, self._why = released, why
        self._mark = mark
        self._noise: dict[Pipe, bytes] = {"stdout": b"", "stderr": b""} if mark else {}
        self._early: deque[tuple[Pipe, bytes]] = deque()
        self._over = False
        self._told = isinstance(channel, Turn)  # a runner does that itself
        self._status: int | None = None

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            self._check()
            # A command that answers while it is fed must not wait for us while we wait for it.
            self._early.extend(self._ready())
            sent = self._batch(view)
            if sent < 0:
                if self._channel.exit_status == -1 and not self._channel.eof_received:
                    raise OutcomeUnknown(self._node, f"{self._words[0]} takes no input: {self._why()}")
                return  # it does not want more; its status will tell why
            view = view[sent:]

    def _batch(self, view: memoryview) -> int:
        """Send what there is room for, or wait a moment for room; -1 when nobody takes it any more."""
        channel, sent = self._channel, 0
        try:
            with self._wire.corked():
                while sent < min(len(view), _BATCH) and channel.out_window_size >= _WRITE:
                    sent += channel.send(bytes(view[sent : sent + _WRITE]))
            if not sent:
                channel.settimeout(0.05)
                sent = channel.send(bytes(view[:_WRITE])) or -1
        except TimeoutError:
            pass
        except OSError:
            return -1
        return sent

    def end_input(self) -> None:
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
            self._channel.shutdown_write()

    def chunks(self) -> Iterator[tuple[Pipe, bytes]]:
        channel = self._channel
        while True:
            heard = self._bell.rings
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
                self._wait(heard)

    def _ready(self) -> Iterator[tuple[Pipe, bytes]]:
        """What has come already."""
        channel = self._channel
        while channel.recv_ready():
            if data := self._own("stdout", channel.recv(_READ)):
                yield "stdout", data
        while channel.recv_stderr_ready():
            if data := self._own("stderr", channel.recv_stderr(_READ)):
                yield "stderr", data

    def _own(self, pipe: Pipe, data: bytes) -> bytes:
        """Drop what a login script printed before the command began."""
        if pipe not in self._noise:
            return data
        before, mark, after = (self._noise[pipe] + data).partition(self._mark)
        if mark:
            del self._noise[pipe]
            return after
        self._noise[pipe] = before
        return b""

    def _wait(self, heard: int) -> None:
        self._check()
        scope = current()
        left = None if self._deadline is None else max(0.0, self._deadline - time.monotonic())
        with scope.cancel.watching(self._bell.ring):
            self._bell.wait(heard, scope.timeout(left))
        self._check()

    def _check(self) -> None:
        if self._channel.exit_status != -1:
            self._sweep()
        scope = current()
        if scope.cancel.requested:
            self.kill()
            scope.cancel.check()
        late = self._deadline is not None and time.monotonic() >= self._deadline
        if late or scope.deadline.remaining() == 0:
            self.kill()
            raise CommandTimeout(self._node, self._words, self._timeout or 0.0)

    def _sweep(self) -> None:
        """It has ended: what it left in its group would keep its pipes open."""
        if not self._told:
            self._told = True
            self._warden.ended(self._number)

    def wait(self) -> int:
        if self._status is not None:
            return self._status
        for _ in self.chunks():
            pass
        # The status comes before the end of the channel; without one the connection, or the guard, has died.
        self._settled(5.0)
        status = int(self._channel.exit_status)
        if status == -1 or (status == UNGUARDED and not self._warden.answers()):
            self._close()
            raise OutcomeUnknown(self._node, f"{self._words[0]}: no exit status came: {self._why()}")
        self._status = status
        self._close()
        return status

    def _settled(self, seconds: float) -> bool:
        """Wait until the exit status is known, or never will be."""
        end = time.monotonic() + seconds
        while True:
            heard = self._bell.rings
            if isinstance(self._channel, Turn):
                self._channel.skip()  # there the status comes behind the output
            if self._channel.exit_status != -1 or self._channel.closed:
                return True
            left = end - time.monotonic()
            if left <= 0:
                return False
            self._bell.wait(heard, left)

    def kill(self) -> None:
        if self._over:
            return
        if not self._settled(0):
            self._warden.end(self._number)
            if not self._settled(KILL_AFTER):
                self._warden.kill(self._number)
                self._settled(1.5)
        self._close()

    def _close(self) -> None:
        if not self._over:
            self._over = True
            self._sweep()
            with contextlib.suppress(Exception):
                self._channel.close()
            self._released()
