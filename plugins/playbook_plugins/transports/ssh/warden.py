"""The warden: one POSIX sh program per connection that ends commands when nobody else can.

Commands run as sshd starts them, with nothing in between: each leads a process group of its own and tells the warden
its number before it becomes what it shall be. The warden kills a group when we say so, when the time that the group was
given has passed even for the node's own clock, and, all of them, when its connection to us has ended.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import re
import shlex
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import paramiko
from attrs import field, frozen
from playbook_kernel.api import AuthenticationFailed, Unreachable

from playbook_plugins.transports.guard import SLACK

from .channels import ended, hear, listen

TICK = 5
"""How often, in seconds, the warden looks at the clock: a deadline may pass by that much when we cannot act on it."""

UNGUARDED = 254
"""The status of a command that found no warden, and did not run."""

_NEVER = 10**9
_PATIENCE = 5.0
_LONG = 100_000  # the kernel takes no argument of more than 128 KiB, and to sshd the whole command is one
_PLAIN_SHELLS = frozenset({"sh", "bash", "dash", "ash", "ksh", "mksh"})

# Lines on its pipe: `+ ID GROUP SECONDS` from a command, and from us `k ID` (TERM), `K ID` (KILL), `- ID` (it has ended:
# what is left of its group goes too); `r ID GROUP DIR` from the runner, which has no deadline and leaves a folder. `p1`: the
# group of command 1, `d1`: when it must have ended. `a` asks it for a line. Commands
# of the runner say their number a moment before they lead their group. An answer to `a` may meet a connection that is gone,
# and then there is most to do: no SIGPIPE may end it.
SCRIPT = f"""\
trap '' HUP INT TERM
read -r a a a a g a </proc/$$/stat
{{
  {{ while sleep {TICK}; do echo t; done; }} &
  while read -r l; do echo "$l"; done
  kill -KILL $!
  echo .
}} 2>/dev/null | {{
  trap '' PIPE
  read -r me a </proc/self/stat
  echo "playbook-guard: $me $$ $g ${{SHELL##*/}}." >&2
  echo "playbook-guard: $me $$ $g ${{SHELL##*/}}."
  exec 2>/dev/null
  now=0 ids= early= runs= dir=
  forget() {{ unset "p$1" "d$1"; l=; for j in $ids; do [ "$j" = "$1" ] || l="$l $j"; done; ids=$l; }}
  all() {{ for i in $ids; do eval "kill -$1 -\\$p$i"; done; }}
  tidy() {{ if [ -n "$dir" ]; then kill -KILL -$group; rm -f "$dir"/[oOeE]; rmdir "$dir"; fi; dir= runs=; }}
  while read -r w i p s; do
    case $w in
    r) tidy; runs=$i group=$p dir=$s;;
    +) eval "p$i=\\$p d$i=\\$((now + s))"; ids="$ids $i"
       case "$early " in *" $i "*) kill -KILL -$p || kill -KILL $p;; esac;;
    -) eval "p=\\${{p$i-}}"; [ -z "$p" ] || {{ kill -KILL -$p; forget "$i"; }};;
    k) eval "p=\\${{p$i-}}"; if [ -n "$p" ]; then kill -TERM -$p || kill -TERM $p; else early="$early $i"; fi;;
    K) if [ "$i" = "$runs" ]; then tidy; else eval "p=\\${{p$i-}}"; [ -z "$p" ] || kill -KILL -$p || kill -KILL $p; fi;;
    t) now=$((now + {TICK}))
       for i in $ids; do
         eval "p=\\$p$i d=\\$d$i"
         if [ $now -ge $((d + {TICK})) ]; then kill -KILL -$p; elif [ $now -ge $d ]; then kill -TERM -$p; fi
       done;;
    a) echo;;
    .) break;;
    esac
  done
  tidy
  [ -z "$ids" ] || {{ all TERM; sleep 2; all KILL; }}
}}
"""

_HELLO = re.compile(rb"playbook-guard: (\d+) (\d+) (\d+) (\S*)\.\n")


@frozen
class Sudo:
    """How commands of root's are asked for; ``password`` is given only to who asks for it."""

    password: str | None = None

    def words(self) -> list[str]:
        """What stands before the command."""
        asking = ["-n"] if self.password is None else ["-S", "-p", ""]
        return ["sudo", *asking, "--"]


@frozen
class Wish:
    """A command that somebody wants. ``timeout`` in seconds."""

    words: Sequence[str]
    env: Mapping[str, str] = field(factory=dict)
    cwd: str | None = None
    owner: str = ""
    timeout: float | None = None
    stdin: bool = False


@frozen
class Order:
    """What to ask for, and what goes to its standard input first. ``mark``: output up to this line is not its own."""

    id: int
    command: bytes
    header: bytes = b""
    mark: bytes = b""


class Warden:
    """Our end of the warden of one connection, on a session of its own. Raises Unreachable, AuthenticationFailed (sudo)."""

    def __init__(self, node: str, channel: paramiko.Channel, sudo: Sudo | None, timeout: float) -> None:
        self._sudo = sudo
        self._ids = itertools.count(1)
        self._lock, self._asking = threading.Lock(), threading.Lock()
        # Not a secret, but nothing that a command or its input would contain by chance.
        self._mark = f"playbook-go-{id(self):x}-{time.monotonic_ns():x}"
        self.channel = channel
        try:
            self.channel.settimeout(timeout)
            self._bell = listen(self.channel)
            words = [] if sudo is None else sudo.words()
            self.channel.exec_command(b"exec " + shlex.join([*words, "sh", "-c", SCRIPT, "playbook-guard"]).encode())
            if sudo is not None and sudo.password is not None:
                self.channel.sendall(sudo.password.encode() + b"\n\n\n")  # sudo asks three times
            found, self.noisy = self._hello(node, timeout)
        except BaseException:
            self.channel.close()
            raise
        self.pipe = f"/proc/{int(found[1])}/fd/0"
        self._leads = found[2] == found[3]  # whether this sshd makes each command the leader of a group
        self._plain = found[4].decode("ascii", "replace") in _PLAIN_SHELLS

    @property
    def alive(self) -> bool:
        """Whether it can still be told something."""
        return not ended(self.channel)

    def _hello(self, node: str, timeout: float) -> tuple[re.Match[bytes], bool]:
        """Wait for its first line; what comes before it is the noise of a login script."""
        found, said = hear(self.channel, self._bell, _HELLO, time.monotonic() + timeout)
        if found:
            return found["stdout"], any(m.start() for m in found.values())
        why = said["stderr"].decode("utf-8", "replace").strip() or "no answer"
        if self._sudo is not None:
            raise AuthenticationFailed(
                node, f"sudo: {why}", hint="sudo without a password, or set password for the node"
            )
        raise Unreachable(node, f"the node runs no commands: {why}")

    def number(self) -> int:
        """A number that nothing else has here."""
        return next(self._ids)

    def line(self, wish: Wish) -> Order:
        """What sshd runs for a command under this warden. Values of ``env`` go over standard input, never into an argument."""
        number, exports, call = self.number(), _exports(wish), _call(wish)
        if len(call.encode()) > _LONG:
            exports, call = f"{exports}set -- {call}\n", '"$@"'
        rows = self._first(number, wish)
        if self.noisy:
            rows.append(f"echo {self._mark}; echo {self._mark} >&2")
        if exports:
            rows.append(_READ_HEADER.replace("MARK", self._mark))
            exports += f"{self._mark}\n"
        rows += _into(wish)
        rows.append(f"exec {call}" if wish.stdin else f"exec {call} </dev/null")
        header = exports.encode(errors="surrogateescape")
        if self._sudo is not None and self._sudo.password is not None:
            # sudo takes one line, or none if it needs no password; what it left is dropped here. It asks three times.
            rows.insert(0, f'while read -r l && [ "$l" != {self._mark} ]; do :; done; read -r l')
            header = f"{self._sudo.password}\n{self._mark}\n{self._mark}\n".encode() + header
        script = "\n".join(rows)
        if self._sudo is not None:
            script = "exec " + shlex.join([*self._sudo.words(), "setsid", "-w", "sh", "-c", script])
        elif not self._leads:
            script = "exec " + shlex.join(["setsid", "-w", "sh", "-c", script])
        elif not self._plain:
            script = "exec " + shlex.join(["sh", "-c", script])
        mark = f"{self._mark}\n".encode() if self.noisy else b""
        return Order(number, script.encode(errors="surrogateescape"), header, mark)

    def text(self, wish: Wish) -> Order:
        """What a process of the runner evaluates to become a command under this warden, which leads a group."""
        number = self.number()
        rows = [f"playbook_in {number} {_seconds(wish)}", *_owned(wish), _exports(wish), *_into(wish)]
        rows.append(f"playbook_go {_call(wish)}")
        return Order(number, "\n".join(filter(None, rows)).encode(errors="surrogateescape"))

    def _first(self, number: int, wish: Wish) -> list[str]:
        """What a command does before anything else: without a warden it does not run."""
        told = f'{{ echo "+ {number} $$ {_seconds(wish)}" >{self.pipe}; }} 2>/dev/null || exit {UNGUARDED}'
        return [told, *_owned(wish)]

    def leading(self, words: Sequence[str]) -> bytes:
        """What to ask sshd for, for a program that leads a group."""
        return b"exec " + shlex.join(words if self._leads else ["setsid", "-w", *words]).encode()

    def end(self, number: int) -> None:
        """Ask a command to end."""
        self._say("k", number)

    def kill(self, number: int) -> None:
        """End it without asking."""
        self._say("K", number)

    def answers(self) -> bool:
        """Ask it whether it is there. One that does not say so within a few seconds is given up."""
        with self._asking:
            self._say("a")
            end = time.monotonic() + _PATIENCE
            while self.alive and (left := end - time.monotonic()) > 0:
                heard = self._bell.rings
                if self.channel.recv_ready():
                    self.channel.recv(1)
                    return True
                self._bell.wait(heard, left)
            self.channel.close()
            return False

    def ended(self, number: int) -> None:
        """It has ended: what it left behind in its group goes too."""
        self._say("-", number)

    def _say(self, what: str, number: int = 0) -> None:
        with self._lock, contextlib.suppress(OSError, EOFError, paramiko.SSHException):
            self.channel.sendall(f"{what} {number}\n".encode())


_READ_HEADER = """\
e=
while IFS= read -r l && [ "$l" != MARK ]; do e="$e$l
"; done
eval "$e\""""


def _seconds(wish: Wish) -> int:
    return _NEVER if wish.timeout is None else math.ceil(wish.timeout) + SLACK


def _owned(wish: Wish) -> list[str]:
    return [f"export PLAYBOOK_OWNER={_quoted(wish.owner)}"] if wish.owner else []


def _exports(wish: Wish) -> str:
    return "".join(f"export {k}={_quoted(v)}\n" for k, v in wish.env.items())


def _call(wish: Wish) -> str:
    return " ".join(map(_quoted, wish.words))


def _into(wish: Wish) -> list[str]:
    return [] if wish.cwd is None else [f"cd -- {_quoted(wish.cwd)} || exit 126"]


def _quoted(word: Any) -> str:
    """One word for a shell, quoted whatever it is: `=x` and `~` mean something to some.

    >>> print(_quoted("it's"))
    'it'"'"'s'
    """
    return "'" + str(word).replace("'", "'\"'\"'") + "'"
