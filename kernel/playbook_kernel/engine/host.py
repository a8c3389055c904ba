"""The parent's side of one trial: start its process, listen, write down, and know when it is lost."""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import define, evolve, field

from playbook_kernel.context import Effect
from playbook_kernel.model import (
    PHASES,
    Event,
    FactsFound,
    Output,
    PhaseEnded,
    PhaseOutcome,
    PhaseStarted,
    TrialResult,
    Warned,
)
from playbook_kernel.model.codec import decode, encode
from playbook_kernel.redaction import known
from playbook_kernel.scope import Cancel

from . import protocol
from .guests import EPHEMERAL
from .job import Job
from .journal import Journal, applied
from .store import now
from .verdicts import merged


@define(eq=False)
class TrialHost:
    """Runs one job in a child process; ``tell`` gets every event, ``lock`` is the run's, and the child inherits it."""

    job: Job
    journal: Journal
    tell: Callable[[Event], None]
    cancel: Cancel
    lock: int
    effects: tuple[Effect, ...] = ()
    _news: queue.SimpleQueue[tuple[str, Any]] = field(factory=queue.SimpleQueue)
    _outcomes: list[PhaseOutcome] = field(factory=list)
    _phase: str = ""
    _plugin: str = ""
    _last_words: str = ""
    _facts: dict[str, Mapping[str, Any]] = field(factory=dict)
    _result: TrialResult | None = None

    def run(self) -> TrialResult:
        """Run the job to its end; a child that dies, hangs or falls silent gives a result that says so."""
        self.effects = self.job.effects
        temp = tempfile.mkdtemp(prefix=f"{self.job.trial.id}.")
        began, started = time.monotonic(), now()
        read_end, write_end = os.pipe()
        child = subprocess.Popen(
            [sys.executable, "-m", "playbook_kernel.engine.worker", str(write_end)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(write_end, self.lock),
            start_new_session=True,
            env={**os.environ, "TMPDIR": temp},
        )
        os.close(write_end)
        assert child.stdin is not None
        sender = protocol.Sender(child.stdin)
        lost = ""
        try:
            readers = self._listen(child, read_end)
            with self.cancel.watching(lambda: self._news.put(("cancel", self.cancel.reason))):
                sender.send("job", job=encode(evolve(self.job, secrets=known()), reveal=True))
                lost = self._converse(sender, child, began)
        finally:
            sender.close()
            status = _end(child, 0.0 if lost else self.job.patience.leave)
            _sweep(temp)
        for reader in readers:
            reader.join(1.0)
        while not self._news.empty():
            kind, data = self._news.get()
            if kind == "line":
                self._tell_line(*data)
        shutil.rmtree(temp, ignore_errors=True)
        if self._result is not None:
            return self._result
        return self._lost(lost or _how(status), started, time.monotonic() - began)

    def _listen(self, child: subprocess.Popen[bytes], descriptor: int) -> list[threading.Thread]:
        # Each thread closes what it reads: closed by another one, its number could already be another file's.
        def hear() -> None:
            try:
                for message in protocol.messages(descriptor):
                    self._news.put(("message", message))
                self._news.put(("end", ""))
            except protocol.Garbage as error:
                self._news.put(("garbage", str(error)))
            finally:
                os.close(descriptor)

        def read(stream: Any, pipe: str) -> None:
            with stream:
                for raw in iter(lambda: stream.readline(65536), b""):
                    self._news.put(("line", (pipe, raw.decode("utf-8", "replace").rstrip("\n"))))

        threads = [
            threading.Thread(target=hear, daemon=True, name="hear"),
            threading.Thread(target=read, args=(child.stdout, "stdout"), daemon=True, name="stdout"),
            threading.Thread(target=read, args=(child.stderr, "stderr"), daemon=True, name="stderr"),
        ]
        for thread in threads:
            thread.start()
        return threads

    def _converse(self, sender: protocol.Sender, child: subprocess.Popen[bytes], began: float) -> str:
        """Answer the child until it is over; returns why it was given up, if it was."""
        timeouts, patience = self.job.trial.scenario.timeouts, self.job.patience
        limit = sum(timeouts.of(p) + 2 * patience.grace for p in PHASES) + patience.silence
        heard, quiet = time.monotonic(), 0
        while True:
            batch: list[tuple[str, Any]] = []
            with contextlib.suppress(queue.Empty):
                batch.append(self._news.get(timeout=min(patience.silence, 1.0)))
                while len(batch) < 1000:
                    batch.append(self._news.get_nowait())
            messages = [data for kind, data in batch if kind == "message"]
            if messages:
                heard, quiet = time.monotonic(), 0
                try:
                    self._write_down(sender, messages)
                except (ValueError, KeyError, TypeError) as error:
                    return f"its process broke the protocol: {type(error).__name__}: {error}"
            elif time.monotonic() - heard > patience.silence or (not batch and child.poll() is not None):
                quiet += 1  # looked at again: whoever was stopped (Ctrl-Z), or starved, has not read yet what was said
                if quiet > 2:  # of a process that has ended: what it started holds its pipes open
                    return "" if child.poll() is not None else f"its process said nothing for {patience.silence:.0f} s"
            if time.monotonic() - began > limit:
                return "its process did not end within the deadlines of all its phases"
            for kind, data in batch:
                if kind == "cancel":
                    sender.send("cancel", reason=data)
                elif kind == "line":
                    self._tell_line(*data)
                elif kind == "garbage":
                    return f"its process broke the protocol: {data}"
                elif kind == "end":
                    return ""

    def _write_down(self, sender: protocol.Sender, messages: Sequence[Mapping[str, Any]]) -> None:
        entries: list[tuple[str, str, Mapping[str, Any]]] = []
        intents: list[int] = []
        events: list[Event] = []
        for message in messages:
            kind = message["type"]
            fields: Mapping[str, Any] = {k: v for k, v in message.items() if k != "type"}
            if kind in ("intent", "done", "undone"):
                entries.append((kind, self.job.trial.id, fields))
                if kind == "intent":
                    intents.append(fields["id"])
            elif kind == "event":
                event: Event = decode(fields["event"], Event)
                events.append(event)
                if not isinstance(event, EPHEMERAL):
                    entries.append(("event", self.job.trial.id, fields["event"]))
            elif kind == "entered":
                self._plugin = fields["plugin"]
            elif kind == "result":
                self._result = decode(fields["result"], TrialResult)
        try:
            self.journal.append(entries, sync=any(kind != "event" for kind, _, _ in entries))
        except OSError as error:
            if intents:
                sender.send("refuse", ids=intents, error=str(error))
            self.tell(Warned(f"the journal could not be written: {error}", trial=self.job.trial.id))
        else:
            for kind, _, data in entries:
                self.effects = applied(self.effects, kind, data)
            if intents:
                sender.send("ack", ids=intents)
        for event in events:
            self._notice(event)
            self.tell(event)

    def _notice(self, event: Event) -> None:
        if isinstance(event, PhaseStarted):
            self._phase = event.phase
        elif isinstance(event, PhaseEnded):
            self._outcomes.append(event.outcome)
            self._phase = ""
        elif isinstance(event, FactsFound):
            self._facts[event.node] = event.facts

    def _tell_line(self, pipe: Any, line: str) -> None:
        trial = self.job.trial
        if line.strip():
            if pipe == "stderr":
                self._last_words = line.strip()[:500]
            self.tell(Output(line, pipe, "plugin", trial=trial.id, scenario=trial.scenario.name))

    def _lost(self, why: str, started: str, seconds: float) -> TrialResult:
        ended = [o.phase for o in self._outcomes]
        phase: Any = self._phase or next((p for p in PHASES if p not in ended and self.job.mode == "run"), "cleanup")
        words = f" (its last words: {self._last_words})" if self._last_words else ""
        outcome = PhaseOutcome(
            phase,
            "cancelled" if self.cancel.requested else "failed",
            0.0,
            now(),
            f"the trial was lost: {why}{words}",
            "plugin",
            self._plugin,
            hint="the log of the run may say more",
        )
        trial = self.job.trial
        return TrialResult(
            trial.id,
            trial.scenario.name,
            "cancelled" if self.cancel.requested else "failed",
            trial.attempt,
            started,
            now(),
            round(seconds, 6),
            (*self._outcomes, outcome),
            self._facts,
        )


def _end(child: subprocess.Popen[bytes], patience: float) -> int:
    """See a child out; one that stays is killed with everything it started."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(patience)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    return child.wait()


def _sweep(temp: str) -> None:
    """Kill what the child has let go of: whatever it started has its temporary folder in the environment."""
    mark = f"TMPDIR={temp}".encode()
    for _ in range(100):
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                if mark in path.read_bytes().split(b"\0"):
                    found.append(int(path.parent.name))
        if not found:
            return
        for pid in found:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


def _how(status: int) -> str:
    if status < 0:
        return f"its process was killed by {signal.Signals(-status).name}"
    return f"its process ended with status {status} and without a result"


def run_trial(job: Job, journal: Journal, tell: Callable[[Event], None], cancel: Cancel, lock: int) -> TrialResult:
    """Run a trial in a process of its own; if anything of it may be left, clean up in a fresh one."""
    host = TrialHost(job, journal, tell, cancel, lock)
    result = host.run()
    if result.clean and not host.effects:
        return result
    # A mishap of a moment deserves a second try; more would only hide what is wrong.
    return merged(result, clean_up(job, host.effects, journal, tell, lock, facts=result.facts))


def clean_up(
    job: Job,
    effects: tuple[Effect, ...],
    journal: Journal,
    tell: Callable[[Event], None],
    lock: int,
    *,
    facts: Mapping[str, Mapping[str, Any]] | None = None,
) -> TrialResult:
    """Clean up after a trial in a fresh process that has nothing but the journal's effects."""
    again = evolve(job, mode="cleanup", effects=effects, facts=facts or {})
    return TrialHost(again, journal, tell, Cancel(), lock).run()
