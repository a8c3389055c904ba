"""What goes wrong on the way to a node and there, and what becomes of the commands."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog
from playbook_kernel.api import Cancel, Cancelled, OutcomeUnknown, Session, Unreachable, run_all, within

from .helpers import connect
from .rekey import transfers
from .sshd import Sshd, free_port

pytestmark = pytest.mark.ssh
needs_accounts = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a server accounts of its own")


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def gone(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True


def well(results: list[object]) -> None:
    bad = [r for r in results if isinstance(r, BaseException)]
    assert not bad, f"{len(bad)} of {len(results)} failed: {bad[0]!r}"


@pytest.fixture
def own(folder: Path) -> Iterator[Sshd]:
    """A server that the test may break."""
    with Sshd(folder, "LogLevel VERBOSE") as server:
        yield server


def kill_workers(server: Sshd) -> None:
    """End the processes that serve connections, and wait until they are gone: the system has hung up for them then."""
    workers = server.workers()
    for worker in workers:
        os.kill(worker, signal.SIGKILL)
    until(lambda: all(map(gone, workers)))


def sleeper(session: Session) -> tuple[object, int]:
    process = session.start(["sh", "-c", "echo $$; exec sleep 1000"], timeout=60)
    return process, int(next(process.lines())[1])


# -- the connection -----------------------------------------------------------------------------------------------


def test_frozen_server(own: Sshd) -> None:
    """Noticed by the watchdog, long before the command's own limit; a new connection serves on."""
    with connect(own, keepalive_interval=0.2, keepalive_timeout=0.5) as session:
        process, pid = sleeper(session)
        workers = own.workers()
        for worker in workers:
            os.kill(worker, signal.SIGSTOP)
        with pytest.raises(OutcomeUnknown, match=r"did not answer for 0\.5 s"):
            process.wait()
        assert session.run(["echo", "again"]).text == "again\n"
        for worker in workers:
            os.kill(worker, signal.SIGCONT)
        until(lambda: gone(pid))


def test_killed_server_process(own: Sshd) -> None:
    with connect(own) as session:
        process, pid = sleeper(session)
        kill_workers(own)
        with pytest.raises(OutcomeUnknown):
            process.wait()
        assert session.run(["echo", "again"]).text == "again\n"
        until(lambda: gone(pid))


def test_reconnects_once_for_all(own: Sshd) -> None:
    with structlog.testing.capture_logs() as logged, connect(own) as session:
        session.run(["true"])
        kill_workers(own)
        well(run_all([lambda: session.run(["true"])] * 24))
        assert own.log.read_text().count("Accepted publickey") == 2
        told = [e["event"] for e in logged if e["log_level"] == "warning"]
        assert [t.partition(":")[0] for t in told] == ["the connection was lost and is open again (number 1)"]


class Middle:
    """A way to the server that can be cut, and that says something first."""

    def __init__(self, server: Sshd, greeting: bytes = b"") -> None:
        self._server, self._greeting = server, greeting
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.clients: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                client.sendall(self._greeting)
                server = socket.create_connection((self._server.host, self._server.port))
                self.clients.append(client)
                for a, b in ((client, server), (server, client)):
                    threading.Thread(target=self._pass, args=(a, b), daemon=True).start()

    @staticmethod
    def _pass(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        for sock in (source, target):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def reset(self) -> None:
        """Cut every connection with an RST."""
        for client in self.clients:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RD)  # wakes the thread that reads, which then closes it

    def __enter__(self) -> Middle:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()


def test_reset(own: Sshd) -> None:
    with Middle(own) as middle, connect(own, port=middle.port, host_keys="insecure") as session:
        process, pid = sleeper(session)
        middle.reset()
        with pytest.raises(OutcomeUnknown):
            process.wait()
        assert session.run(["echo", "again"]).text == "again\n"
        until(lambda: gone(pid))


def test_talk_before_the_banner(server: Sshd) -> None:
    with (
        Middle(server, b"Welcome!\r\nNothing to see here.\r\n") as middle,
        connect(server, port=middle.port, host_keys="insecure") as session,
    ):
        assert session.run(["echo", "fine"]).text == "fine\n"


def test_not_an_ssh_server(server: Sshd) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    with client:
                        client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" + os.urandom(4096))

        threading.Thread(target=answer, daemon=True).start()
        with pytest.raises(Unreachable) as caught:
            connect(server, port=listener.getsockname()[1], connect_timeout=1.5)
        assert "sshd" in (caught.value.hint or "")
        listener.shutdown(socket.SHUT_RDWR)
    with pytest.raises(Unreachable, match="refused"):
        connect(server, port=free_port())


@needs_accounts
def test_noise_of_login_scripts(folder: Path, tmp_path: Path) -> None:
    """What .bashrc prints is not the command's output, and does not get into files."""
    with Sshd(folder) as server:
        (folder / "homes" / "root" / ".bashrc").write_text("echo 'Welcome to'; echo 'the node' >&2; printf 'no end'\n")
        with connect(server) as session:
            done = session.run(["sh", "-c", "echo out; echo err >&2"])
            assert (done.text, done.errors) == ("out\n", "err\n")
            assert session.run(["sh", "-c", 'cat; echo "$A"'], stdin=b"in ", env={"A": "a"}).text == "in a\n"
            session.put_bytes(b"data", f"{folder}/file")
            assert session.get(f"{folder}/file", tmp_path / "file") == 4
            assert (tmp_path / "file").read_bytes() == b"data"
            session.get_tree(f"{folder}/homes", tmp_path / "tree")
            assert (tmp_path / "tree" / "root" / ".bashrc").exists()


# -- limits of the server -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("limit", "workers"), [(10, 50), (2, 8)], ids=str)
def test_max_sessions(folder: Path, limit: int, workers: int) -> None:
    """100 commands at once, of which the server takes only a few: none fails."""
    with Sshd(folder, f"MaxSessions {limit}") as server, connect(server, max_sessions=workers) as session:
        results = run_all([lambda n=n: session.run(["echo", n]).text for n in range(100)])
        well(results)
        assert results == [f"{n}\n" for n in range(100)]


def test_one_session_is_too_few(folder: Path) -> None:
    with (
        Sshd(folder, "MaxSessions 1") as server,
        connect(server, connect_timeout=2) as session,
        pytest.raises(Unreachable, match="no session for a command"),
    ):
        session.run(["true"])


@pytest.mark.parametrize("limit", ["10:30:100", "2:90:6"])
def test_max_startups(folder: Path, limit: str) -> None:
    """64 connections at once, some of which the server drops: all come up."""
    with Sshd(folder, f"MaxStartups {limit}") as server:
        sessions = run_all([lambda: connect(server, connect_timeout=60)] * 64)
        well(sessions)
        for session in sessions:
            session.close()


def test_new_keys_during_transfers(folder: Path, tmp_path: Path) -> None:
    """The server asks for new keys after each MiB, in the middle of everything: nothing is lost, nothing waits.

    The smaller form of ``python -m tests.plugins.transports.rekey``.
    """
    log, data = tmp_path / "log", os.urandom(8 * 1024 * 1024)
    with Sshd(folder / "sshd", "RekeyLimit 1M") as server, connect(server) as session:
        assert transfers(session, folder, log, 4, len(data)) == []
        assert transfers(session, folder, log, 10, len(data)) == []
        assert session.run(["cat"], stdin=data).stdout == data
    assert sorted(json.loads(row)["number"] for row in log.read_text().splitlines()) == list(range(10))


# -- the controller -----------------------------------------------------------------------------------------------

_CONTROLLER = """\
import sys
from tests.plugins.transports.helpers import NODE, OWNER
from playbook_plugins.transports.ssh import Options, SshTransport
host, port, user, key, known, timeout, fed = sys.argv[1:]
given = Options(host=host, port=int(port), username=user, key_filename=key, known_hosts=known, ssh_config="/dev/null")
session = SshTransport(given).connect(NODE, owner=OWNER)
script = "trap '' TERM; sleep 1000 & echo $! $$; wait; sleep 1000"
process = session.start(["sh", "-c", script], timeout=float(timeout), stdin=fed == "fed")
print(next(process.lines())[1], flush=True)
process.wait()
"""


@contextlib.contextmanager
def controller(server: Sshd, timeout: float, *, fed: bool) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """A process of its own with a command on the node, and the numbers of the command's processes."""
    place = [server.host, str(server.port), server.username, str(server.key), str(server.known_hosts)]
    argv = [sys.executable, "-c", _CONTROLLER, *place, str(timeout), "fed" if fed else ""]
    root = Path(__file__).resolve().parents[3]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=root) as process:
        assert process.stdout is not None
        try:
            yield process, [int(n) for n in process.stdout.readline().split()]
        finally:
            process.kill()


@pytest.mark.parametrize("fed", [True, False], ids=["fed", "unfed"])
def test_killed_controller(server: Sshd, *, fed: bool) -> None:
    with controller(server, 600, fed=fed) as (process, pids):
        assert not any(gone(p) for p in pids)
        process.kill()
        until(lambda: all(gone(p) for p in pids))


def test_stopped_controller(server: Sshd) -> None:
    """The node itself ends what is not done in time, when nobody is there to say so."""
    with controller(server, 1, fed=False) as (process, pids):
        process.send_signal(signal.SIGSTOP)
        until(lambda: all(gone(p) for p in pids))


# -- interrupts ---------------------------------------------------------------------------------------------------

CALLS: dict[str, Callable[[Session, Path, str], object]] = {
    "run": lambda session, here, there: session.run(["true"]),
    "start": lambda session, here, there: session.start(["true"], stdin=True),
    "write": lambda session, here, there: session.run(["cat"], stdin=b"x" * 30_000_000),
    "put": lambda session, here, there: session.put(here / "big", f"{there}/copy"),
    "put_bytes": lambda session, here, there: session.put_bytes(b"x" * 30_000_000, f"{there}/copy"),
    "get": lambda session, here, there: session.get(f"{there}/big", here / "copy"),
    "put_tree": lambda session, here, there: session.put_tree(here, f"{there}/copy"),
    "get_tree": lambda session, here, there: session.get_tree(there, here / "copy"),
    "dial": lambda session, here, there: session.dial("127.0.0.1", 9, timeout=300),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_interrupt(own: Sshd, folder: Path, tmp_path: Path, call: Callable[..., object]) -> None:
    """Somebody who cancels gets his thread back, even from a server that says nothing any more."""
    patient = {"keepalive_interval": 300.0, "keepalive_timeout": 300.0, "connect_timeout": 300.0}
    with connect(own, **patient) as session:
        session.run(["true"])
        (tmp_path / "big").write_bytes(bytes(8 * 1024 * 1024))
        session.put(tmp_path / "big", f"{folder}/big")  # opens the connection for transfers
        frozen = own.workers()
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
        cancel, result = Cancel(), list[BaseException | None]()

        def work() -> None:
            with within(cancel=cancel):
                try:
                    call(session, tmp_path, str(folder))
                    result.append(None)
                except BaseException as error:  # noqa: BLE001 - whatever it is
                    result.append(error)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        threading.Timer(0.3, cancel.set, ["enough"]).start()
        thread.join(30)
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)
    assert result, "it still waits"
    assert isinstance(result[0], Cancelled)


def test_interrupted_connect(own: Sshd) -> None:
    os.kill(own.pid, signal.SIGSTOP)
    cancel, began = Cancel(), time.monotonic()
    try:
        threading.Timer(0.2, cancel.set, ["enough"]).start()
        with within(cancel=cancel), pytest.raises(Cancelled):
            connect(own, connect_timeout=60)
    finally:
        os.kill(own.pid, signal.SIGCONT)
    assert time.monotonic() - began < 30
