"""A load made from several machines at once, through an executor; their records are merged one by one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextvars import copy_context
from pathlib import Path
from typing import Any

from attrs import define, field
from playbook_kernel.api import Cancel, Cancelled, LoadExecutor, Place, PlaybookError, TrialContext, current, within

from .core import piece
from .core.launch import LaunchError
from .core.plan import Settings
from .core.spool import Glance
from .node import packed

_LEAD = 5.0
_CONNECTION = 0.002
_SPEED = 20e6


@define
class Spread:
    """An executor, and what is learned of its machines from one load to the next.

    ``lead``: seconds from handing a load over to its start; long at first, then as long as the slowest needs.
    """

    executor: LoadExecutor[Any]
    ctx: TrialContext
    places: Sequence[Place]
    lead: float = _LEAD

    def site(self, folder: Path, settings: Settings) -> SpreadWorkers:
        """Makes one load."""
        return SpreadWorkers(self, folder, settings)


@define
class SpreadWorkers:
    """Like Workers, on several machines. Nothing is heard of them before the end."""

    spread: Spread
    folder: Path
    settings: Settings
    start: int = 0
    spools: list[Path] = field(factory=list)
    told: dict[str, Any] = field(factory=dict)
    _starts: dict[Path, int] = field(factory=dict)
    _ready: list[int] = field(factory=list)
    _failed: list[str] = field(factory=list)
    _cancel: Cancel = field(factory=Cancel)
    _came: Mapping[str, bytes] = field(factory=dict)
    _error: Exception | None = None
    _thread: threading.Thread | None = None

    def launch(self, timeout: float = 120.0) -> None:
        """Look at the clocks and hand the pieces over. Raises LaunchError."""
        spread, parts = self.spread, self.settings.processes
        try:
            seen = {p.name: p for p in spread.executor.places(spread.ctx)}
        except PlaybookError as error:
            raise LaunchError(str(error)) from error
        lost = [p.name for p in spread.places if p.name not in seen]
        if lost:
            raise LaunchError(f"{', '.join(lost)}: was there before, and is not any more")
        places = [seen[p.name] for p in spread.places][:parts]
        size = sum(p.stat().st_size for p in self.folder.iterdir()) * len(places)
        at = piece.wall(min(spread.lead + self.settings.connections * _CONNECTION + size / _SPEED, timeout))
        pieces = {
            p.name: piece.packed(self.folder, range(n, parts, len(places)), at + round(p.offset * 1e9))
            for n, p in enumerate(places)
        }
        self.told = {
            "places": {p.name: {"clock_offset_ms": p.offset * 1e3, "clock_error_ms": p.error * 1e3} for p in places},
            "epoch": round(at / 1e9, 6),
            "clock_error_ms": max(p.error for p in places) * 1e3,
        }
        self._thread = threading.Thread(target=copy_context().run, args=(self._run, pieces), daemon=True)
        self._thread.start()

    def _run(self, pieces: Mapping[str, bytes]) -> None:
        try:
            with current().cancel.watching(lambda: self._cancel.set("cancelled")), within(cancel=self._cancel):
                self._came = self.spread.executor.run(self.spread.ctx, packed(), pieces)
        except Exception as error:  # noqa: BLE001 - raised by wait, in the thread that asked
            self._error, self._came = error, getattr(error, "kept", {})

    def wait(self, interval: float = 0.5, look: Callable[[], bool] | None = None) -> None:
        """Wait for the end and keep the records. Raises LaunchError; what came is there all the same."""
        thread, stopping = self._thread, False
        while thread is not None and thread.is_alive():
            thread.join(interval)
            if look is not None and not stopping and look():
                stopping = True
                self._cancel.set("the load was stopped")
        for name, data in self._came.items():
            self._keep(name, data)
        if self._ready:
            self.spread.lead = piece.lead(min(self._ready), self.spread.lead)
        stopped = stopping and isinstance(self._error, Cancelled)
        if self._error is not None and not stopped:
            raise LaunchError(str(self._error)) from self._error
        if self._failed and not stopping:
            raise LaunchError("; ".join(self._failed))

    def _keep(self, name: str, data: bytes) -> None:
        try:
            came = piece.opened(data)
        except ValueError as error:
            self._failed.append(f"{name}: {error}")
            return
        if came.failed:
            self._failed.append(f"{name}: {came.failed}")
        self._ready.append(came.ready)
        self.told["places"][name]["ready_before_start_ms"] = came.ready / 1e6
        for data in came.spools:
            path = self.folder / f"spool-{len(self.spools)}.bin"
            path.write_bytes(data)
            self.spools.append(path)
            self._starts[path] = came.start

    def start_of(self, spool: Path) -> int:
        """When the load started, in the clock of the machine that made this spool."""
        return self._starts[spool]

    def news(self) -> list[Glance]:
        """Nothing: see above."""
        return []
