"""The sampling itself: a thread a node and a thread an engine, for as long as the load runs."""

from __future__ import annotations

import contextvars
import http.client
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from attrs import define, field
from playbook_kernel.api import Deployment, PlaybookError, Process, TrialContext

from playbook_plugins.web import ask

from .engines import EngineReader
from .node import SCRIPT, NodeReader, Row
from .options import FILE, Options

_PATIENCE, _AGAIN, _GIVE_UP = 5.0, 2.0, 3


@define(eq=False)
class Watch:
    """Samples from entering to leaving; leaving never raises for its own sake and takes at most a few seconds."""

    ctx: TrialContext
    deployment: Deployment
    options: Options
    _stop: threading.Event = field(factory=threading.Event, init=False)
    _threads: list[threading.Thread] = field(factory=list, init=False)
    _processes: set[Process] = field(factory=set, init=False)
    _lock: threading.Lock = field(factory=threading.Lock, init=False)
    _file: TextIO | None = field(default=None, init=False)

    @property
    def path(self) -> Path:
        """Where the samples go."""
        return self.ctx.directory / FILE

    def __enter__(self) -> Self:
        try:
            self._file = self.path.open("w", encoding="utf-8")
        except OSError as error:
            self.ctx.warn(f"telemetry cannot be kept: {error}")
            return self
        for node in self.ctx.trial.scenario.node_names:
            self._begin(f"telemetry-{node}", lambda n=node: self._watch_node(n))  # type: ignore[misc]
        if self.options.engines:
            for name, endpoint in self.deployment.endpoints.items():
                if "@" in name:
                    self._begin(f"telemetry-{name}", lambda n=name, e=endpoint: self._watch_engine(n, e.url))  # type: ignore[misc]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        with self._lock:
            running = list(self._processes)
        for process in running:
            process.kill()
        until = time.monotonic() + _PATIENCE
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None

    def _begin(self, name: str, work: Callable[[], None]) -> None:
        # A thread of its own has no scope unless it is given one; with it, a cancelled phase ends the waits in here too.
        thread = threading.Thread(target=contextvars.copy_context().run, args=(work,), name=name, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _keep(self, rows: list[Row]) -> None:
        if not rows:
            return
        text = "".join(json.dumps(row, separators=(",", ":")) + "\n" for row in rows)
        with self._lock:
            if self._file is not None:
                self._file.write(text)

    # -- nodes ----------------------------------------------------------------------------------------------------

    def _watch_node(self, node: str) -> None:
        """Listen to the node's script; when it ends before its time, begin again: the gap stays a gap."""
        offset = self.ctx.facts.get(node, {}).get("clock_offset", 0.0)
        told = False
        while not self._stop.is_set():
            try:
                self._listen(node, NodeReader(node, float(offset) if isinstance(offset, (int, float)) else 0.0))
            except PlaybookError as error:
                if not told and not self._stop.is_set():
                    told = True
                    self.ctx.log.warning("telemetry was interrupted", node=node, error=str(error))
            self._stop.wait(_AGAIN)

    def _listen(self, node: str, reader: NodeReader) -> None:
        interval = max(self.options.interval, 0.1)
        argv = [
            "sh",
            "-s",
            "--",
            f"{interval:g}",
            f"{max(self.options.slow_interval, 1):g}",
            f"{max(1, round(interval))}",
        ]
        with self.ctx.session(node).start(argv, stdin=True) as process:
            with self._lock:
                self._processes.add(process)
            if self._stop.is_set():  # whoever leaves has not seen this one
                return
            try:
                process.write(SCRIPT.encode())
                process.end_input()
                for pipe, line in process.lines():
                    if self._stop.is_set():
                        return
                    if pipe == "stdout":
                        self._keep(reader.feed(line))
            finally:
                with self._lock:
                    self._processes.discard(process)

    # -- engines --------------------------------------------------------------------------------------------------

    def _watch_engine(self, name: str, url: str) -> None:
        """Ask for the metrics until told to stop; an address that never had any is left in peace."""
        service, _, node = name.partition("@")
        source = f"{node}/{service}"
        reader = EngineReader()
        failures, ever = 0, False
        due = time.monotonic()
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            due = max(due + self.options.interval, time.monotonic())
            found = self._look(reader, url)
            if found:
                ever, failures = True, 0
                self._keep([{"t": round(time.time(), 3), "source": source, **found}])
            else:
                failures += 1
                if failures >= _GIVE_UP and not ever:
                    return

    def _look(self, reader: EngineReader, url: str) -> dict[str, Any]:
        try:
            answer = ask(f"{url.rstrip('/')}/metrics", timeout=2.0)
        except (OSError, http.client.HTTPException, ValueError, PlaybookError):
            return {}
        return dict(reader.read(answer.text, time.monotonic())) if answer.status == 200 else {}
