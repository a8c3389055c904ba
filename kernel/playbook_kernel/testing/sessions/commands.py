"""Commands: what goes in and comes out, how they end, and connections and threads beside them."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from playbook_kernel.errors import (
    Cancelled,
    CommandFailed,
    CommandTimeout,
    PhaseTimeout,
    Unreachable,
)
from playbook_kernel.scope import Cancel, run_all, within

from .asking import MIB, Opened, all_well, drained, folder_on, gone, numbers, promise, raised, sent

NASTY = (
    "", " ", "a b", "'", '"', "it's \"both\"", "$HOME", "$(id)", "`id`", "\\", "\\n", "a\nb", "\n", "*", "?", "[a]", "~", "#",
    "!", "!!", "&", ";", "|", "<", ">", "(", ")", "{a,b}", "-n", "--", "-", "=ls", "A=b", "%s", "é漢🎉",
    "\t", "\r", "a\r\n", "\x01",
)  # fmt: skip
_SLEEPER = "echo $$; exec sleep 1000"
# A child and a grandchild, all three of which would rather not end; the first line says their numbers.
_FAMILY = """\
trap '' TERM
sh -c 'trap "" TERM; sleep 1000 & echo $! $$; wait' | { read -r a b; echo "$a $b $$"; exec sleep 1000; }
"""


@promise
def check_exit_status(opened: Opened, here: Path) -> None:
    """The status is the command's own: numbers, signals as 128 + n, 127 for no such command."""
    with opened() as session:
        for status in (0, 1, 2, 126, 254, 255):
            assert session.run(["sh", "-c", f"exit {status}"], check=False).status == status
        for name, number in (("TERM", 15), ("KILL", 9), ("SEGV", 11)):
            done = session.run(["sh", "-c", f"ulimit -c 0; kill -{name} $$"], check=False)
            assert done.status == 128 + number, name
        assert session.run(["playbook-no-such-command"], check=False).status == 127
        failed = raised(lambda: session.run(["sh", "-c", "echo why >&2; exit 3"]), CommandFailed)
        assert failed.status == 3
        assert "why" in failed.stderr


@promise
def check_output(opened: Opened, here: Path) -> None:
    """Both pipes arrive whole and apart, 3 MiB on each: one after the other, and at the same time."""
    size = 3 * MIB
    fill = f"head -c {size} /dev/zero | tr '\\0'"
    with opened() as session:
        for script in (f"{fill} e >&2; {fill} o", f"{fill} o; {fill} e >&2", f"{fill} e >&2 & {fill} o; wait"):
            done = session.run(["sh", "-c", script])
            assert done.stdout == b"o" * size
            assert done.stderr == b"e" * size
            assert not done.truncated
        cut = session.run(["sh", "-c", f"{fill} o"], limit=1000)
        assert cut.stdout == b"o" * 1000
        assert cut.truncated


@promise
def check_live_output(opened: Opened, here: Path) -> None:
    """Output comes as it is printed: the command waits for our answer to its line."""
    with opened() as session, session.start(["sh", "-c", "echo one; read -r x; echo $x"], stdin=True, timeout=60) as p:
        lines = p.lines()
        assert next(lines) == ("stdout", "one")
        p.write(b"two\n")
        assert next(lines) == ("stdout", "two")
        assert p.wait() == 0


@promise
def check_input(opened: Opened, here: Path) -> None:
    """Input arrives whole, also beside output; it is empty unless asked for; who does not read it loses nothing."""
    data = os.urandom(5 * MIB)
    with opened() as session:
        assert session.run(["cat"], stdin=data).stdout == data
        assert session.run(["cat"], stdin=b"").stdout == b""
        assert session.run(["cat"]).stdout == b""
        assert session.run(["sh", "-c", "head -c 3; exit 5"], stdin=data, check=False).status == 5
        with session.start(["cat"], stdin=True, timeout=60) as process:
            process.write(b"x")
            process.end_input()
            process.end_input()
            assert process.wait() == 0


@promise
def check_arguments(opened: Opened, here: Path) -> None:
    """Every argument arrives as it is, whatever is in it, and however many there are."""
    with opened() as session:
        script = 'for a in "$@"; do printf "%s\\0" "$a"; done'
        got = session.run(["sh", "-c", script, "-", *NASTY]).stdout.decode()
        assert got == "".join(f"{a}\0" for a in NASTY)
        long = [f"{i}-{'x' * 20_000}" for i in range(30)]
        assert session.run(["sh", "-c", 'for a in "$@"; do echo "$a"; done', "-", *long]).text.splitlines() == long
        assert session.run(["echo", 1, Path("/a b")]).text == "1 /a b\n"


@promise
def check_environment(opened: Opened, here: Path) -> None:
    """Values arrive as they are, with the owner's mark, and no argument list shows them while the command runs."""
    env = {f"PK_{i}": value for i, value in enumerate(NASTY)}
    secret = f"planted-{os.urandom(8).hex()}"
    with opened() as session:
        assert session.owner, "the session must be opened with an owner"
        rows = session.run(["env", "-0"], env=env).stdout.decode().split("\0")
        assert {f"{k}={v}" for k, v in env.items()} <= set(rows)
        assert f"PLAYBOOK_OWNER={session.owner}" in rows
        fed = session.run(["sh", "-c", 'cat; echo "$PK"'], env={"PK": "a\nb"}, stdin=b"input\n")
        assert fed.text == "input\na\nb\n"
        with session.start(["sh", "-c", "echo up; sleep 1000"], env={"PK": secret}, timeout=60) as process:
            assert next(process.lines()) == ("stdout", "up")
            shown = session.run(["sh", "-c", "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '"], check=False).text
            assert "sleep 1000" in shown
            assert secret not in shown


@promise
def check_cwd(opened: Opened, here: Path) -> None:
    """A command runs where it is told to, and nowhere else."""
    with opened() as session, folder_on(session) as folder:
        odd = f"{folder}/- a 'b'"
        session.run(["mkdir", "--", odd])
        assert session.run(["pwd"], cwd=odd).text == f"{odd}\n"
        assert session.run(["touch", f"{folder}/ran"], cwd=f"{folder}/missing", check=False).status != 0
        assert session.run(["test", "-e", f"{folder}/ran"], check=False).status == 1


# -- how commands end ---------------------------------------------------------------------------------------------


@promise
def check_deadline(opened: Opened, here: Path) -> None:
    """A command that is not done in time is killed with all of its group, even if they ignore TERM."""
    with opened() as session:
        process = session.start(["sh", "-c", _FAMILY], timeout=3)
        pids = numbers(process)
        raised(lambda: drained(process), CommandTimeout)
        gone(session, pids)
        raised(lambda: session.run(["sleep", "1000"], timeout=0.2), CommandTimeout)
        with within(seconds=0.2):
            raised(lambda: session.run(["sleep", "1000"]), CommandTimeout, PhaseTimeout)


@promise
def check_kill(opened: Opened, here: Path) -> None:
    """Kill ends the whole group, and is harmless twice; so does leaving the block."""
    with opened() as session:
        process = session.start(["sh", "-c", _FAMILY], timeout=60)
        pids = numbers(process)
        process.kill()
        process.kill()
        gone(session, pids)
        with session.start(["sh", "-c", _SLEEPER], stdin=True, timeout=60) as process:
            pids = numbers(process)
        gone(session, pids)
        process.kill()
        assert session.run(["echo", "alive"]).text == "alive\n"


@promise
def check_cancel(opened: Opened, here: Path) -> None:
    """Somebody who cancels ends the wait and the command; a command after that does not begin."""
    with opened() as session:
        cancel = Cancel()
        with within(cancel=cancel):
            process = session.start(["sh", "-c", _FAMILY], timeout=60)
            pids = numbers(process)
            threading.Timer(0.1, cancel.set, ["enough"]).start()
            raised(lambda: drained(process), Cancelled)
            raised(lambda: session.run(["true"]), Cancelled)
        gone(session, pids)
        fed = Cancel()
        with within(cancel=fed):
            threading.Timer(0.1, fed.set, ["enough"]).start()
            raised(lambda: session.run(["sleep", "1000"], stdin=b"x" * (8 * MIB)), Cancelled)
        assert session.run(["echo", "alive"]).text == "alive\n"


@promise
def check_close(opened: Opened, here: Path) -> None:
    """Closing kills what still runs and is harmless twice; nothing can be started afterwards."""
    session = opened()
    pids = numbers(session.start(["sh", "-c", _FAMILY], timeout=60))
    pids += numbers(session.start(["sh", "-c", _SLEEPER], stdin=True, timeout=60))
    session.close()
    session.close()
    raised(lambda: session.run(["true"]), Unreachable)
    with opened() as other:
        gone(other, pids)


@promise
def check_leftovers(opened: Opened, here: Path) -> None:
    """A command ends with its first process; what that left in its group goes too, and holds nobody up."""
    with opened() as session:
        done = session.run(["sh", "-c", "sleep 1000 & echo $!; exit 4"], check=False, timeout=60)
        assert done.status == 4
        gone(session, [int(done.text)])


# -- connections and threads --------------------------------------------------------------------------------------


@promise
def check_dial(opened: Opened, host: str, port: int) -> None:
    """``host:port`` as the node sees it must send back what it gets until we end; the port after it must be closed."""
    data = os.urandom(MIB)
    with opened() as session:
        with session.dial(host, port) as sock:
            sender = threading.Thread(target=sent, args=(sock, data))
            sender.start()
            got = bytearray()
            while len(got) < len(data) and (piece := sock.recv(65536)):
                got += piece
            sender.join()
            assert bytes(got) == data
        raised(lambda: session.dial(host, port + 1).close(), ConnectionError, Unreachable)


@promise
def check_threads(opened: Opened, here: Path) -> None:
    """32 threads on one session, each with commands and files of its own, and 100 commands at once."""
    with opened() as session, folder_on(session) as folder:

        def work(number: int) -> None:
            for turn in range(3):
                text = f"{number}.{turn}"
                assert session.run(["echo", text]).text == f"{text}\n"
                assert session.run(["cat"], stdin=text.encode()).text == text
            session.put_bytes(str(number).encode(), f"{folder}/{number}")
            session.get(f"{folder}/{number}", here / str(number))
            assert (here / str(number)).read_text() == str(number)

        all_well(run_all([lambda n=n: work(n) for n in range(32)]))  # type: ignore[misc]
        echoes = run_all([lambda n=n: session.run(["echo", n]).text for n in range(100)])  # type: ignore[misc]
        all_well(echoes)
        assert echoes == [f"{n}\n" for n in range(100)]
