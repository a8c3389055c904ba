"""Stand-ins for the world: a node that answers from a script, and the context of a trial on such nodes."""

from __future__ import annotations

import fnmatch
import shlex
import socket
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from attrs import define, field, frozen

from playbook_kernel import logs
from playbook_kernel.context import TrialContext
from playbook_kernel.drivers import Transport
from playbook_kernel.engine.effects import TrialEffects
from playbook_kernel.errors import CommandTimeout, OutcomeUnknown, TransferFailed, Unreachable
from playbook_kernel.loading import Loader
from playbook_kernel.model import DriverRef, Event, Node, Scenario, Service, Trial
from playbook_kernel.scope import current
from playbook_kernel.session import Pipe, Process, Session


@frozen
class Hang:
    """A reply that never comes: the command prints ``stdout`` and then runs until something ends it."""

    stdout: str = ""


@frozen
class Said:
    """A reply in full: what it prints on each pipe, and its exit status."""

    stdout: str | bytes = ""
    stderr: str | bytes = ""
    status: int = 0


Reply = str | int | Said | Hang | Exception
"""``str``: printed, status 0. ``int``: an exit status, nothing printed. An exception is raised when it is started."""

Answer = Reply | Callable[[Sequence[str]], Reply]


class FakeProcess(Process):
    """What :class:`FakeSession` starts. It honours its timeout and the scope as a real one does."""

    def __init__(self, node: str, argv: Sequence[str], reply: Said | Hang, timeout: float | None) -> None:
        self._node, self._argv, self._reply, self._timeout = node, argv, reply, timeout
        self._left: deque[tuple[Pipe, bytes]] = deque()
        for pipe, text in (("stdout", reply.stdout), ("stderr", getattr(reply, "stderr", ""))):
            if data := text.encode() if isinstance(text, str) else text:
                self._left.append((pipe, data))  # type: ignore[arg-type]
        self._killed = threading.Event()
        self.received = bytearray()

    def write(self, data: bytes) -> None:
        self.received += data

    def end_input(self) -> None:
        pass

    def chunks(self) -> Iterator[tuple[Pipe, bytes]]:
        while self._left:
            current().check()
            yield self._left.popleft()
        if isinstance(self._reply, Hang):
            self._hang()

    def _hang(self) -> None:
        scope = current()
        bound = scope.timeout(self._timeout)
        if bound is None:
            raise AssertionError(f"{shlex.join(self._argv)} would run for ever: it has no timeout and no deadline")
        while bound > 0 and not self._killed.is_set() and not scope.cancel.wait(min(bound, 0.02)):
            bound -= 0.02
        scope.cancel.check()
        if self._killed.is_set():
            raise OutcomeUnknown(self._node, f"{self._argv[0]} was killed")
        raise CommandTimeout(self._node, self._argv, self._timeout or 0.0)

    def wait(self) -> int:
        for _ in self.chunks():
            pass
        assert isinstance(self._reply, Said)
        return self._reply.status

    def kill(self) -> None:
        self._killed.set()


@define(eq=False)
class FakeSession(Session):
    """A node that answers from a script: patterns (as of a shell) over the whole command line, the first that fits.

    ``files`` is its file system: ``put`` and ``get`` work on it. ``commands`` collects the argument lists, ``inputs`` what
    was sent to each, ``environments`` the variables each was given. A command without a reply is an error of the test.

    >>> node = FakeSession({"nvidia-smi *": "A100", "false": 1})
    >>> node.run(["nvidia-smi", "-L"]).text, node.run(["false"], check=False).status
    ('A100', 1)
    """

    replies: Mapping[str, Answer] = field(factory=dict)
    files: MutableMapping[str, bytes] = field(factory=dict)
    node: Node = field(factory=lambda: node("fake"))
    owner: str = ""
    ports: Mapping[int, Callable[[], socket.socket]] = field(factory=dict)
    modes: dict[str, int] = field(factory=dict)
    commands: list[tuple[str, ...]] = field(factory=list)
    environments: list[Mapping[str, str]] = field(factory=list)
    processes: list[FakeProcess] = field(factory=list)
    closed: bool = False
    _lock: threading.Lock = field(factory=threading.Lock)

    @property
    def lines(self) -> list[str]:
        """The commands, each as one line."""
        return [shlex.join(c) for c in self.commands]

    def start(
        self,
        argv: Sequence[object],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        timeout: float | None = None,
        sudo: bool = False,
        stdin: bool = False,
    ) -> FakeProcess:
        current().check()
        if self.closed:
            raise Unreachable(self.node.name, "the session is closed")
        words = tuple(map(str, argv))
        with self._lock:
            self.commands.append(words)
            self.environments.append(dict(env or {}))
        reply = self._reply(words)
        if isinstance(reply, Exception):
            raise reply
        said = (
            reply if isinstance(reply, Said | Hang) else Said(status=reply) if isinstance(reply, int) else Said(reply)
        )
        process = FakeProcess(self.node.name, words, said, timeout)
        with self._lock:
            self.processes.append(process)
        return process

    def _reply(self, words: Sequence[str]) -> Reply:
        line = shlex.join(words)
        for pattern, answer in self.replies.items():
            if fnmatch.fnmatchcase(line, pattern):
                return answer(words) if callable(answer) else answer
        raise AssertionError(f"no reply is scripted for: {line}")

    def put(self, local: Path, remote: str, *, mode: int = 0o644) -> None:
        try:
            data = local.read_bytes()
        except OSError as error:
            raise TransferFailed(self.node.name, f"cannot put {remote}: {error.strerror}") from error
        self.put_bytes(data, remote, mode=mode)

    def put_bytes(self, data: bytes, remote: str, *, mode: int = 0o644) -> None:
        current().check()
        self.files[remote] = data
        self.modes[remote] = mode

    def get(self, remote: str, local: Path, *, limit: int | None = None) -> int:
        current().check()
        if remote not in self.files:
            raise TransferFailed(self.node.name, f"cannot get {remote}: No such file or directory")
        whole = self.files[remote]
        data = whole if limit is None else whole[max(0, len(whole) - limit) :]
        local.parent.mkdir(parents=True, exist_ok=True)
        local.write_bytes(data)
        return len(data)

    def put_tree(self, local: Path, remote: str) -> None:
        if not local.is_dir():
            raise TransferFailed(self.node.name, f"cannot put {local}: it is not a directory")
        for path in sorted(p for p in local.rglob("*") if p.is_file()):
            self.put(path, str(PurePosixPath(remote) / path.relative_to(local).as_posix()))

    def get_tree(self, remote: str, local: Path) -> None:
        prefix = remote.rstrip("/") + "/"
        found = [name for name in self.files if name.startswith(prefix)]
        if not found:
            raise TransferFailed(self.node.name, f"cannot get {remote}: No such file or directory")
        for name in found:
            self.get(name, local / name.removeprefix(prefix))

    def dial(self, host: str, port: int, *, timeout: float = 10.0) -> socket.socket:
        if port not in self.ports:
            raise ConnectionRefusedError(f"nothing listens at {host}:{port}")
        return self.ports[port]()

    def close(self) -> None:
        self.closed = True
        for process in self.processes:
            process.kill()


def local_session(owner: str = "pk-test") -> Session:
    """A session to this machine, for checks that need a real one. Close it, or use it as a context manager.

    Raises DriverNotFound if nothing that is installed offers the transport ``local``.
    """
    here = Node("local", DriverRef("local"), "127.0.0.1", work_dir=tempfile.gettempdir())
    return Loader().build(Transport, here.transport).connect(here, owner=owner)


def node(name: str, *, transport: str = "fake", composer: str = "fake", **more: Any) -> Node:
    """A node of that name at 127.0.0.1, reached through ``transport``."""
    return Node(name, DriverRef(transport), more.pop("host", "127.0.0.1"), composer, **more)


@define(eq=False)
class FakeTrial:
    """The context of a trial, and what came of it: ``events`` that were emitted, ``records`` that were journalled."""

    ctx: TrialContext
    events: list[Event]
    records: list[tuple[str, Mapping[str, Any]]]

    def of(self, kind: type[Event]) -> list[Any]:
        """The events of one class, in order."""
        return [e for e in self.events if isinstance(e, kind)]


@frozen
class _Lines:
    sessions: Mapping[str, Session]

    def __call__(self, node: str) -> Session:
        return self.sessions[node]


def fake_trial(
    directory: Path,
    sessions: Mapping[str, Session] | None = None,
    *,
    scenario: Scenario | None = None,
    services: Sequence[Service] = (),
    loader: Loader | None = None,
    trial: str = "pk-00000000-test-1",
    benchmark: DriverRef | None = None,
) -> FakeTrial:
    """Make a trial that runs nowhere: its journal is a list, its nodes are ``sessions`` by name.

    ``directory`` becomes both the scenario's folder (``directory/scenario``) and the place for results
    (``directory/results``). ``loader`` builds drivers that the code under test asks for; without one, those installed.
    """
    lines = dict(sessions or {})
    (directory / "scenario").mkdir(parents=True, exist_ok=True)
    (directory / "results").mkdir(exist_ok=True)
    ref = benchmark or DriverRef("under-test")
    made = scenario or Scenario("test", directory / "scenario", ref, services=tuple(services))
    events: list[Event] = []
    records: list[tuple[str, Mapping[str, Any]]] = []

    def record(kind: str, data: Mapping[str, Any]) -> None:
        records.append((kind, data))

    ctx = TrialContext(
        run="20260101_000000_test",
        trial=Trial(trial, made),
        nodes={name: session.node for name, session in lines.items()},
        directory=directory / "results",
        session=_Lines(lines),
        effects=TrialEffects(record),
        emit=events.append,
        build=(loader or Loader()).build,
        log=logs.logger("test"),
    )
    return FakeTrial(ctx, events, records)


def later(trial: FakeTrial) -> FakeTrial:
    """The same trial as a later process sees it, which has nothing but the journal: for checks of emergency cleanups."""
    ctx = trial.ctx
    records: list[tuple[str, Mapping[str, Any]]] = []
    events: list[Event] = []
    effects = TrialEffects(lambda kind, data: records.append((kind, data)), tuple(ctx.effects.open()))
    again = TrialContext(
        ctx.run, ctx.trial, ctx.nodes, ctx.directory, ctx.session, effects, events.append, ctx.build, ctx.log,
        emergency=True,
    )  # fmt: skip
    return FakeTrial(again, events, records)
