"""The kinds of driver that a scenario can name, and the session to a node that most of them work through.

A driver is one named implementation of one job. The scenario picks it, the kernel builds it from its own options, and
nothing else of it is global. To write one, subclass the kind, say which attrs class holds its options, and name the
class in an entry point::

    [project.entry-points."playbook_kernel.benchmark"]
    my-bench = "my_package:MyBench"
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar, get_args

from attrs import field, frozen, has

from .errors import ConfigError, PluginError
from .session import Session

if TYPE_CHECKING:
    from .config import Problems, Sources
    from .context import TrialContext
    from .model import (
        Artifact,
        CampaignResult,
        Configuration,
        Deployment,
        Endpoint,
        Fact,
        Health,
        Load,
        Measurement,
        Node,
        PluginPolicy,
        Residue,
        Scenario,
        Service,
    )

OptionsT = TypeVar("OptionsT")


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


# -- nodes --------------------------------------------------------------------------------------------------------


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
        return {service.name: service for service in self.services}[name]


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


@frozen
class Attachment:
    """How one container or process of a service is on the network.

    ``pid``: a process in its network namespace; 0: it is the node's own. ``addresses``: its own in there, none for the node's.
    """

    pid: int = 0
    addresses: tuple[str, ...] = ()


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

    def disturb(self, session: Session, share: Share, service: str, act: Literal["kill", "pause", "resume"]) -> None:
        """Kill all that a service runs, hold it still, or let it go on; harmless if that is so already.

        For faults on purpose; whoever calls it has announced it. Raises PluginError where this composer cannot.
        """
        raise PluginError(f"{type(self).__name__} has no way to {act} a service")

    def attachments(self, session: Session, share: Share, service: str) -> Sequence[Attachment]:
        """How a running service is on the network. Raises PluginError where this composer does not know."""
        raise PluginError(f"{type(self).__name__} does not know how a service is on the network")


# -- measuring and watching ---------------------------------------------------------------------------------------


class Benchmark(Driver[OptionsT]):
    """A load generator. ``counts``: it emits Progress of ``requests`` as they end, for faults that strike after so many."""

    kind = "benchmark"
    counts: ClassVar[bool] = False

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
        An error may have ``kept``: what those printed that were ended (SIGTERM) before their time, by place.
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

    def address(self, host: str) -> tuple[str, int] | None:
        """What a check of a node at ``host`` connects to from here: while that refuses, nobody need ask. None: ask."""
        return None


@frozen
class Wound:
    """What a fault does to one node: ``what``, in words, and ``data``, all that healing needs: JSON, no secrets.

    ``service``: the one that is out of order meanwhile; that it is gone is then no surprise.
    """

    node: str
    what: str
    service: str = ""
    data: Mapping[str, Fact] = field(factory=dict)


class Fault(Driver[OptionsT]):
    """A way of breaking something on purpose while a load runs. The caller keeps the time and the journal."""

    kind = "fault"

    def check(self, scenario: Scenario) -> Sequence[str]:
        """Problems that can be seen before anything is touched, such as a service that there is not."""
        return ()

    def fit(self, ctx: TrialContext) -> str | None:
        """Why it cannot be made on these nodes, or None if it can. Asked before the deploy; must not change anything."""
        return None

    @abstractmethod
    def plan(self, ctx: TrialContext, deployment: Deployment) -> Sequence[Wound]:
        """What it is going to do, found by looking, the moment before; it is journalled. Must not change anything."""

    @abstractmethod
    def strike(self, ctx: TrialContext, wound: Wound) -> None:
        """Do it, and see that it is done."""

    @abstractmethod
    def heal(self, ctx: TrialContext, wound: Wound) -> None:
        """Make it good while the load goes on, and see that it is; harmless if it was only planned."""

    def undo(self, ctx: TrialContext, wound: Wound) -> None:
        """Leave nothing of it, after the load; also in a later process that has only the journal. As a rule: heal."""
        self.heal(ctx, wound)


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
    cls.kind: cls for cls in (Transport, Composer, Benchmark, Probe, Collector, Reporter, Reader, LoadExecutor, Fault)
}
