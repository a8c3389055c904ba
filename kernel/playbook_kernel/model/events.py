"""What happens, as data: a new thing to observe is a new class here, not a new hook.

Events travel from the trial's process to the parent as one JSON object each, ``{"event": "<class name>", ...}``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from attrs import field, frozen

from .results import Artifact, Health, PhaseOutcome, Residue, ScenarioResult, ServiceStatus, TrialResult
from .scenario import Phase


@frozen
class Event:
    """Base of all events. ``trial`` is empty for those of the campaign as a whole."""

    trial: str = field(default="", kw_only=True)
    scenario: str = field(default="", kw_only=True)


@frozen
class CampaignStarted(Event):
    """The plan is made and the run folder exists; ``scenarios`` are in order."""

    run: str
    folder: str
    scenarios: tuple[str, ...] = ()


@frozen
class CampaignResumed(Event):
    """A run goes on that ended too early: ``kept`` are the trials that stand, ``notes`` say what was found."""

    kept: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@frozen
class ScenarioSkipped(Event):
    """A scenario will not run, and why."""

    reason: str


@frozen
class TrialStarted(Event):
    """A trial's process is running."""

    attempt: int = 1
    nodes: tuple[str, ...] = ()
    services: tuple[str, ...] = ()


@frozen
class PhaseStarted(Event):
    """A phase begins."""

    phase: Phase


@frozen
class PhaseEnded(Event):
    """A phase ended, well or not."""

    outcome: PhaseOutcome


@frozen
class FactsFound(Event):
    """What discovery found true of a node."""

    node: str
    facts: Mapping[str, Any] = field(factory=dict)


@frozen
class ServiceChanged(Event):
    """A service on a node changed its state."""

    service: str
    node: str
    status: ServiceStatus
    detail: str = ""
    attempt: int = 1


@frozen
class HealthChecked(Event):
    """A check came to a verdict."""

    health: Health


@frozen
class Output(Event):
    """A line that a script or tool printed; ``node`` is empty for the controller."""

    line: str
    stream: Literal["stdout", "stderr"] = "stdout"
    source: str = ""
    node: str = ""


@frozen
class Progress(Event):
    """How far a long piece of work is; ``total`` None: unknown."""

    what: str
    done: float
    total: float | None = None
    unit: str = ""


@frozen
class FaultChanged(Event):
    """A fault that the scenario asks for was made, healed, or could not be; ``at``: when, Unix seconds.

    ``service``: which one is out of order because of it, if it is one. ``index``: its place in the scenario, from 0.
    """

    fault: str
    index: int
    status: Literal["struck", "healed", "failed"]
    what: str
    at: float
    node: str = ""
    service: str = ""


@frozen
class ArtifactKept(Event):
    """A file was brought home."""

    artifact: Artifact


@frozen
class ResidueFound(Event):
    """Cleanup left something, or something foreign was seen."""

    residue: Residue


@frozen
class Warned(Event):
    """Something that the user should know and that fails nothing."""

    message: str
    node: str = ""


@frozen
class TrialEnded(Event):
    """A trial is over and its result is on disk."""

    result: TrialResult


@frozen
class ScenarioEnded(Event):
    """The verdict on a scenario."""

    result: ScenarioResult


@frozen
class Waiting(Event):
    """The campaign pauses on purpose."""

    why: str
    seconds: float


@frozen
class CampaignEnded(Event):
    """All is done; reports come next."""

    status: str
    counts: Mapping[str, int] = field(factory=dict)
    seconds: float = 0.0


@frozen
class ReportWritten(Event):
    """A report is on disk."""

    path: str


EVENTS: Mapping[str, type[Event]] = {
    cls.__name__: cls
    for cls in (
        CampaignStarted,
        CampaignResumed,
        ScenarioSkipped,
        TrialStarted,
        PhaseStarted,
        PhaseEnded,
        FactsFound,
        ServiceChanged,
        HealthChecked,
        Output,
        Progress,
        FaultChanged,
        ArtifactKept,
        ResidueFound,
        Warned,
        TrialEnded,
        ScenarioEnded,
        Waiting,
        CampaignEnded,
        ReportWritten,
    )
}
