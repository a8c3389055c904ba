"""What every :class:`Session` keeps, as checks for whoever writes a transport.

Each check takes ``opened``, which opens a new session to one and the same node, and ``here``, an empty folder on this
machine. The node must be a throw-away one, or this machine: processes are started there, and files are written below a
folder of its own in ``/tmp``. With pytest::

    @pytest.mark.parametrize("check", CHECKS, ids=lambda c: c.__name__)
    def test_session(check, tmp_path):
        check(lambda: MyTransport(options).connect(node, owner="pk-test"), tmp_path)

``owner`` must not be empty. Nothing here waits for a fixed time; what takes its time is asked for until it is so. A promise that
is broken is an AssertionError that says which.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import ParamSpec, TypeVar

from playbook_kernel.errors import (
    Cancelled,
    CommandFailed,
    CommandTimeout,
    NodeError,
    OutcomeUnknown,
    PhaseTimeout,
    PlaybookError,
    TransferFailed,
    Unreachable,
)
from playbook_kernel.scope import Cancel, current, run_all, within
from playbook_kernel.session import Process, Session
from playbook_kernel.testing.fakes import Answer, Hang, Said

E = TypeVar("E", bound=BaseException)
Opened = Callable[[], Session]
_P = ParamSpec("_P")
MIB = 1024 * 1024
NASTY = (
    "", " ", "a b", "'", '"', "it's \"both\"", "$HOME", "$(id)", "`id`", "\\", "\\n", "a\nb", "\n", "*", "?", "[a]", "~", "#",
    "!", "!!", "&", ";", "|", "<", ">", "(", ")", "{a,b}", "-n", "--", "-", "=ls", "A=b", "%s", "é漢🎉",
    "\t", "\r", "a\r\n", "\x01",
)  # fmt: skip
_PATIENCE = 20.0
_SLEEPER = "echo $$; exec sleep 1000"
# A child and a grandchild, all three of which would rather not end; the first line says their numbers.
_FAMILY = """\
trap '' TERM
sh -c 'trap "" TERM; sleep 1000 & echo $! $$; wait' | { read -r a b; echo "$a $b $$"; exec sleep 1000; }
"""


def _promise(check: Callable[_P, None]) -> Callable[_P, None]:
    """A complaint begins with what was promised: a bare assertion says nothing where no test runner rewrites it."""

    @functools.wraps(check)
    def told(*args: _P.args, **named: _P.kwargs) -> None:
        try:
            check(*args, **named)
        except (AssertionError, PlaybookError, OSError) as error:
            raise AssertionError(f"this is not so: {check.__doc__}\n{error}".strip()) from error

    return told


# -- commands -----------------------------------------------------------------------------------------------------


@_promise
def check_exit_status(opened: Opened, here: Path) -> None:
    """The status is the command's own: numbers, signals as 128 + n, 127 for no such command."""
    with opened() as session:
        for status in (0, 1, 2, 126, 254, 255):
            assert session.run(["sh", "-c", f"exit {status}"], check=False).status == status
        for name, number in (("TERM", 15), ("KILL", 9), ("SEGV", 11)):
            done = session.run(["sh", "-c", f"ulimit -c 0; kill -{name} $$"], check=False)
            assert done.status == 128 + number, name
        assert session.run(["playbook-no-such-command"], check=False).status == 127
        failed = _raised(lambda: session.run(["sh", "-c", "echo why >&2; exit 3"]), CommandFailed)
        assert failed.status == 3
        assert "why" in failed.stderr


@_promise
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


@_promise
def check_live_output(opened: Opened, here: Path) -> None:
    """Output comes as it is printed: the command waits for our answer to its line."""
    with opened() as session, session.start(["sh", "-c", "echo one; read -r x; echo $x"], stdin=True, timeout=60) as p:
        lines = p.lines()
        assert next(lines) == ("stdout", "one")
        p.write(b"two\n")
        assert next(lines) == ("stdout", "two")
        assert p.wait() == 0


@_promise
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


@_promise
def check_arguments(opened: Opened, here: Path) -> None:
    """Every argument arrives as it is, whatever is in it, and however many there are."""
    with opened() as session:
        script = 'for a in "$@"; do printf "%s\\0" "$a"; done'
        got = session.run(["sh", "-c", script, "-", *NASTY]).stdout.decode()
        assert got == "".join(f"{a}\0" for a in NASTY)
        long = [f"{i}-{'x' * 20_000}" for i in range(30)]
        assert session.run(["sh", "-c", 'for a in "$@"; do echo "$a"; done', "-", *long]).text.splitlines() == long
        assert session.run(["echo", 1, Path("/a b")]).text == "1 /a b\n"


@_promise
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


@_promise
def check_cwd(opened: Opened, here: Path) -> None:
    """A command runs where it is told to, and nowhere else."""
    with opened() as session, _folder(session) as folder:
        odd = f"{folder}/- a 'b'"
        session.run(["mkdir", "--", odd])
        assert session.run(["pwd"], cwd=odd).text == f"{odd}\n"
        assert session.run(["touch", f"{folder}/ran"], cwd=f"{folder}/missing", check=False).status != 0
        assert session.run(["test", "-e", f"{folder}/ran"], check=False).status == 1


# -- how commands end ---------------------------------------------------------------------------------------------


@_promise
def check_deadline(opened: Opened, here: Path) -> None:
    """A command that is not done in time is killed with all of its group, even if they ignore TERM."""
    with opened() as session:
        process = session.start(["sh", "-c", _FAMILY], timeout=3)
        pids = _numbers(process)
        _raised(lambda: _drained(process), CommandTimeout)
        _gone(session, pids)
        _raised(lambda: session.run(["sleep", "1000"], timeout=0.2), CommandTimeout)
        with within(seconds=0.2):
            _raised(lambda: session.run(["sleep", "1000"]), CommandTimeout, PhaseTimeout)


@_promise
def check_kill(opened: Opened, here: Path) -> None:
    """Kill ends the whole group, and is harmless twice; so does leaving the block."""
    with opened() as session:
        process = session.start(["sh", "-c", _FAMILY], timeout=60)
        pids = _numbers(process)
        process.kill()
        process.kill()
        _gone(session, pids)
        with session.start(["sh", "-c", _SLEEPER], stdin=True, timeout=60) as process:
            pids = _numbers(process)
        _gone(session, pids)
        process.kill()
        assert session.run(["echo", "alive"]).text == "alive\n"


@_promise
def check_cancel(opened: Opened, here: Path) -> None:
    """Somebody who cancels ends the wait and the command; a command after that does not begin."""
    with opened() as session:
        cancel = Cancel()
        with within(cancel=cancel):
            process = session.start(["sh", "-c", _FAMILY], timeout=60)
            pids = _numbers(process)
            threading.Timer(0.1, cancel.set, ["enough"]).start()
            _raised(lambda: _drained(process), Cancelled)
            _raised(lambda: session.run(["true"]), Cancelled)
        _gone(session, pids)
        fed = Cancel()
        with within(cancel=fed):
            threading.Timer(0.1, fed.set, ["enough"]).start()
            _raised(lambda: session.run(["sleep", "1000"], stdin=b"x" * (8 * MIB)), Cancelled)
        assert session.run(["echo", "alive"]).text == "alive\n"


@_promise
def check_close(opened: Opened, here: Path) -> None:
    """Closing kills what still runs and is harmless twice; nothing can be started afterwards."""
    session = opened()
    pids = _numbers(session.start(["sh", "-c", _FAMILY], timeout=60))
    pids += _numbers(session.start(["sh", "-c", _SLEEPER], stdin=True, timeout=60))
    session.close()
    session.close()
    _raised(lambda: session.run(["true"]), Unreachable)
    with opened() as other:
        _gone(other, pids)


@_promise
def check_leftovers(opened: Opened, here: Path) -> None:
    """A command ends with its first process; what that left in its group goes too, and holds nobody up."""
    with opened() as session:
        done = session.run(["sh", "-c", "sleep 1000 & echo $!; exit 4"], check=False, timeout=60)
        assert done.status == 4
        _gone(session, [int(done.text)])


# -- files --------------------------------------------------------------------------------------------------------


@_promise
def check_files(opened: Opened, here: Path) -> None:
    """Files arrive whole both ways, under any name, with their mode, in folders that were not there."""
    data = os.urandom(3 * MIB + 17)
    source = here / "source"
    source.write_bytes(data)
    with opened() as session, _folder(session) as folder:
        for name in ("plain", "a b", "-n", "quo'te\"", "new\nline", "é漢"):
            remote = f"{folder}/deep/er/{name}"
            session.put(source, remote, mode=0o640)
            assert session.run(["stat", "-c", "%a %s", "--", remote]).text == f"640 {len(data)}\n"
            assert session.get(remote, here / "in" / "back") == len(data)
            assert (here / "in" / "back").read_bytes() == data
        session.put_bytes(b"", f"{folder}/empty", mode=0o600)
        assert session.get(f"{folder}/empty", here / "back") == 0
        assert session.get(f"{folder}/deep/er/plain", here / "tail", limit=1000) == 1000
        assert (here / "tail").read_bytes() == data[-1000:]
        assert session.get(f"{folder}/deep/er/plain", here / "tail", limit=len(data) + 5) == len(data)
        assert session.run(["ls", "-A", folder]).text.split() == ["deep", "empty"], "something was left beside them"
        assert not [p for p in here.rglob("*") if p.name.startswith(".")], "something was left beside them"


@_promise
def check_replacing(opened: Opened, here: Path) -> None:
    """A file is replaced in one step: who has the old one open keeps it whole, and links are not followed."""
    with opened() as session, _folder(session) as folder:
        name, target = f"{folder}/file", f"{folder}/target"
        session.put_bytes(b"old\n", name)
        with session.start(["sh", "-c", 'exec <"$1"; echo open; sleep 1000 & wait', "-", name], timeout=60) as reader:
            lines = reader.lines()
            assert next(lines) == ("stdout", "open")
            held = session.run(["stat", "-c", "%i", name]).text
            session.put_bytes(b"new\n", name)
            assert session.run(["stat", "-c", "%i", name]).text != held
        assert session.run(["cat", name]).text == "new\n"
        session.put_bytes(b"target\n", target)
        session.run(["ln", "-s", target, f"{folder}/link"])
        session.put_bytes(b"other\n", f"{folder}/link")
        assert session.run(["cat", target, f"{folder}/link"]).text == "target\nother\n"
        kept = here / "kept"
        kept.write_bytes(b"before")
        with kept.open("rb") as old:
            session.get(name, kept)
            assert old.read() == b"before"
        assert kept.read_bytes() == b"new\n"


@_promise
def check_failed_files(opened: Opened, here: Path) -> None:
    """What cannot be copied fails by name and changes nothing."""
    with opened() as session, _folder(session) as folder:
        _raised(lambda: session.put(here / "missing", f"{folder}/x"), TransferFailed)
        _raised(lambda: session.get(f"{folder}/missing", here / "x"), TransferFailed)
        _raised(lambda: session.get(folder, here / "x"), TransferFailed)
        session.run(["mkdir", f"{folder}/d"])
        _raised(lambda: session.put_bytes(b"x", f"{folder}/d"), TransferFailed)
        session.put_bytes(b"x", f"{folder}/f")
        _raised(lambda: session.put_bytes(b"x", f"{folder}/f/below"), TransferFailed)
        (here / "old").write_text("old")
        _raised(lambda: session.get(f"{folder}/missing", here / "old"), TransferFailed)
        assert (here / "old").read_text() == "old"
        _raised(lambda: session.get(f"{folder}/f", here / "old" / "below"), TransferFailed)
        _raised(lambda: session.put_tree(here / "missing", f"{folder}/t"), TransferFailed)
        _raised(lambda: session.get_tree(f"{folder}/missing", here / "t"), TransferFailed)
        _raised(lambda: session.put_tree(here, f"{folder}/f"), TransferFailed)
        assert sorted(session.run(["ls", "-A", folder]).text.split()) == ["d", "f"]
        assert session.run(["cat", f"{folder}/f"]).text == "x"


@_promise
def check_trees(opened: Opened, here: Path) -> None:
    """Folders arrive with everything: links as links, odd names, modes, empty folders. What else is there stays."""
    source = here / "source"
    (source / "sub" / "empty").mkdir(parents=True)
    for name in ("plain", "a b", "-n", "new\nline", "é漢", "*", ".hidden"):
        (source / "sub" / name).write_text(name)
    (source / "run.sh").write_text("#!/bin/sh\n")
    (source / "run.sh").chmod(0o755)
    (source / "secret").write_text("s")
    (source / "secret").chmod(0o600)
    (source / "to-file").symlink_to("sub/plain")
    (source / "to-folder").symlink_to("sub")
    (source / "dangling").symlink_to("/nowhere/at/all")
    with opened() as session, _folder(session) as folder:
        session.put_bytes(b"stays", f"{folder}/t/other")
        session.put_bytes(b"old", f"{folder}/t/secret")
        session.put_tree(source, f"{folder}/t")
        assert session.run(["cat", f"{folder}/t/other"]).text == "stays"
        assert session.run(["stat", "-c", "%a", f"{folder}/t/run.sh", f"{folder}/t/secret"]).text == "755\n600\n"
        assert session.run(["readlink", f"{folder}/t/dangling"]).text == "/nowhere/at/all\n"
        back = here / "back"
        session.get_tree(f"{folder}/t", back)
    assert (back / "other").read_text() == "stays"
    (back / "other").unlink()
    assert _listing(back) == _listing(source)


@_promise
def check_no_escape(opened: Opened, here: Path) -> None:
    """Nothing that is fetched lands outside of its folder, whatever links are there or come along."""
    outside, inside = here / "outside", here / "inside"
    outside.mkdir()
    inside.mkdir()
    (outside / "precious").write_text("precious")
    (inside / "folder").symlink_to(outside)
    (inside / "file").symlink_to(outside / "precious")
    with opened() as session, _folder(session) as folder:
        session.put_bytes(b"evil", f"{folder}/t/folder/precious")
        session.put_bytes(b"evil", f"{folder}/t/file")
        session.get_tree(f"{folder}/t", inside)
        session.run(["ln", "-s", str(outside), f"{folder}/link"])
        session.run(["sh", "-c", 'mkdir "$1/u" && ln -s "$2" "$1/u/folder"', "-", folder, outside])
        session.get_tree(f"{folder}/u", here / "second")
    assert (outside / "precious").read_text() == "precious"
    assert [p.name for p in outside.iterdir()] == ["precious"]
    assert (inside / "folder" / "precious").read_text() == "evil"


@_promise
def check_full_target(opened: Opened, folder: str) -> None:
    """A node whose disk is full keeps the old file. ``folder``: on the node, empty, with room for less than 1 MiB."""
    with opened() as session:
        session.put_bytes(b"old", f"{folder}/file")
        _raised(lambda: session.put_bytes(b"x" * (4 * MIB), f"{folder}/file"), TransferFailed)
        assert session.run(["ls", "-A", folder]).text == "file\n"
        assert session.run(["cat", f"{folder}/file"]).text == "old"
        session.put_bytes(b"new", f"{folder}/file")
        assert session.run(["cat", f"{folder}/file"]).text == "new"


# -- what a fake keeps too ----------------------------------------------------------------------------------------

SAYS: Mapping[str, Answer] = {
    "echo *": lambda words: " ".join(words[1:]) + "\n",
    "sh -c 'echo why*": Said(stderr="why\n", status=3),
    "sh -c 'head *": Said("\0" * (3 * MIB), "\0" * (3 * MIB)),
    "sleep *": Hang(),
    "rm -rf *": "",
}
"""What a :class:`FakeSession` must be told to say for :data:`PORTABLE`."""


@_promise
def check_run(opened: Opened, here: Path) -> None:
    """A command's output and status come back whole; one that fails says so unless nobody asked."""
    with opened() as session:
        assert session.run(["echo", "a b", 1]).text == "a b 1\n"
        assert session.run(["sh", "-c", "echo why >&2; exit 3"], check=False).status == 3
        failed = _raised(lambda: session.run(["sh", "-c", "echo why >&2; exit 3"]), CommandFailed)
        assert (failed.status, failed.stderr) == (3, "why\n")
        done = session.run(["sh", "-c", f"head -c {3 * MIB} /dev/zero; head -c {3 * MIB} /dev/zero >&2"], limit=2 * MIB)
        assert done.stdout == done.stderr == bytes(2 * MIB)
        assert done.truncated
        echoes = run_all([lambda n=n: session.run(["echo", n]).text for n in range(32)])  # type: ignore[misc]
        assert echoes == [f"{n}\n" for n in range(32)]


@_promise
def check_stop(opened: Opened, here: Path) -> None:
    """Its own limit, the scope's, a cancellation and a kill each end a command; what is closed starts none."""
    with opened() as session:
        _raised(lambda: session.run(["sleep", "1000"], timeout=0.2), CommandTimeout)
        with within(seconds=0.2):
            _raised(lambda: session.run(["sleep", "1000"]), CommandTimeout, PhaseTimeout)
        cancel = Cancel()
        with within(cancel=cancel):
            threading.Timer(0.1, cancel.set, ["enough"]).start()
            _raised(lambda: session.run(["sleep", "1000"]), Cancelled)
            _raised(lambda: session.run(["echo"]), Cancelled)
        process = session.start(["sleep", "1000"], timeout=60)
        process.kill()
        process.kill()
        session.close()
        session.close()
        _raised(lambda: session.run(["echo"]), Unreachable)


@_promise
def check_copies(opened: Opened, here: Path) -> None:
    """Files and folders come back as they were sent; what is not there fails by name, and changes nothing."""
    folder, data = f"/tmp/playbook-check.{os.urandom(6).hex()}", os.urandom(5000)  # noqa: S108 - on the node
    (here / "tree" / "sub").mkdir(parents=True)
    (here / "tree" / "sub" / "a b").write_bytes(data)
    with opened() as session:
        try:
            session.put(here / "tree" / "sub" / "a b", f"{folder}/one")
            session.put_bytes(data, f"{folder}/two", mode=0o600)
            for name in ("one", "two"):
                assert session.get(f"{folder}/{name}", here / "in" / name) == len(data)
                assert (here / "in" / name).read_bytes() == data
            assert session.get(f"{folder}/one", here / "tail", limit=10) == 10
            assert (here / "tail").read_bytes() == data[-10:]
            session.put_tree(here / "tree", f"{folder}/tree")
            session.get_tree(f"{folder}/tree", here / "back")
            assert (here / "back" / "sub" / "a b").read_bytes() == data
            _raised(lambda: session.put(here / "missing", f"{folder}/one"), TransferFailed)
            _raised(lambda: session.put_tree(here / "missing", f"{folder}/tree"), TransferFailed)
            _raised(lambda: session.get(f"{folder}/missing", here / "tail"), TransferFailed)
            _raised(lambda: session.get_tree(f"{folder}/missing", here / "back"), TransferFailed)
            assert session.get(f"{folder}/one", here / "again") == len(data)
            assert (here / "tail").read_bytes() == data[-10:]
        finally:
            session.run(["rm", "-rf", folder])


PORTABLE = (check_run, check_stop, check_copies)
"""Those of :data:`CHECKS` that say nothing about a node's programs, so that a fake can keep them as well."""


# -- connections and threads --------------------------------------------------------------------------------------


@_promise
def check_dial(opened: Opened, host: str, port: int) -> None:
    """``host:port`` as the node sees it must send back what it gets until we end; the port after it must be closed."""
    data = os.urandom(MIB)
    with opened() as session:
        with session.dial(host, port) as sock:
            sender = threading.Thread(target=_sent, args=(sock, data))
            sender.start()
            got = bytearray()
            while len(got) < len(data) and (piece := sock.recv(65536)):
                got += piece
            sender.join()
            assert bytes(got) == data
        _raised(lambda: session.dial(host, port + 1).close(), ConnectionError, Unreachable)


@_promise
def check_threads(opened: Opened, here: Path) -> None:
    """32 threads on one session, each with commands and files of its own, and 100 commands at once."""
    with opened() as session, _folder(session) as folder:

        def work(number: int) -> None:
            for turn in range(3):
                text = f"{number}.{turn}"
                assert session.run(["echo", text]).text == f"{text}\n"
                assert session.run(["cat"], stdin=text.encode()).text == text
            session.put_bytes(str(number).encode(), f"{folder}/{number}")
            session.get(f"{folder}/{number}", here / str(number))
            assert (here / str(number)).read_text() == str(number)

        _all_well(run_all([lambda n=n: work(n) for n in range(32)]))  # type: ignore[misc]
        echoes = run_all([lambda n=n: session.run(["echo", n]).text for n in range(100)])  # type: ignore[misc]
        _all_well(echoes)
        assert echoes == [f"{n}\n" for n in range(100)]


@_promise
def check_cancelled_transfers(opened: Opened, here: Path) -> None:
    """A transfer that somebody cancels ends at once and leaves nothing beside its target."""
    with opened() as session, _folder(session) as folder:
        os.mkfifo(here / "endless")
        big = here / "big"
        with big.open("wb") as file:
            file.truncate(4 * 1024 * MIB)  # a hole: it takes no room, and long to copy
        session.run(["truncate", "-s", "4G", f"{folder}/big"])
        for call in (
            lambda: session.put(big, f"{folder}/copy"),
            lambda: session.get(f"{folder}/big", here / "copy"),
        ):
            cancel = Cancel()
            with within(cancel=cancel):
                threading.Timer(0.3, cancel.set, ["enough"]).start()
                _raised(call, Cancelled)
        _until(lambda: session.run(["ls", "-A", folder]).text == "big\n", "a part of the file stayed on the node")
        assert sorted(p.name for p in here.iterdir()) == ["big", "endless"]


CHECKS = (
    check_exit_status,
    check_output,
    check_live_output,
    check_input,
    check_arguments,
    check_environment,
    check_cwd,
    check_deadline,
    check_kill,
    check_cancel,
    check_close,
    check_leftovers,
    check_files,
    check_replacing,
    check_failed_files,
    check_trees,
    check_no_escape,
    check_threads,
    check_cancelled_transfers,
    *PORTABLE,
)
"""Those that need nothing but a session and a folder here."""


# -- helpers ------------------------------------------------------------------------------------------------------


def _raised(call: Callable[[], object], *kinds: type[E]) -> E:
    wanted, came = " or ".join(k.__name__ for k in kinds), list[object]()

    def work() -> None:
        try:
            came.append(call())
        except BaseException as error:  # noqa: BLE001 - looked at below
            came.append(error)

    thread = threading.Thread(target=contextvars.copy_context().run, args=(work,), daemon=True)
    thread.start()
    thread.join(_PATIENCE)
    assert came, f"expected {wanted}, and it goes on"
    if isinstance(came[0], kinds):
        return came[0]
    if isinstance(came[0], BaseException):
        raise AssertionError(f"expected {wanted}, and it raised {came[0]!r}") from came[0]
    raise AssertionError(f"expected {wanted}, and it returned {came[0]!r}")


@contextlib.contextmanager
def _folder(session: Session) -> Iterator[str]:
    folder = session.run(["mktemp", "-d", "/tmp/playbook-check.XXXXXX"]).text.strip()  # noqa: S108 - on the node
    try:
        yield folder
    finally:
        with contextlib.suppress(NodeError, OutcomeUnknown):
            session.run(["rm", "-rf", "--", folder], check=False)


def _sent(sock: socket.socket, data: bytes) -> None:
    with contextlib.suppress(OSError):  # what came back tells
        sock.sendall(data)


def _numbers(process: Process) -> list[int]:
    """The numbers in the first line of its output, which stays readable."""
    text = b""
    for pipe, data in process.chunks():
        text += data if pipe == "stdout" else b""
        if b"\n" in text:
            return [int(n) for n in text.split()]
    raise AssertionError(f"it ended and said {text!r}")


def _drained(process: Process) -> None:
    for _ in process.chunks():
        pass
    process.wait()


def _gone(session: Session, pids: list[int]) -> None:
    look = 'for p in "$@"; do if read -r a b s c </proc/$p/stat && [ "$s" != Z ]; then echo "$p"; fi; done 2>/dev/null'
    _until(lambda: not session.run(["sh", "-c", f"{look}; :", "-", *pids]).text, f"some of {pids} still run")


def _until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + _PATIENCE
    while not condition():
        assert time.monotonic() < end, what
        current().sleep(0.02)


def _all_well(results: Sequence[object]) -> None:
    bad = [r for r in results if isinstance(r, BaseException)]
    assert not bad, f"{len(bad)} failed: {bad[0]!r}"


def _listing(top: Path) -> dict[str, tuple[object, ...]]:
    found: dict[str, tuple[object, ...]] = {}
    for path in top.rglob("*"):
        name = str(path.relative_to(top))
        if path.is_symlink():
            found[name] = ("link", str(path.readlink()))
        else:
            found[name] = (oct(path.stat().st_mode), path.read_text() if path.is_file() else "")
    return found
