"""The runner: a shell on a session of its own that runs short commands, one after the other, for as long as they come.

sshd takes three times longer to start a login shell than a shell takes to start a command. Nothing of the contract is
given up for that: each command leads a process group that the warden knows, and has the two pipes for itself. A
relay reads them, a ``cat`` for each, which goes on to a second pipe once nobody has the first one open any more: there the
runner says that the output is complete, by a mark that no command can know.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections import deque

import paramiko
from playbook_kernel.api import Pipe, Unreachable

from .channels import ended, hear, listen
from .connection import Connection
from .warden import UNGUARDED, Order, Warden, Wish

SHORT = 60.0
"""Seconds. What may take longer gets a session of its own, and does not keep others waiting."""

LONG = 4096
"""Characters of a command. Shells read their input byte by byte, so what is longer gets a session of its own."""

_READ = 1024 * 1024
_KEPT = 256
"""Pieces of the output of a command that is being ended and that nobody reads: some MiB."""

_RELAYED = 100

# $1: our number with the warden, $2: the warden's pipe. Variables have long names, and no value that we were given: a
# command inherits what is exported. What comes in: a line with the mark; then for each command a line with its number and
# how many lines its text has, and that text. A shell reads each byte by itself, so what all have in common stands here:
# `playbook_in NUMBER SECONDS` tells the warden of it, `playbook_go WORDS` becomes it, as the leader of a group (not every
# setsid says it well when there is no such command). bash ($3) makes leaders itself, without a terminal too, which saves half
# of the time that the node needs; in its background, for in its foreground a SIGINT would end the loop too. Its `wait`
# returns for a command that is stopped, which has not ended; `wait -f` does not, but may spin for ever (5.2).
SCRIPT = f"""\
unset playbook_d playbook_m playbook_n playbook_k playbook_c playbook_l playbook_p playbook_w playbook_x playbook_g
playbook_w=$2
playbook_in() {{ {{ echo "+ $1 $playbook_p $2" >"$playbook_w"; }} 2>/dev/null || exit {UNGUARDED}; }}
playbook_me() {{ playbook_p=$BASHPID; [ "$playbook_g" ] || read -r playbook_p playbook_x </proc/self/stat; }}
playbook_go() {{ [ -z "$playbook_g" ] && command -v "$1" >/dev/null && exec setsid "$@"; exec "$@"; }}
playbook_do() {{ playbook_me; eval "$playbook_c"; }}
for playbook_d in "${{XDG_RUNTIME_DIR:-/run}}" /run /tmp; do
  playbook_d=$(mktemp -d "$playbook_d/playbook-guard.XXXXXX" 2>/dev/null) && break
done
[ -n "$playbook_d" ] && echo "r $1 $$ $playbook_d" >"$2" || exit
mkfifo "$playbook_d/o" "$playbook_d/O" "$playbook_d/e" "$playbook_d/E" || exit
(playbook_me; [ "$playbook_p" != $$ ]) || exit
echo "playbook-guard: runs." >&2
echo "playbook-guard: runs."
(cd "$playbook_d" && while cat{" o O" * _RELAYED}; do :; done) 2>/dev/null &
(cd "$playbook_d" && while cat{" e E" * _RELAYED}; do :; done) >&2 2>/dev/null &
exec >/dev/null 2>&1
if [ "$3" = bash ] && set -m; then
  (read -r _ _ _ _ playbook_g _ </proc/self/stat; [ "$playbook_g" = "$BASHPID" ]) && playbook_g=yes
fi
IFS= read -r playbook_m || exit
while read -r playbook_n playbook_k; do
  playbook_c=
  while [ "$playbook_k" != 0 ] && IFS= read -r playbook_l; do playbook_k=$((playbook_k - 1)) playbook_c="$playbook_c$playbook_l
"; done
  [ "$playbook_k" = 0 ] || break
  if [ "$playbook_g" ]; then
    playbook_do >"$playbook_d/o" 2>"$playbook_d/e" </dev/null &
    wait $!
    playbook_x=$?
    while [ $playbook_x -gt 128 ] && [ "$(jobs -ps)" ]; do sleep 0.2; wait $!; playbook_x=$?; done
  else
    (playbook_do) >"$playbook_d/o" 2>"$playbook_d/e" </dev/null
    playbook_x=$?
  fi
  echo "- $playbook_n" >"$2"
  echo "$playbook_m $playbook_x" >"$playbook_d/O"
  echo "$playbook_m" >"$playbook_d/E"
done
rm -f "$playbook_d"/[oOeE]
rmdir "$playbook_d"
kill -KILL 0
"""

# $1: the script, then what it takes.
_START = """\
command -v bash >/dev/null && exec bash -p -c "$@" bash
exec sh -c "$@" sh
"""

_HELLO = re.compile(rb"playbook-guard: runs\.\n")


def suits(wish: Wish) -> bool:
    """Whether a command may run on a runner."""
    size = sum(map(len, (*wish.words, *wish.env, *wish.env.values())))
    return not wish.stdin and wish.timeout is not None and wish.timeout <= SHORT and size <= LONG


class Runner:
    """Our end of it. Whoever has it gives it one command, and then has to read that command's turn to its end.

    Raises Unreachable if it cannot be started.
    """

    def __init__(self, connection: Connection, channel: paramiko.Channel, warden: Warden, timeout: float) -> None:
        self.connection, self.channel, self.warden = connection, channel, warden
        self._number = warden.number()
        self._mark = f"playbook-{os.urandom(16).hex()}"
        channel.settimeout(timeout)
        self.bell = listen(channel)
        program = ["sh", "-c", _START, "-", SCRIPT, "playbook-guard-runner", str(self._number), warden.pipe]
        channel.exec_command(warden.leading(program))
        if not hear(channel, self.bell, _HELLO, time.monotonic() + timeout)[0]:
            channel.close()
            raise Unreachable(connection.node, "the node keeps no shell")
        channel.sendall(f"{self._mark}\n".encode())

    @property
    def alive(self) -> bool:
        """Whether it takes another command."""
        return self.warden.alive and not self.ended

    @property
    def ended(self) -> bool:
        """Whether there is no shell any more; its relays may still be there."""
        return ended(self.channel)

    def turn(self) -> Turn:
        """For the next command. Begin it before that is started."""
        return Turn(self, self._mark.encode())

    def start(self, order: Order) -> None:
        """Give it a command. Raises what a channel raises."""
        self.channel.sendall(b"%d %d\n%b\n" % (order.id, order.command.count(b"\n") + 1, order.command))

    def close(self) -> None:
        """End it, with what it runs."""
        self.warden.kill(self._number)
        self.channel.close()


class Turn:
    """One command on a runner: to :class:`SshProcess` it is a channel that takes no input."""

    out_window_size = 0

    def __init__(self, runner: Runner, mark: bytes) -> None:
        self._runner, self._mark = runner, mark
        self._lock = threading.Lock()  # one thread may end a command while another reads from it
        self._pieces: dict[Pipe, deque[bytes]] = {"stdout": deque(), "stderr": deque()}
        self._held: dict[Pipe, bytes] = {"stdout": b"", "stderr": b""}
        self._open: set[Pipe] = {"stdout", "stderr"}
        self._left = False
        self._status = -1

    @property
    def closed(self) -> bool:
        return self._left or self._runner.ended

    @property
    def eof_received(self) -> bool:
        self._hear()
        return not self._open or self.closed

    @property
    def exit_status(self) -> int:
        """-1 until both pipes have come to their end: only then the shell is free for another."""
        return -1 if self._open else self._status

    def recv_ready(self) -> bool:
        self._hear()
        return bool(self._pieces["stdout"])

    def recv(self, size: int) -> bytes:
        del size
        return self._pieces["stdout"].popleft()

    def recv_stderr_ready(self) -> bool:
        self._hear()
        return bool(self._pieces["stderr"])

    def recv_stderr(self, size: int) -> bytes:
        del size
        return self._pieces["stderr"].popleft()

    def skip(self) -> None:
        """Hear what there is, and keep only some of it."""
        while self._hear():
            for pieces in self._pieces.values():
                while len(pieces) > _KEPT:
                    pieces.popleft()

    def settimeout(self, seconds: float) -> None:
        """Nothing here waits."""

    def send(self, data: bytes) -> int:
        """It takes no input, and does not complain."""
        return len(data)

    def shutdown_write(self) -> None:
        """It has none."""

    def close(self) -> None:
        """The end of its turn; a runner whose command is not known to have ended ends with it."""
        self.skip()
        with self._lock:
            self._left = True
        if self._open:
            self._runner.close()

    def _hear(self) -> bool:
        """Take one reading of each pipe; whether there was anything."""
        channel, news = self._runner.channel, False
        with self._lock:
            if not self._left:
                if "stdout" in self._open and channel.recv_ready():
                    self._take("stdout", channel.recv(_READ))
                    news = True
                if "stderr" in self._open and channel.recv_stderr_ready():
                    self._take("stderr", channel.recv_stderr(_READ))
                    news = True
        return news

    def _take(self, pipe: Pipe, data: bytes) -> None:
        """Sort the mark out, which may come in parts."""
        before, mark, after = (self._held[pipe] + data).partition(self._mark)
        keep = mark + after
        if after.endswith(b"\n"):
            self._open.discard(pipe)
            if pipe == "stdout":
                self._status = int(after)
        elif not mark:
            longest = min(len(self._mark) - 1, len(before))
            size = next((n for n in range(longest, 0, -1) if before.endswith(self._mark[:n])), 0)
            before, keep = before[: len(before) - size], before[len(before) - size :]
        self._held[pipe] = keep
        if before:
            self._pieces[pipe].append(before)
