"""What the user asked for: scenarios, their services, and how patient to be with them. Times are in seconds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from attrs import field, frozen

from .fleet import DriverRef, Node

Phase = Literal["discover", "deploy", "healthcheck", "benchmark", "collect", "cleanup"]
PHASES: tuple[Phase, ...] = ("discover", "deploy", "healthcheck", "benchmark", "collect", "cleanup")

Condition = Literal["started", "healthy", "completed"]


@frozen
class Check:
    """One health check of a service. ``required=False`` makes it advisory: it is told, and fails nothing."""

    probe: DriverRef
    required: bool = True
    timeout: float = 10.0


@frozen
class HealthPolicy:
    """When a service counts as ready.

    Probing starts at once. During ``grace`` failures do not count (success does); after it, ``retries`` further
    failed rounds ``interval`` apart are allowed. ``timeout`` bounds the whole wait. With ``abort`` the first failed
    required check after the grace period ends the wait.
    """

    enabled: bool = True
    grace: float = 90.0
    interval: float = 15.0
    retries: int = 3
    timeout: float = 300.0
    abort: bool = False


@frozen
class Edge:
    """``service`` must have reached ``condition`` before the owner of this edge starts."""

    service: str
    condition: Condition = "healthy"


@frozen
class Service:
    """A service and the nodes it runs on; the same service may run on several.

    ``definition`` is the file (compose file) that describes it; ``after`` unites every source of order.
    ``one_shot``: it is ready when it has exited with status 0. ``options``: what its composer is told of it alone.
    """

    name: str
    nodes: tuple[str, ...]
    definition: Path
    after: tuple[Edge, ...] = ()
    checks: tuple[Check, ...] = ()
    health: HealthPolicy = field(factory=HealthPolicy)
    one_shot: bool = False
    options: Mapping[str, Any] = field(factory=dict)


@frozen
class RetryPolicy:
    """How often the deploy of one service is tried again, by error class.

    ``attempts`` maps an error class (see errors.py) to how many *further* tries it deserves; ``other`` serves the
    classes that are not named; ``config`` is never retried. ``delay`` lies before each further try. ``timeouts`` maps
    an error class (or ``other``) to the seconds that a further try may take after such an error. ``patterns`` maps an
    error class to texts: an error whose message holds one, in any case, is of that class.
    """

    other: int = 2
    attempts: Mapping[str, int] = field(factory=dict)
    delay: float = 30.0
    timeouts: Mapping[str, float] = field(factory=dict)
    patterns: Mapping[str, tuple[str, ...]] = field(factory=dict)


@frozen
class Timeouts:
    """Upper bounds of the phases, and of one service's deploy on one node, in seconds."""

    discover: float = 120.0
    deploy: float = 3600.0
    service: float = 600.0
    healthcheck: float = 900.0
    benchmark: float = 3600.0
    collect: float = 900.0
    cleanup: float = 600.0

    def of(self, phase: Phase) -> float:
        """The bound of one phase."""
        return float(getattr(self, phase))


@frozen
class Load:
    """One load level; what a field means is the benchmark's business, None means that it decides.

    ``concurrency``: requests in flight. ``rate``: requests per second. ``requests``: how many. ``duration``: seconds.
    """

    concurrency: int | None = None
    rate: float | None = None
    requests: int | None = None
    duration: float | None = None


@frozen
class FaultPlan:
    """A fault that is made on purpose while the load runs, and when.

    One of these is given: ``at`` (seconds after the load began), ``requests`` (so many have ended), ``share`` (of all of
    them, 0 to 1). ``lasts``: seconds until it is healed; None: until the benchmark has ended.
    """

    fault: DriverRef
    at: float | None = None
    requests: int | None = None
    share: float | None = None
    lasts: float | None = None


@frozen
class Scenario:
    """A folder that describes an engine layout and a load.

    ``depends_on`` names scenarios that must have completed. ``skip`` says why this one is not to be run, if so.
    ``info`` keeps whatever else the metadata says (version, author, ...) for reports.
    """

    name: str
    directory: Path
    benchmark: DriverRef
    services: tuple[Service, ...] = ()
    load: Load = field(factory=Load)
    collectors: tuple[DriverRef, ...] = ()
    env_file: Path | None = None
    uploads: tuple[Path, ...] = ()
    description: str = ""
    tags: tuple[str, ...] = ()
    enabled: bool = True
    skip: str = ""
    depends_on: tuple[str, ...] = ()
    estimated_duration: float = 0.0
    max_concurrent_services: int = 5
    max_concurrent_checks: int = 10
    retry: RetryPolicy = field(factory=RetryPolicy)
    timeouts: Timeouts = field(factory=Timeouts)
    info: Mapping[str, Any] = field(factory=dict)
    faults: tuple[FaultPlan, ...] = ()

    @property
    def node_names(self) -> tuple[str, ...]:
        """Every node that a service is placed on, in order of first mention."""
        return tuple(dict.fromkeys(n for s in self.services for n in s.nodes))


@frozen
class Trial:
    """One execution of a scenario: it passes once through every phase.

    ``id`` is unique on all nodes and safe everywhere (``[a-z0-9][a-z0-9-]*``, at most 40 characters): it is the compose
    project name, the label, and the owner mark of remote processes. ``attempt`` counts from 1.
    """

    id: str
    scenario: Scenario
    attempt: int = 1


@frozen
class Policy:
    """How the campaign as a whole behaves.

    ``trial_memory``: bytes that a trial's own process may take; None: half of all. ``max_node_failures``: a node on which
    so many trials in a row failed is left out, and scenarios that need it are skipped; 0: never.
    """

    wait_between: float = 60.0
    continue_on_failure: bool = False
    retries: int = 1
    retry_interval: float = 30.0
    isolation: Literal["strict", "warn"] = "strict"
    trial_memory: int | None = None
    max_node_failures: int = 3


@frozen
class PluginPolicy:
    """What the user says of plugins: names, ``kind:name`` or distributions to leave out, pins, and must-haves.

    ``paths``: single-file plugins, absolute paths or names of modules. ``import_timeout``: seconds that an import may take.
    """

    disable: tuple[str, ...] = ()
    prefer: Mapping[str, str] = field(factory=dict)
    require: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    import_timeout: float = 20.0


@frozen
class Configuration:
    """All that the user's files say, checked and cross-checked. ``scenarios`` are in the order they will run."""

    nodes: Mapping[str, Node]
    scenarios: tuple[Scenario, ...]
    policy: Policy = field(factory=Policy)
    plugins: PluginPolicy = field(factory=PluginPolicy)
    reporters: tuple[DriverRef, ...] = ()
    warnings: tuple[str, ...] = ()
