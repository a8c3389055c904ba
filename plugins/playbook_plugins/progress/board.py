"""Where a campaign stands, learned from its events."""

from __future__ import annotations

import math
import re
import time
from collections import deque
from collections.abc import Callable

from attrs import define, field
from playbook_kernel.api import (
    PHASES,
    CampaignStarted,
    Event,
    FaultChanged,
    Output,
    Phase,
    PhaseEnded,
    PhaseOutcome,
    PhaseStarted,
    Progress,
    ScenarioEnded,
    ServiceChanged,
    TrialStarted,
    Waiting,
    Warned,
    redact,
)

KEPT_LINES = 8
SIGNS = {"completed": "✓", "failed": "✗", "skipped": "⊘", "cancelled": "⊘"}
_CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b.|[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def printable(line: str) -> str:
    r"""What a terminal would show of a line in the end: no escapes, no secrets, the last state of a progress bar.

    >>> printable("10%\r\x1b[32m20%\x1b[0m")
    '20%'
    """
    last = line.rstrip("\r").rpartition("\r")[2]
    return redact(_CONTROL.sub("", last).replace("\t", "    "))


def duration(seconds: float) -> str:
    """A duration as a person says it.

    >>> duration(3.14), duration(75), duration(3725), duration(math.inf)
    ('3.1 s', '1 min 15 s', '1 h 02 min', 'without limit')
    """
    if seconds == math.inf:
        return "without limit"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


@define
class Row:
    """One service on one node."""

    service: str
    node: str
    status: str = "waiting"
    detail: str = ""
    attempt: int = 1
    since: float = 0.0
    took: float | None = None
    """Seconds from its start to being ready, or to having failed."""


@define(eq=False)
class Board:
    """The campaign as it stands. ``apply`` every event, in order.

    ``clock``: when the event happened that is applied, as ``time.monotonic`` would have said it.
    """

    clock: Callable[[], float] = time.monotonic
    run: str = ""
    scenarios: tuple[str, ...] = ()
    ended: list[tuple[str, str]] = field(factory=list)
    scenario: str = ""
    attempt: int = 1
    began: float = 0.0
    phase: Phase | None = None
    phase_since: float = 0.0
    phases: dict[Phase, PhaseOutcome] = field(factory=dict)
    rows: dict[tuple[str, str], Row] = field(factory=dict)
    lines: deque[str] = field(factory=lambda: deque(maxlen=KEPT_LINES))
    progress: dict[str, Progress] = field(factory=dict)
    warnings: list[str] = field(factory=list)
    waiting: tuple[str, float] | None = None
    """Why the campaign pauses, and until when (monotonic)."""

    @property
    def number(self) -> int:
        """The place of the current scenario in the campaign, from 1."""
        return len(self.ended) + 1

    def apply(self, event: Event) -> None:
        """Learn what happened."""
        match event:
            case CampaignStarted():
                self.run, self.scenarios = event.run, event.scenarios
                self.ended.clear()
            case TrialStarted():
                self._start(event)
            case PhaseStarted():
                self.phase, self.phase_since = event.phase, self.clock()
            case PhaseEnded():
                self.phases[event.outcome.phase] = event.outcome
                self.phase = None
            case ServiceChanged():
                self._service(event)
            case Output():
                if (text := printable(event.line)) and not text.startswith("METRIC:"):
                    self.lines.append(text)
            case Progress():
                self.progress[event.what] = event
            case FaultChanged():
                self.lines.append(printable(f"⚡ {event.what}: {event.status}"))
            case Warned():
                self.warnings.append(printable(event.message))
            case Waiting():
                self.waiting = event.why, self.clock() + event.seconds
            case ScenarioEnded():
                self.ended.append((event.scenario, event.result.status))
                self.scenario, self.phase, self.waiting = "", None, None

    def _start(self, event: TrialStarted) -> None:
        self.scenario, self.attempt, self.began, self.waiting = event.scenario, event.attempt, self.clock(), None
        self.phase = None
        for kept in (self.phases, self.rows, self.lines, self.progress, self.warnings):
            kept.clear()

    def _service(self, event: ServiceChanged) -> None:
        row = self.rows.setdefault((event.service, event.node), Row(event.service, event.node, since=self.clock()))
        row.status, row.detail, row.attempt = event.status, printable(event.detail), event.attempt
        if event.status in ("creating", "starting"):
            row.since, row.took = self.clock(), None
        elif event.status in ("ready", "failed"):
            row.took = self.clock() - row.since
        else:
            row.took = None

    def seconds(self) -> float:
        """How long the current trial has been running."""
        return time.monotonic() - self.began

    def phase_words(self) -> list[tuple[Phase, str, float | None]]:
        """Every phase with its status (``""``: not yet) and its seconds."""
        words: list[tuple[Phase, str, float | None]] = []
        for phase in PHASES:
            if phase in self.phases:
                words.append((phase, self.phases[phase].status, self.phases[phase].seconds))
            elif phase == self.phase:
                words.append((phase, "running", time.monotonic() - self.phase_since))
            else:
                words.append((phase, "", None))
        return words
