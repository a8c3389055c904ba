"""What the plugins answered, and what came of a campaign. Times: seconds; instants: ISO 8601 UTC strings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from attrs import field, frozen

from .fleet import Endpoint
from .scenario import Phase

Fact = str | int | float | bool | None | list[Any] | dict[str, Any]
"""A JSON value that is true of a node."""


@frozen
class Metric:
    """A number, its unit (``s ms tok/s req/s %``; ``1``: a count), and how many samples it stands on."""

    value: float
    unit: str
    samples: int | None = None


@frozen
class Measurement:
    """What one benchmark run measured. An empty one is an error: no metric, no measurement.

    ``requests`` and ``errors`` count what was asked and what failed, None if the tool does not say. ``method`` says how
    it was taken (tool, version, clock). ``raw`` is the tool's own output, JSON-like.
    """

    metrics: Mapping[str, Metric]
    requests: int | None = None
    errors: int | None = None
    method: str = ""
    raw: Mapping[str, Any] = field(factory=dict, repr=False)

    @classmethod
    def pick(cls, raw: Mapping[str, Any], **wanted: str) -> Self:
        """Take metrics out of a tool's own output; raises KeyError that names every one that is missing.

        >>> Measurement.pick({"output_throughput": 812.5}, throughput="output_throughput tok/s").metrics
        {'throughput': Metric(value=812.5, unit='tok/s', samples=None)}
        """
        split = {name: spec.partition(" ") for name, spec in wanted.items()}
        if missing := sorted(key for key, _, _ in split.values() if key not in raw):
            raise KeyError(f"the tool's output lacks {', '.join(missing)}")
        return cls({n: Metric(float(raw[k]), u) for n, (k, _, u) in split.items()}, raw=raw)


@frozen
class Health:
    """The verdict of one check of one service on one node. ``advisory``: told, but it fails nothing."""

    ok: bool
    detail: str = ""
    service: str = ""
    node: str = ""
    probe: str = ""
    advisory: bool = False
    seconds: float = 0.0


@frozen
class Artifact:
    """A file that the campaign keeps; ``path`` is relative to the trial's folder, with forward slashes.

    ``kind``: ``artifact``, ``log``, ``report`` or what a plugin calls it. ``origin``: the path it was taken from.
    ``partial``: it did not come whole, and ``note`` says why.
    """

    kind: str
    path: str
    node: str = ""
    origin: str = ""
    size: int = 0
    sha256: str = ""
    partial: bool = False
    note: str = ""


@frozen
class Residue:
    """Something that should not be on a node any more. ``foreign``: not ours, so it is told and left alone."""

    node: str
    kind: str
    name: str
    detail: str = ""
    foreign: bool = False


ServiceStatus = Literal[
    "waiting",
    "creating",
    "starting",
    "ready",
    "retrying",
    "failed",
    "blocked",
    "stopping",
    "stopped",
    "unknown",
]


@frozen
class Instance:
    """One service on one node, as it was brought up. ``handle``: ids that its composer needs, JSON."""

    service: str
    node: str
    status: ServiceStatus
    attempts: int = 1
    seconds: float = 0.0
    error: str = ""
    handle: Mapping[str, Any] = field(factory=dict)


@frozen
class Deployment:
    """What is running. ``endpoints`` are by service name (of its first node) and by ``service@node``."""

    instances: tuple[Instance, ...] = ()
    endpoints: Mapping[str, Endpoint] = field(factory=dict)
    composers: Mapping[str, str] = field(factory=dict)


PhaseStatus = Literal["ok", "failed", "timeout", "skipped", "cancelled"]


@frozen
class PhaseOutcome:
    """How one phase ended; ``plugin`` or ``node`` is at fault if it did not end well."""

    phase: Phase
    status: PhaseStatus
    seconds: float
    started: str = ""
    error: str = ""
    error_class: str = ""
    plugin: str = ""
    node: str = ""
    hint: str = ""


Status = Literal["pending", "running", "completed", "failed", "skipped", "cancelled"]


@frozen
class TrialResult:
    """Everything known about one trial. ``clean``: it was verified that nothing of it is left on any node.

    ``emergencies``: how often another process had to clean up after it.
    """

    trial: str
    scenario: str
    status: Status
    attempt: int = 1
    started: str = ""
    ended: str = ""
    seconds: float = 0.0
    phases: tuple[PhaseOutcome, ...] = ()
    facts: Mapping[str, Mapping[str, Any]] = field(factory=dict)
    deployment: Deployment | None = None
    health: tuple[Health, ...] = ()
    measurement: Measurement | None = None
    artifacts: tuple[Artifact, ...] = ()
    residue: tuple[Residue, ...] = ()
    clean: bool | None = None
    warnings: tuple[str, ...] = ()
    emergencies: int = 0

    @property
    def failure(self) -> PhaseOutcome | None:
        """The first phase that did not end well, if any."""
        return next((p for p in self.phases if p.status not in ("ok", "skipped")), None)


@frozen
class ScenarioResult:
    """The verdict on one scenario: that of its last trial; ``trials`` holds every attempt, in order."""

    scenario: str
    status: Status
    reason: str = ""
    description: str = ""
    directory: str = ""
    tags: tuple[str, ...] = ()
    trials: tuple[TrialResult, ...] = ()

    @property
    def last(self) -> TrialResult | None:
        """The trial that the verdict stands on."""
        return self.trials[-1] if self.trials else None


@frozen
class CampaignResult:
    """What reporters turn into files. ``id`` is the name of the run's folder.

    ``plugins``: the hooks that were at work, each with its distribution and version; empty: built in,
    ``not installed``: a single file.
    ``interruptions``: each time that the run ended too early and was gone on with, in words.
    """

    id: str
    started: str
    ended: str
    seconds: float
    status: Status
    scenarios: tuple[ScenarioResult, ...] = ()
    tool: str = ""
    command: tuple[str, ...] = ()
    plugins: Mapping[str, str] = field(factory=dict)
    warnings: tuple[str, ...] = ()
    schema: int = 1
    interruptions: tuple[str, ...] = ()

    def count(self, status: Status) -> int:
        """How many scenarios ended so."""
        return sum(s.status == status for s in self.scenarios)
