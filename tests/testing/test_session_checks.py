"""Each check of a session passes one that keeps its promises (``tests/plugins/transports``), and tells of one that breaks it."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest
from playbook_kernel.api import Completed, DriverRef, Node, Scope, TransferFailed, current, within
from playbook_kernel.scope import replaced
from playbook_kernel.testing import sessions
from playbook_plugins.transports.local import LocalProcess, LocalSession

# What a broken session leaves open is not closed by anybody.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
OWNER = f"pk-broken-{os.getpid()}"
"""Others may run the same tests beside us."""
NEVER = threading.Event()
"""What a call that does not come back waits for; set when the test is over."""
start, run, put, put_bytes, get = (getattr(LocalSession, n) for n in ("start", "run", "put", "put_bytes", "get"))


def breaking(methods: Mapping[str, Callable[..., Any]]) -> sessions.Opened:
    """Opens sessions to this machine in which these methods are others."""
    cls = type("Broken", (LocalSession,), dict(methods))
    return lambda: cls(Node("here", DriverRef("local")), OWNER)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sessions.asking, "_PATIENCE", 3.0)
    monkeypatch.delenv("CI", raising=False)  # there pytest shows all of a difference, and these are of megabytes
    yield
    NEVER.set()
    NEVER.clear()
    _end_all()
    gc.collect()


def ran(change: Callable[[Completed], Completed]) -> Callable[..., Any]:
    """Every command ends otherwise than it did."""
    return lambda self, argv, **k: change(run(self, argv, **k))


def started(**changes: Any) -> Callable[..., Any]:
    """Every command is started otherwise than asked for."""
    return lambda self, argv, **k: start(self, argv, **{**k, **changes})


def replies(argv: Callable[[list[str]], list[str]]) -> Callable[..., Any]:
    """Other commands than those that were asked for."""
    return lambda self, words, **k: start(self, argv([str(w) for w in words]), **k)


def through_a_shell(self: Any, argv: Any, **k: Any) -> Any:
    return start(self, ["sh", "-c", " ".join(f'"{a}"' for a in argv)], **k)


def shown(self: Any, argv: Any, env: Any = None, **k: Any) -> Any:
    return start(
        self, ["sh", "-c", 'n=$1; shift; "$@"; exit $?', "env", " ".join((env or {}).values()), *argv], env=env, **k
    )


def anywhere(self: Any, argv: Any, cwd: str | None = None, **k: Any) -> Any:
    return start(self, argv, cwd=cwd if cwd is None or Path(cwd).is_dir() else "/", **k)


def all_at_the_end(self: Any, argv: Any, **k: Any) -> Any:
    process = start(self, argv, **k)
    chunks = LocalProcess.chunks
    process.chunks = lambda: iter(list(chunks(process)))
    return process


def no_input(self: Any, argv: Any, stdin: bytes | None = None, **k: Any) -> Any:
    return run(self, argv, stdin=None if stdin is None else stdin[:65536], **k)


def ignores_cancel(self: Any, argv: Any, **k: Any) -> Any:
    with replaced(Scope(current().deadline)):
        return run(self, argv, **k)


def ignores_close(self: Any) -> None:
    pass


def escapes(argv: list[str]) -> list[str]:
    """In a group of its own, where no kill of ours reaches it."""
    return ["setsid", "-w", *argv]


def in_place(self: Any, data: bytes, remote: str, *, mode: int = 0o644) -> None:
    try:
        Path(remote).parent.mkdir(parents=True, exist_ok=True)
        Path(remote).write_bytes(data)
    except OSError as error:
        raise TransferFailed("here", str(error)) from error


def from_the_start(self: Any, remote: str, local: Path, *, limit: int | None = None) -> int:
    get(self, remote, local)
    local.write_bytes(local.read_bytes()[:limit])
    return local.stat().st_size


def other_errors(self: Any, local: Path, remote: str, *, mode: int = 0o644) -> None:
    local.read_bytes()
    put(self, local, remote, mode=mode)


def links_as_files(self: Any, source: Path, target: str) -> None:
    shutil.copytree(source, target, dirs_exist_ok=True, ignore_dangling_symlinks=True)


def instead(self: Any, source: Path, target: str) -> None:
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, symlinks=True)


def naively(self: Any, remote: str, local: Path) -> None:
    for path in Path(remote).rglob("*"):
        there = local / path.relative_to(remote)
        if path.is_dir():
            there.mkdir(parents=True, exist_ok=True)
        else:
            there.write_bytes(path.read_bytes())


def one_for_all(self: Any, argv: Any, **k: Any) -> Any:
    self.last = run(self, argv, **k)
    time.sleep(0.01)
    return self.last


def leaves_a_part(self: Any, local: Path, remote: str, *, mode: int = 0o644) -> None:
    Path(f"{remote}.part").touch()
    put(self, local, remote, mode=mode)


def ignores_all(self: Any, *_: Any, **__: Any) -> None:
    NEVER.wait(60)


def mangled(self: Any, host: str, port: int, *, timeout: float = 10.0) -> socket.socket:
    ours, theirs = socket.socketpair()

    def answer() -> None:
        with theirs:
            theirs.recv(1)
            theirs.sendall(bytes(1000))

    threading.Thread(target=answer, daemon=True).start()
    return ours


def dials_anything(self: Any, host: str, port: int, *, timeout: float = 10.0) -> socket.socket:
    ours, theirs = socket.socketpair()

    def echo() -> None:
        with theirs:
            while data := theirs.recv(65536):
                theirs.sendall(data)

    threading.Thread(target=echo, daemon=True).start()
    return ours


Case = tuple[str, str, Callable[..., Any], str]
CASES: tuple[Case, ...] = (
    ("exit_status", "run", ran(lambda d: attrs.evolve(d, status=0)), "The status is the command's own"),
    ("exit_status", "run", ran(lambda d: attrs.evolve(d, status=d.status % 128)), "The status is the command's own"),
    ("output", "run", ran(lambda d: attrs.evolve(d, stdout=d.stderr, stderr=d.stdout)), "Both pipes arrive whole"),
    ("output", "run", ran(lambda d: attrs.evolve(d, stdout=d.stdout[:-1])), "Both pipes arrive whole"),
    ("output", "run", ran(lambda d: attrs.evolve(d, truncated=False)), "Both pipes arrive whole"),
    ("live_output", "start", all_at_the_end, "Output comes as it is printed"),
    ("input", "run", no_input, "Input arrives whole"),
    ("arguments", "start", through_a_shell, "Every argument arrives as it is"),
    ("arguments", "start", replies(lambda argv: [a for a in argv if a]), "Every argument arrives as it is"),
    ("environment", "start", started(env=None), "Values arrive as they are"),
    ("environment", "start", shown, "no argument list shows them"),
    ("cwd", "start", started(cwd="/"), "runs where it is told to"),
    ("cwd", "start", anywhere, "runs where it is told to"),
    ("deadline", "start", started(timeout=None), "expected CommandTimeout, and it goes on"),
    ("deadline", "start", replies(escapes), "killed with all of its group"),
    ("kill", "start", replies(escapes), "still run"),
    ("cancel", "start", replies(escapes), "Somebody who cancels ends"),
    ("cancel", "run", ignores_cancel, "expected Cancelled, and it"),
    ("close", "start", replies(escapes), "still run"),
    ("close", "close", ignores_close, "expected Unreachable, and it returned"),
    ("leftovers", "start", replies(escapes), "A command ends with its first process"),
    ("files", "put", lambda s, local, remote, mode=0: put(s, local, remote), "Files arrive whole both ways"),
    ("files", "get", from_the_start, "Files arrive whole both ways"),
    ("replacing", "put_bytes", in_place, "A file is replaced in one step"),
    ("failed_files", "put", other_errors, "expected TransferFailed, and it raised FileNotFoundError"),
    ("failed_files", "put_tree", lambda *_: None, "expected TransferFailed, and it returned None"),
    ("trees", "put_tree", links_as_files, "Folders arrive with everything"),
    ("trees", "put_tree", instead, "Folders arrive with everything"),
    ("no_escape", "get_tree", naively, "Nothing that is fetched lands outside"),
    ("threads", "run", one_for_all, "failed: AssertionError"),
    ("cancelled_transfers", "put", leaves_a_part, "a part of the file stayed"),
    ("cancelled_transfers", "put", ignores_all, "expected Cancelled, and it goes on"),
    ("run", "run", ran(lambda d: attrs.evolve(d, truncated=False)), "A command's output and status come back whole"),
    ("stop", "run", ignores_cancel, "expected Cancelled, and it"),
    ("stop", "close", ignores_close, "expected Unreachable, and it returned"),
    ("copies", "get", from_the_start, "Files and folders come back as they were sent"),
)  # fmt: skip


@pytest.mark.parametrize(("check", "method", "body", "words"), CASES)
def test_a_session_that_breaks_a_promise_is_told(
    tmp_path: Path, check: str, method: str, body: Callable[..., Any], words: str
) -> None:
    hasty = within(1.0) if check in ("live_output", "leftovers") else within()
    with pytest.raises(AssertionError) as told, hasty:
        getattr(sessions, f"check_{check}")(breaking({method: body}), tmp_path)
    assert words in str(told.value)


def _end_all() -> None:
    """What got away is ended by its mark."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"PLAYBOOK_OWNER={OWNER}\0".encode() in (folder / "environ").read_bytes():
                os.kill(int(folder.name), signal.SIGKILL)
        except OSError:
            continue


def test_every_check_is_broken_by_somebody() -> None:
    assert {f"check_{c[0]}" for c in CASES} == {c.__name__ for c in sessions.CHECKS}


@pytest.mark.parametrize(("body", "words"), [(mangled, "this is not so"), (dials_anything, "expected ConnectionError")])
def test_a_dial_that_leads_elsewhere_is_told(body: Callable[..., Any], words: str) -> None:
    with pytest.raises(AssertionError, match=words):
        sessions.check_dial(breaking({"dial": body}), "127.0.0.1", 1)


def test_a_full_disk_that_costs_the_old_file_is_told(tmp_path: Path) -> None:
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "none", tmp_path]).returncode:
        pytest.skip("a full disk needs the right to mount a small one")
    try:
        with pytest.raises(AssertionError):
            sessions.check_full_target(breaking({"put_bytes": in_place}), str(tmp_path))
    finally:
        subprocess.run(["umount", tmp_path], check=True)
