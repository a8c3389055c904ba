"""The shell that is kept for short commands: that it is used, that nobody can tell, and what happens when it breaks."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playbook_kernel.api import CommandTimeout, OutcomeUnknown, Session
from playbook_plugins.transports.ssh import runner
from playbook_plugins.transports.ssh.runner import LONG, SHORT, Turn

from .helpers import connect
from .sshd import Sshd
from .test_ssh_faults import gone, kill_workers, until

pytestmark = pytest.mark.ssh


def parent(session: Session, **more: Any) -> int:
    """The process that has started a command."""
    return int(session.run(["sh", "-c", "echo $PPID"], **more).text)


# Its last child has left the group for a session of its own.
LEFT = 'until read -r p n s f g x </proc/$!/stat && [ "$g" = $! ]; do :; done'


def folders() -> set[Path]:
    return {path for place in ("/run", "/tmp") for path in Path(place).glob("playbook-guard.*")}


@pytest.fixture(params=["bash", "sh"])
def session(folder: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    if request.param == "sh":  # a node without bash
        monkeypatch.setattr(runner, "_START", 'exec sh -c "$@" sh')
    with Sshd(folder) as server, connect(server) as opened:
        yield opened


# -- who runs there -----------------------------------------------------------------------------------------------


def test_short_commands_share_a_shell(session: Session) -> None:
    kept = parent(session)
    assert parent(session) == kept
    assert parent(session, env={"A": "a"}, cwd="/", timeout=SHORT) == kept
    with session.start(["sh", "-c", "echo $PPID; exec sleep 1000"], timeout=SHORT) as busy:
        assert next(busy.lines()) == ("stdout", str(kept))
        assert parent(session) != kept, "it is somebody else's turn"
    # whoever was killed is mourned for a moment, in which others have a session
    until(lambda: parent(session) == kept)


def test_others_have_a_session(session: Session) -> None:
    kept = parent(session)
    assert parent(session, stdin=b"") != kept
    assert parent(session, timeout=SHORT + 1) != kept
    assert parent(session, timeout=None) != kept
    assert parent(session, env={"A": "a" * LONG}) != kept
    assert parent(session) == kept


def test_silence(session: Any) -> None:
    """Of a connection that was silent nobody knows whether it still is one: opening a session tells, and nothing ran yet."""
    kept = parent(session)
    session._main._connection.wire._heard = 0.0
    assert parent(session) != kept
    assert parent(session) == kept


# -- nobody can tell ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "script",
    [
        "env -0 | tr '\\0' '\\n' | sort",
        "grep -e SigIgn -e SigBlk /proc/self/status",
        "read -r p n s f g i r </proc/$$/stat; [ $g = $$ ] && echo leads",
        "ls /proc/$$/fd",
        "umask; ulimit -a; pwd",
        "cat; readlink /proc/$$/fd/0",
    ],
)
def test_no_difference(folder: Path, script: str) -> None:
    """Environment, signals, group, open files, limits, folder and input are those of a command on its own session."""
    with Sshd(folder) as server, connect(server) as kept, connect(server, kept_shell=False) as plain:
        texts = [s.run(["sh", "-c", script]).text for s in (kept, kept, plain)]
    own = ("PWD=", "OLDPWD=", "SHLVL=", "_=", "SSH_CLIENT=", "SSH_CONNECTION=")  # of shells and connections
    first, second, other = ([row for row in text.splitlines() if not row.startswith(own)] for text in texts)
    assert first == second == other
    assert other


def test_bytes_without_an_end(session: Session) -> None:
    """Whatever is printed, the end of it included, is not taken for anything else."""
    for text in ("", "\n", "\\0\\377", "playbook-", "no end"):
        for _ in range(2):
            done = session.run(["sh", "-c", f"printf '{text}'; printf '{text}' >&2"])
            assert done.stdout == done.stderr == text.encode().decode("unicode_escape").encode("latin-1")
    assert parent(session) == parent(session)


class Dripping:
    """A channel whose output comes in small parts."""

    eof_received = closed = False

    def __init__(self, text: bytes, seed: int) -> None:
        pick = random.Random(seed)
        self._left = {"stdout": deque[bytes](), "stderr": deque[bytes]()}
        for pieces in self._left.values():
            rest = text
            while rest:
                size = pick.randint(1, 12)
                pieces.append(rest[:size])
                rest = rest[size:]

    def recv_ready(self) -> bool:
        return bool(self._left["stdout"])

    def recv(self, size: int) -> bytes:
        return self._left["stdout"].popleft()

    def recv_stderr_ready(self) -> bool:
        return bool(self._left["stderr"])

    def recv_stderr(self, size: int) -> bytes:
        return self._left["stderr"].popleft()


@pytest.mark.parametrize("seed", range(40))
def test_mark_in_parts(seed: int) -> None:
    class Kept:
        ended = False
        channel = Dripping(b"m-m-ma-mark\nm-mar-m-mark2 17\n".replace(b"mark2", b"m-MARK"), seed)

    turn = Turn(Kept(), b"m-MARK")  # type: ignore[arg-type]
    got = b""
    while not turn.eof_received:
        while turn.recv_ready():
            got += turn.recv(1)
    while turn.recv_ready():
        got += turn.recv(1)
    assert got == b"m-m-ma-mark\nm-mar-m-"
    assert turn.exit_status == 17


# -- when things go wrong -----------------------------------------------------------------------------------------


def test_survivors_print_into_nobody_elses_output(session: Session, tmp_path: Path) -> None:
    """A daemon that keeps a command's pipes open holds that command up, as over a session; the next one has its own."""
    go = tmp_path / "go"
    script = (
        f"echo first; setsid sh -c 'while [ ! -e \"{go}\" ]; do sleep 0.05; done; echo late; echo late >&2' & {LEFT}"
    )
    with pytest.raises(CommandTimeout):
        session.run(["sh", "-c", script], timeout=1)
    go.touch()
    for _ in range(5):
        done = session.run(["sh", "-c", "sleep 0.05; echo mine"])
        assert (done.text, done.errors) == ("mine\n", "")


def test_command_ends_the_shell(session: Session) -> None:
    kept = parent(session)
    with pytest.raises(OutcomeUnknown):
        session.run(["kill", "-KILL", kept])
    assert session.run(["echo", "again"]).text == "again\n"
    assert parent(session) != kept


def test_stopped_command(session: Session) -> None:
    """A command that is stopped has not ended."""
    with pytest.raises(CommandTimeout):
        session.run(["sh", "-c", "kill -STOP $$; echo no"], timeout=0.5)
    assert session.run(["echo", "again"]).text == "again\n"


def test_stopped_for_a_while(session: Session) -> None:
    """What came of it counts, not that it was stopped."""
    script = "(sleep 0.3; kill -CONT $$; sleep 0.1; kill -CONT $$) & kill -STOP $$; echo went on; exit 7"
    done = session.run(["sh", "-c", script], check=False, timeout=20)
    assert (done.status, done.text) == (7, "went on\n")


@pytest.mark.parametrize("name", ["INT", "TERM", "KILL", "HUP", "PIPE"])
def test_ends_by_a_signal(session: Session, name: str) -> None:
    """The shell that started it lives on."""
    kept = parent(session)
    done = session.run(["sh", "-c", f"kill -{name} $$"], check=False)
    assert done.status == 128 + signal.Signals[f"SIG{name}"]
    assert parent(session) == kept


def test_each_leads_a_group_that_ignores_nothing(session: Session) -> None:
    show = "read -r p n s f g x </proc/$$/stat; echo $(($$ - g)); grep SigIgn /proc/$$/status"
    shown = session.run(["sh", "-c", show]).text.splitlines()
    alone = session.run(["sh", "-c", show], stdin=b"").text.splitlines()
    assert shown[0] == alone[0] == "0"
    assert shown[1] == alone[1]


def test_output_that_nobody_reads(session: Session) -> None:
    """What was not read of one command is not part of the next."""
    for _ in range(3):
        with session.start(["sh", "-c", "yes | head -c 5000000; exec sleep 1000"], timeout=SHORT) as process:
            next(process.chunks())
        assert session.run(["echo", "mine"]).text == "mine\n"


@pytest.mark.parametrize("kept", [True, False])
def test_warden_dies(server: Sshd, tmp_path: Path, *, kept: bool) -> None:
    """Without a warden nothing runs; there is another for what comes next."""
    run, before = ["sh", "-c", f"echo x >>{tmp_path}/ran"], folders()
    with connect(server, kept_shell=kept) as session:
        session.run(run)
        pid = int(session._main._connection._wardens[False].pipe.split("/")[2])  # type: ignore[attr-defined]
        os.kill(pid, signal.SIGTERM)
        session.run(run)
        os.kill(pid, signal.SIGKILL)
        until(lambda: gone(pid))
        done = 2
        try:
            session.run(run)
            done += 1  # it was noticed before
        except OutcomeUnknown:
            assert (tmp_path / "ran").read_text() == "x\n" * done
        session.run(run)
    assert (tmp_path / "ran").read_text() == "x\n" * (done + 1)
    until(lambda: folders() <= before)


def test_no_room_for_a_kept_shell(folder: Path) -> None:
    """A server with two sessions has none for it once another is needed."""
    with Sshd(folder, "MaxSessions 2") as server, connect(server) as session:
        for _ in range(3):
            assert session.run(["echo", "a"]).text == "a\n"
            assert session.run(["cat"], stdin=b"b").text == "b"


def test_node_that_cannot_keep_a_shell(folder: Path) -> None:
    """Where there is no mkfifo, each command has a session."""
    tools = folder / "bin"
    tools.mkdir()
    for name in ("sh", "setsid", "sleep", "echo", "cat"):
        (tools / name).symlink_to(f"/bin/{name}")
    with Sshd(folder, f"SetEnv PATH={tools}") as server, connect(server) as session:
        for _ in range(3):
            assert session.run(["echo", "fine"]).text == "fine\n"


@pytest.mark.parametrize("end", [lambda _, session: session.close(), lambda server, _: kill_workers(server)])
def test_nothing_stays(folder: Path, end: Callable[[Sshd, Session], None]) -> None:
    before = folders()
    with Sshd(folder) as server, connect(server) as session:
        pids = [parent(session)]
        with pytest.raises(CommandTimeout):
            session.run(["sh", "-c", f"setsid sleep 10 & {LEFT}"], timeout=0.5)  # costs the first shell
        pids.append(parent(session))
        assert len(set(pids)) == 2
        until(lambda: len(folders() - before) == 1)
        process = session.start(["sh", "-c", "echo $$; exec sleep 1000"], timeout=SHORT)
        pids.append(int(next(process.lines())[1]))
        end(server, session)
        until(lambda: all(map(gone, pids)))
        until(lambda: folders() <= before)


def test_it_is_faster(session: Session, server: Sshd) -> None:
    """By how much is for the benchmark to say; but a kept shell that is slower than none is a defect."""
    with connect(server, kept_shell=False) as plain:

        def best(opened: Session) -> float:
            times = []
            for _ in range(40):
                began = time.perf_counter()
                opened.run(["/bin/true"])
                times.append(time.perf_counter() - began)
            return min(times)

        assert best(session) < best(plain)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a server accounts of its own")
@pytest.mark.parametrize("user", ["plain", "asked", "trusted"])
def test_other_accounts(server: Sshd, user: str) -> None:
    """Whatever their login shell, and wherever they may write."""
    before = folders()
    with connect(server, username=user) as session:
        assert parent(session) == parent(session)
        assert session.run(["sh", "-c", "id -un; exit 3"], check=False).status == 3
        assert session.run(["id", "-un"]).text == f"{user}\n"
    until(lambda: folders() <= before)
