"""The kinds of driver that a scenario can name, and the session to a node that most of them work through.

A driver is one named implementation of one job. The scenario picks it, the kernel builds it from its own options, and
nothing else of it is global. To write one, subclass the kind, say which attrs class holds its options, and name the
class in an entry point::

    [project.entry-points."playbook_kernel.benchmark"]
    my-bench = "my_package:MyBench"
"""

from __future__ import annotations

import json
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, Self, TypeVar, get_args

from attrs import field, frozen, has

from .errors import CommandFailed, ConfigError

if TYPE_CHECKING:
    from .config import Problems, Sources
    from .context import TrialContext
    from .model import (
        Artifact,
        CampaignResult,
        Configuration,
        Deployment,
        Endpoint,
        Health,
        Load,
        Measurement,
        Node,
        PluginPolicy,
        Residue,
        Service,
    )

OptionsT = TypeVar("OptionsT")
Pipe = Literal["stdout", "stderr"]


@frozen
class NoOptions:
    """For drivers that take none."""


class Driver(ABC, Generic[OptionsT]):
    """Common to every kind. Its docstring is its help text, its options class its manual."""

    kind: ClassVar[str]
    options_type: ClassVar[type[Any]] = NoOptions

    def __init__(self, options: OptionsT) -> None:
        self.options = options

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Learn the options class from ``Kind[Options]`` so authors say it once."""
        super().__init_subclass__(**kwargs)
        for base in getattr(cls, "__orig_bases__", ()):
            for arg in get_args(base):
                if isinstance(arg, type) and has(arg):
                    cls.options_type = arg


# -- sessions -----------------------------------------------------------------------------------------------------


@frozen
class Completed:
    """A command that ended by itself: ``status`` is what it really returned.

    ``stdout`` and ``stderr`` are bytes, each cut at the limit that was asked for (``truncated`` says so).
    """

    argv: tuple[str, ...]
    status: int
    stdout: bytes = field(default=b"", repr=False)
    stderr: bytes = field(default=b"", repr=False)
    seconds: float = 0.0
    truncated: bool = False

    @property
    def ok(self) -> bool:
        """Whether the status is 0."""
        return self.status == 0

    @property
    def text(self) -> str:
        """Standard output as text; bytes that are not UTF-8 are replaced."""
        return self.stdout.decode("utf-8", "replace")

    @property
    def errors(self) -> str:
        """Standard error as text."""
        return self.stderr.decode("utf-8", "replace")

    def json(self) -> Any:
        """Parse standard output."""
        return json.loads(self.stdout)


class Process(ABC):
    """A command that runs on a node, under a guard.

    It dies, with its whole process group, when its deadline passes, when it is killed, when this process dies, or when
    the connection is lost and its input ends.

    Leaving it as a context manager while it runs kills it. Not for use by several threads at once, except :meth:`kill`.
    """

    @abstractmethod
    def write(self, data: bytes) -> None:
        """Send bytes to its standard input; blocks while the other side does not read."""

    @abstractmethod
    def end_input(self) -> None:
        """Close its standard input; harmless twice."""

    @abstractmethod
    def chunks(self) -> Iterator[tuple[Pipe, bytes]]:
        """Yield what it prints, as it comes, until both pipes end.

        Raises CommandTimeout, OutcomeUnknown (the connection was lost) or Cancelled.
        """

    @abstractmethod
    def wait(self) -> int:
        """Return its exit status; output that nobody read is dropped. Raises as :meth:`chunks`."""

    @abstractmethod
    def kill(self) -> None:
        """End it with its whole process group; harmless when it has ended."""

    def lines(self, *, limit: int = 65536) -> Iterator[tuple[Pipe, str]]:
        """Yield whole lines without their ends (LF or CRLF); longer ones are cut into pieces of ``limit`` bytes."""
        rest: dict[Pipe, bytes] = {"stdout": b"", "stderr": b""}
        for pipe, data in self.chunks():
            *whole, tail = (rest[pipe] + data).split(b"\n")
            for line in whole:
                yield pipe, line.removesuffix(b"\r").decode("utf-8", "replace")
            while len(tail) > limit:
                yield pipe, tail[:limit].decode("utf-8", "replace")
                tail = tail[limit:]
            rest[pipe] = tail
        for pipe, tail in rest.items():
            if tail:
                yield pipe, tail.removesuffix(b"\r").decode("utf-8", "replace")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()


class Session(ABC):
    """An open line to one node, safe for use by many threads.

    Every call is bounded by its ``timeout`` and by the scope it runs in (:func:`playbook_kernel.api.current`),
    whichever ends first. A lost connection is re-opened, once for all threads, before the next command. Arguments are
    quoted exactly once, here; nothing else of the project builds shell strings from data.
    """

    node: Node
    owner: str
    """Marks every remote process (environment variable ``PLAYBOOK_OWNER``); the trial's id, or ``""``."""

    @abstractmethod
    def start(
        self,
        argv: Sequence[object],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        timeout: float | None = None,
        sudo: bool = False,
        stdin: bool = False,
    ) -> Process:
        """Start a command. Environment values never appear in an argument list or a process title.

        With ``stdin`` it reads what :meth:`Process.write` sends; without, its input is empty.

        Raises Unreachable if nothing ran.
        """

    @abstractmethod
    def put(self, local: Path, remote: str, *, mode: int = 0o644) -> None:
        """Copy a file to the node: streamed, verified, and moved over ``remote`` in one step. Makes parent folders.

        Raises TransferFailed; then the old file is still there.
        """

    @abstractmethod
    def put_bytes(self, data: bytes, remote: str, *, mode: int = 0o644) -> None:
        """Like :meth:`put`, from memory."""

    @abstractmethod
    def get(self, remote: str, local: Path, *, limit: int | None = None) -> int:
        """Copy a file from the node, verified; returns its size. At most ``limit`` bytes, from its end, if given."""

    @abstractmethod
    def put_tree(self, local: Path, remote: str) -> None:
        """Copy the contents of a folder into a folder of the node (made if missing); what else is there stays."""

    @abstractmethod
    def get_tree(self, remote: str, local: Path) -> None:
        """Copy the contents of a folder of the node into a local one; nothing can land outside of it."""

    @abstractmethod
    def dial(self, host: str, port: int, *, timeout: float = 10.0) -> socket.socket:
        """Open a TCP connection as the node would. Raises ConnectionError or Unreachable.

        The result behaves as a connected, blocking :class:`socket.socket`; the caller closes it.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go; commands that still run are killed. Harmless twice."""

    def run(
        self,
        argv: Sequence[object],
        *,
        stdin: bytes | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        timeout: float | None = 60.0,
        check: bool = True,
        sudo: bool = False,
        limit: int = 16 * 1024 * 1024,
    ) -> Completed:
        """Run a command to its end. ``limit`` bytes of each pipe are kept, the rest is read and dropped.

        Raises CommandFailed (``check`` and a status other than 0), CommandTimeout, Unreachable (nothing ran),
        OutcomeUnknown (the connection was lost: it may have run), Cancelled.
        """
        began = time.monotonic()
        kept: dict[Pipe, bytearray] = {"stdout": bytearray(), "stderr": bytearray()}
        truncated = False
        with self.start(argv, env=env, cwd=cwd, timeout=timeout, sudo=sudo, stdin=stdin is not None) as process:
            if stdin:
                process.write(stdin)
            if stdin is not None:
                process.end_input()
            for pipe, data in process.chunks():
                room = limit - len(kept[pipe])
                truncated = truncated or len(data) > room
                kept[pipe] += data[: max(room, 0)]
            status = process.wait()
        words = tuple(str(a) for a in argv)
        done = Completed(
            words, status, bytes(kept["stdout"]), bytes(kept["stderr"]), time.monotonic() - began, truncated
        )
        if check and status:
            raise CommandFailed(self.node.name, words, status, done.errors, done.text)
        return done

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Transport(Driver[OptionsT]):
    """How to reach a node."""

    kind = "transport"

    @abstractmethod
    def connect(self, node: Node, *, owner: str = "") -> Session:
        """Open a session. Raises Unreachable, HostKeyRejected or AuthenticationFailed."""


# -- composers ----------------------------------------------------------------------------------------------------


@frozen
class Share:
    """One node's share of a trial's services: what a composer works on.

    ``project`` is the trial's id: the compose project name, and the value of the label ``playbook.trial`` on everything
    that is made. ``services`` are those placed on this node. ``uploads`` are files of ``directory`` that must be beside
    the definition on the node.
    """

    node: Node
    project: str
    directory: Path
    services: tuple[Service, ...]
    env_file: Path | None = None
    uploads: tuple[Path, ...] = ()

    def service(self, name: str) -> Service:
        """The service of that name; KeyError if it is not placed here."""
        for service in self.services:
            if service.name == name:
                return service
        raise KeyError(name)


@frozen
class State:
    """What a composer sees of one service on its node, now.

    ``status``: ``absent``, ``created``, ``running``, ``paused``, ``restarting`` or ``exited``. ``health`` is the
    engine's own verdict: ``""`` (none), ``starting``, ``healthy``, ``unhealthy``. ``handle``: container ids or pids.
    """

    service: str
    status: Literal["absent", "created", "running", "paused", "restarting", "exited"]
    exit_code: int | None = None
    health: str = ""
    oom_killed: bool = False
    restarts: int = 0
    detail: str = ""
    handle: Mapping[str, Any] = field(factory=dict)


class Composer(Driver[OptionsT]):
    """Brings the services of one node up and down. The kernel decides order, readiness, retries and time.

    Every effect is announced first through ``ctx.intend`` and undone by :meth:`down`, also by a later process that has
    only the journal. Calls for different services of one share may come from several threads at once.
    """

    kind = "composer"

    @abstractmethod
    def fit(self, session: Session) -> str | None:
        """Why this composer cannot serve the node, or None if it can. Asked once per node; must not change anything."""

    def check(self, share: Share) -> Sequence[str]:
        """Problems of the definition for this composer, found without a connection; each one says file:line and key."""
        return ()

    @abstractmethod
    def prepare(self, ctx: TrialContext, session: Session, share: Share) -> None:
        """Put the files there and create everything, started by nobody yet. Raises ServiceFailed or CommandFailed."""

    @abstractmethod
    def start(self, ctx: TrialContext, session: Session, share: Share, service: str) -> Mapping[str, Any]:
        """Start one created service; returns its handle. Raises ServiceFailed with the error class it deserves."""

    @abstractmethod
    def reset(self, ctx: TrialContext, session: Session, share: Share, service: str) -> None:
        """Remove what is left of a failed service and create it afresh, so that it can be started again."""

    @abstractmethod
    def states(self, session: Session, share: Share) -> Mapping[str, State]:
        """The state of every service of the share, in one look."""

    @abstractmethod
    def endpoint(self, share: Share, service: str) -> Endpoint | None:
        """Where the service answers, as seen from the controller; None if it publishes nothing."""

    @abstractmethod
    def logs(self, session: Session, share: Share, service: str, into: Path, *, limit: int) -> Path | None:
        """Write the service's output (its last ``limit`` bytes) to a file under ``into``; None if there is none."""

    @abstractmethod
    def stop(self, ctx: TrialContext, session: Session, share: Share, service: str) -> None:
        """Stop one service gently; harmless if it does not run."""

    @abstractmethod
    def down(self, ctx: TrialContext, session: Session, project: str) -> None:
        """Remove everything that carries this project, with nothing but its name and the journal's effects."""

    @abstractmethod
    def residue(self, session: Session, project: str) -> Sequence[Residue]:
        """What still carries this project on the node; an empty answer means that it was looked at and is clean."""


# -- measuring and watching ---------------------------------------------------------------------------------------


class Benchmark(Driver[OptionsT]):
    """A load generator."""

    kind = "benchmark"

    def check(self, directory: Path) -> Sequence[str]:
        """Problems that can be seen in the scenario's folder before anything is touched."""
        return ()

    def fit(self, ctx: TrialContext) -> str | None:
        """Why it cannot measure on these nodes, or None if it can: a tool that is missing, or is of another version.

        Asked once per trial, before anything is deployed; must not change anything.
        """
        return None

    @abstractmethod
    def run(self, ctx: TrialContext, deployment: Deployment, load: Load) -> Measurement:
        """Put ``load`` on the deployment and say what came of it."""


@frozen
class Place:
    """A machine that load can be sent from.

    ``offset``: its wall clock minus ours, in seconds, known to within ``error``.
    """

    name: str
    offset: float = 0.0
    error: float = 0.0


class LoadExecutor(Driver[OptionsT]):
    """Sends the shares of one load from several machines at once."""

    kind = "executor"

    @abstractmethod
    def places(self, ctx: TrialContext) -> Sequence[Place]:
        """The machines that are there now, each with its clock. Raises NodeError if there is none."""

    @abstractmethod
    def run(self, ctx: TrialContext, program: bytes, shares: Mapping[str, bytes]) -> Mapping[str, bytes]:
        """Run a program once on each named place, all at the same time, and return what each printed, by place.

        ``program`` is a Python zip application; each gets its share on its standard input. All or nothing: raises
        CommandFailed, CommandTimeout or NodeError if one did not end well; by then the others have been ended too.
        """


@frozen
class Target:
    """What a probe looks at: one service on one node.

    ``host`` is the address to reach it at; ``dial`` it through ``session`` to see it as the node does.
    """

    service: Service
    node: Node
    host: str
    session: Session
    state: State
    endpoint: Endpoint | None = None
    owner: str = ""


class Probe(Driver[OptionsT]):
    """A type of health check: asks once; the kernel does the waiting, the retrying and the bounding in time."""

    kind = "probe"

    @abstractmethod
    def check(self, target: Target) -> Health:
        """Look once. A refused connection or a wrong answer is a bad Health, not an exception."""


class Collector(Driver[OptionsT]):
    """A way of bringing evidence home. It must work after any failure, with whatever is still there."""

    kind = "collector"

    @abstractmethod
    def collect(self, ctx: TrialContext, deployment: Deployment | None, into: Path) -> Sequence[Artifact]:
        """Bring files under ``into`` and describe each; a part that fails is warned about, not raised."""


class Reporter(Driver[OptionsT]):
    """A report format: a pure function of the result, so it also works on old runs."""

    kind = "reporter"

    @abstractmethod
    def write(self, result: CampaignResult, into: Path) -> Sequence[Path]:
        """Write the report's files under ``into`` and return them, the one to open first."""


@frozen
class Setting:
    """A value that counts, and where it was said: ``file:line``, a flag, an environment variable, or ``default``."""

    key: str
    value: Any
    origin: str


class Reader(Driver[OptionsT]):
    """A vocabulary of configuration files."""

    kind = "reader"

    @abstractmethod
    def read(self, sources: Sources, problems: Problems) -> Configuration:
        """Turn the user's files into objects; every problem of every file goes to ``problems``, none is raised."""

    def plugins(self, sources: Sources, problems: Problems) -> PluginPolicy:
        """What the files say of plugins, alone: for commands that need nothing else."""
        return self.read(sources, problems).plugins

    def disable(self, sources: Sources, plugin: str, *, disabled: bool) -> Path:
        """Write into the user's file whether a plugin is left out; returns that file.

        ``plugin``: its name, ``kind:name``, or a distribution. Raises ConfigError.
        """
        raise ConfigError([f"{type(self).__name__} cannot change files"])

    def explain(self, sources: Sources) -> Sequence[Setting]:
        """Every effective value, and where it comes from. Files with problems are left out."""
        return ()

    def schemas(self) -> Mapping[str, Mapping[str, Any]]:
        """The JSON Schema of each file of this vocabulary, by the name of the file without its ending."""
        return {}

    def enable(self, sources: Sources, scenario: str, *, enabled: bool) -> Path:
        """Write into the user's file whether a scenario is enabled; returns that file. Raises ConfigError."""
        raise ConfigError([f"{type(self).__name__} cannot change files"])


KINDS: Mapping[str, type[Driver[Any]]] = {
    cls.kind: cls for cls in (Transport, Composer, Benchmark, Probe, Collector, Reporter, Reader, LoadExecutor)
}
