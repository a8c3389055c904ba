"""Plain lines: one for each change that matters, readable in a log of a CI system."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Protocol, TextIO

from attrs import define, field
from playbook_kernel.api import (
    CampaignResumed,
    Event,
    FaultChanged,
    HealthChecked,
    Output,
    PhaseEnded,
    PhaseOutcome,
    PhaseStarted,
    Progress,
    ResidueFound,
    ScenarioEnded,
    ServiceChanged,
    TrialStarted,
    Waiting,
    Warned,
    redact,
)

from .board import SIGNS, Board, duration, printable

_STEP = 0.1
"""The share of a long piece of work after which the next line about it is due."""


class View(Protocol):
    """Shows the board; called after each event was applied to it."""

    def show(self, event: Event) -> None:
        """Show what this event changed. Must not raise because nobody looks."""
        ...

    def say(self, line: str) -> None:
        """Show a line that is no event."""
        ...

    def close(self) -> None:
        """Leave the terminal as it was, though the campaign may not have ended."""
        ...


@define(eq=False)
class PlainView:
    """Prints a line, with the time of day, for each change; ``wall``: when that was, in Unix seconds."""

    board: Board
    out: TextIO
    wall: Callable[[], float] = time.time
    _shown: dict[str, float] = field(factory=dict)

    def show(self, event: Event) -> None:
        with contextlib.suppress(OSError, ValueError):  # a closed pipe must not end the campaign
            for line in self.lines(event):
                self.say(line)

    def say(self, line: str) -> None:
        self.out.write(f"{time.strftime('%H:%M:%S', time.localtime(self.wall()))} {line}\n")
        self.out.flush()

    def close(self) -> None:
        """Nothing is open."""

    def lines(self, event: Event) -> list[str]:
        """What there is to say of an event."""
        match event:
            case CampaignResumed():
                return [f"going on; {_count(len(event.kept), 'finished trial')} kept", *event.notes]
            case TrialStarted():
                self._shown.clear()
                again = f", attempt {event.attempt}" if event.attempt > 1 else ""
                place = f"[{self.board.number}/{max(len(self.board.scenarios), self.board.number)}]"
                on = f" on {', '.join(event.nodes)}" if event.nodes else ""
                return [f"{place} {event.scenario}{again}: {_count(len(event.services), 'service')}{on}"]
            case PhaseStarted():
                return [f"  {'🧹 ' if event.phase == 'cleanup' else ''}{event.phase} ..."]
            case PhaseEnded():
                return phase_lines(event.outcome)
            case ServiceChanged() if event.status != "waiting":
                return [f"    {service_line(event, self.board)}"]
            case HealthChecked() if not event.health.ok:
                kind = "advisory check" if event.health.advisory else "check"
                health = event.health
                return [f"    {health.service} on {health.node}: {kind} {health.probe} failed: {redact(health.detail)}"]
            case Output() if event.line.startswith("METRIC:"):
                return []  # for machines; the report shows them
            case Output():
                return [f"    | {printable(event.line)}"]
            case Progress():
                return self._progress(event)
            case FaultChanged():
                return [
                    f"    ⚡ {event.what}: {event.status}"
                    if event.status != "failed"
                    else f"    ❌ fault {event.fault}: {event.what}"
                ]
            case Warned():
                return [f"  warning: {f'{event.node}: ' if event.node else ''}{printable(event.message)}"]
            case ResidueFound():
                left = event.residue
                whose = "foreign " if left.foreign else ""
                return [f"    ❌ {whose}{left.kind} {left.name} is on {left.node}: {redact(left.detail)}".rstrip(": ")]
            case Waiting():
                return [f"  waiting {duration(event.seconds)} {event.why}"]
            case ScenarioEnded():
                return [verdict_line(event)]
        return []

    def _progress(self, event: Progress) -> list[str]:
        if not event.total:
            return []
        share = min(1.0, event.done / event.total)
        before = self._shown.get(event.what)
        if before is not None and share < 1.0 and share - before < _STEP:
            return []
        if before == share:
            return []
        self._shown[event.what] = share
        return [f"    {event.what}: {event.done:g} of {event.total:g} {event.unit}".rstrip()]


def service_line(event: ServiceChanged, board: Board) -> str:
    """``router on gpu1: ready after 3.2 s``."""
    row = board.rows[event.service, event.node]
    after = f" after {duration(row.took)}" if row.took is not None else ""
    again = f" (attempt {event.attempt})" if event.attempt > 1 else ""
    detail = f": {row.detail}" if row.detail and event.status != "ready" else ""
    return f"{event.service} on {event.node}: {event.status}{after}{again}{detail}"


def phase_lines(outcome: PhaseOutcome) -> list[str]:
    """How a phase ended; cleanup keeps the signs that people grep for."""
    if outcome.status == "skipped":
        return []
    sign = ("✅ " if outcome.status == "ok" else "❌ ") if outcome.phase == "cleanup" else ""
    lines = [f"  {sign}{outcome.phase} {outcome.status} {duration(outcome.seconds)}"]
    if outcome.error:
        lines += [f"    {printable(part)}" for part in outcome.error.splitlines()]
    if outcome.hint:
        lines.append(f"    hint: {printable(outcome.hint)}")
    return lines


def verdict_line(event: ScenarioEnded) -> str:
    """``✓ 001_pd completed in 12.3 s``."""
    result = event.result
    took = sum(t.seconds for t in result.trials)
    tail = f" in {duration(took)}" if result.trials else ""
    why = f": {printable(result.reason.splitlines()[0])}" if result.reason else ""
    return f"{SIGNS.get(result.status, '?')} {result.scenario} {result.status}{tail}{why}"


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
