"""The live picture: what each service on each node does, the phases with their times, the last lines of output."""

from __future__ import annotations

import atexit
import contextlib
import threading
import time
from itertools import zip_longest
from typing import TextIO

from playbook_kernel.api import CampaignEnded, Event, Residue, ResidueFound, ScenarioEnded, TrialStarted, Warned
from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.live import Live
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from .board import Board, Row, duration, printable
from .plain import verdict_line

_STYLES = {
    "completed": "green", "ok": "green", "ready": "green",
    "failed": "bold red", "timeout": "bold red", "blocked": "red", "cancelled": "yellow", "retrying": "yellow",
    "running": "bold cyan", "creating": "cyan", "starting": "cyan", "stopping": "cyan", "skipped": "yellow",
}  # fmt: skip
_MARKS = {"ok": "✓", "running": "▸", "": "·", "skipped": "⊘"}
_OTHER_LINES = 6
"""Lines of the picture that are neither services nor output."""


class LiveView:
    """Redraws the picture a few times a second; what ended stays above it as plain lines."""

    def __init__(self, board: Board, out: TextIO) -> None:
        self._board = board
        self._console = Console(file=out, highlight=False, soft_wrap=False)
        self._lock = threading.Lock()
        self._live = Live(self, console=self._console, refresh_per_second=6, transient=True, redirect_stdout=False)
        self._left: list[Residue] = []
        self._started = False

    def show(self, event: Event) -> None:
        with contextlib.suppress(OSError, ValueError), self._lock:
            match event:
                case TrialStarted():
                    self._left.clear()
                    self._start()
                case ResidueFound():
                    self._left.append(event.residue)
                case Warned() if not event.scenario:
                    self.say(f"warning: {printable(event.message)}")
                case ScenarioEnded():
                    self._console.print(self._final(event))
                case CampaignEnded():
                    self.close()

    def say(self, line: str) -> None:
        self._console.print(Text(line, style="yellow"))

    def _start(self) -> None:
        if not self._started:
            self._started = True
            self._live.start()
            # A process that is ended at once could not show the cursor again, so it is never hidden.
            self._console.show_cursor(show=True)
            atexit.register(self.close)

    def close(self) -> None:
        if self._started:
            self._started = False
            self._live.stop()
            atexit.unregister(self.close)

    # -- the picture ----------------------------------------------------------------------------------------------

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw the board as it stands, no higher than the terminal."""
        height = max(options.size.height - 1, 4)
        lines = console.render_lines(Group(*self._parts(height)), options, pad=False)[:height]
        for line in lines:
            yield from line
            yield Segment.line()

    def _parts(self, height: int) -> list[Text | Table]:
        board = self._board
        done = f"{len(board.ended)}/{len(board.scenarios)} done"
        if not board.scenario:
            pause = ""
            if board.waiting:
                why, until = board.waiting
                pause = f", waiting {duration(max(0.0, until - time.monotonic()))} {why}"
            return [_text(f"{done}{pause}", "dim")]
        again = f", attempt {board.attempt}" if board.attempt > 1 else ""
        head = Text.assemble((board.scenario, "bold"), again, f"  {duration(board.seconds())}  ", (done, "dim"))
        room = max(1, height - _OTHER_LINES)
        kept = min(len(board.lines), max(2, room // 3))
        parts: list[Text | Table] = [_cut(head), self._phases()]
        if board.rows:
            parts.append(self._services(max(1, room - kept)))
        for what, step in list(board.progress.items())[-2:]:
            total = f" of {step.total:g}" if step.total else ""
            parts.append(_text(f"{what}: {step.done:g}{total} {step.unit}".rstrip(), "cyan"))
        parts += [_text(f"warning: {w}", "yellow") for w in board.warnings[-1:]]
        parts += [_text(f"│ {line}", "dim") for line in list(board.lines)[-kept:]] if kept else []
        return parts

    def _phases(self) -> Text:
        """Every phase with its time; on a narrow terminal only the one that runs, and those that did not end well."""
        wide, narrow = Text(overflow="ellipsis", no_wrap=True), Text(overflow="ellipsis", no_wrap=True)
        for phase, status, seconds in self._board.phase_words():
            took = "" if seconds is None else f" {duration(seconds)}"
            mark, style = _MARKS.get(status, "✗"), _STYLES.get(status, "dim")
            wide.append(f"{mark} {phase}{took}  ", style=style)
            narrow.append(mark if status in ("ok", "") else f" {mark} {phase}{took} ", style=style)
        return wide if wide.cell_len <= self._console.width + 2 else narrow

    def _services(self, room: int) -> Table:
        rows = list(self._board.rows.values())
        more: list[Row] = []
        if len(rows) > room:  # what is ready needs no eye: it is left out first
            rows.sort(key=lambda r: r.status in ("ready", "stopped"))
            rows, more = rows[: room - 1], rows[room - 1 :]
        cells = [(r.service, r.node, r.status) for r in rows]
        if more:
            cells.append((f"+{len(more)} more", "", f"{sum(r.status == 'ready' for r in more)} ready"))
        table = Table.grid(padding=(0, 2, 0, 0))
        widths = [min(max(len(c[n]) for c in cells), max(6, self._console.width // 4)) for n in range(3)]
        for width in (*widths, max(1, self._console.width - sum(widths) - 6)):
            table.add_column(no_wrap=True, overflow="ellipsis", width=width)
        for (service, node, status), row in zip_longest(cells, rows):
            style = _STYLES.get(status, "") if row else "dim"
            table.add_row(Text(service), Text(node), Text(status, style), _detail(row) if row else "")
        return table

    def _final(self, event: ScenarioEnded) -> Group:
        result = event.result
        parts: list[Text] = [Text(verdict_line(event), style=_STYLES.get(result.status, ""), overflow="fold")]
        last = result.last
        if last is not None:
            took = "  ".join(f"{p.phase} {duration(p.seconds)}" for p in last.phases if p.status != "skipped")
            parts.append(Text(f"  {took}", style="dim"))
            for warning in last.warnings:
                parts.append(Text(f"  warning: {printable(warning)}", style="yellow"))
            if result.status != "completed":
                failure = last.failure
                if failure is not None and failure.hint:
                    parts.append(Text(f"  hint: {printable(failure.hint)}"))
                for row in self._board.rows.values():
                    if row.status not in ("ready", "stopped", "stopping"):
                        parts.append(Text(f"  {row.service} on {row.node}: {row.status} {row.detail}".rstrip()))
                parts += [Text(f"  │ {line}", style="dim") for line in self._board.lines]
        for left in self._left:
            whose = "foreign " if left.foreign else ""
            parts.append(
                Text(f"  ❌ {whose}{left.kind} {left.name} is on {left.node} {printable(left.detail)}".rstrip())
            )
        return Group(*parts)


def _detail(row: Row) -> Text:
    took = row.took if row.took is not None else time.monotonic() - row.since
    again = f"attempt {row.attempt}  " if row.attempt > 1 else ""
    detail = "" if row.status == "ready" else row.detail
    return Text(f"{duration(took)}  {again}{detail}".rstrip(), "dim", no_wrap=True, overflow="ellipsis")


def _text(text: str, style: str = "") -> Text:
    return Text(text, style, no_wrap=True, overflow="ellipsis")


def _cut(text: Text) -> Text:
    text.no_wrap, text.overflow = True, "ellipsis"
    return text
