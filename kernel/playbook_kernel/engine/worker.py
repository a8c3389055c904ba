"""A trial's own process: ``python -m playbook_kernel.engine.worker DESCRIPTOR``; see protocol.py for what is said.

It runs one job and nothing else. When the parent is gone it leaves at once: what it holds open (lifelines of local
commands, connections of remote ones) ends with it, and so do those commands; everything else is in the journal.
"""

from __future__ import annotations

import json
import os
import queue
import resource
import sys
import threading
from collections.abc import Mapping
from typing import Any

from attrs import define, field

from playbook_kernel import logs
from playbook_kernel.errors import Cancelled, PlaybookError, PluginError
from playbook_kernel.model import Event
from playbook_kernel.model.codec import decode, encode
from playbook_kernel.scope import Cancel

from . import protocol
from .job import Job, perform
from .store import LOG

_PARENT_GONE = 75


@define(eq=False)
class _Line:
    """The child's end of the conversation."""

    sender: protocol.Sender
    cancel: Cancel
    _answers: dict[int, str] = field(factory=dict)
    _answered: threading.Condition = field(factory=threading.Condition)

    def record(self, kind: str, entry: Mapping[str, Any]) -> None:
        """Hand a record over; for an intent, wait until it is on disk. Raises Cancelled or PlaybookError."""
        self.sender.send(kind, **encode(entry))
        if kind != "intent":
            return
        with self._answered:
            while entry["id"] not in self._answers:
                if self.sender.gone:
                    raise Cancelled("the parent is gone")
                self._answered.wait(1.0)
            if problem := self._answers.pop(entry["id"]):
                raise PlaybookError(f"the journal could not be written: {problem}", hint="is the disk full?")

    def emit(self, event: Event) -> None:
        data = encode(event)
        try:
            decode(data, Event)
        except ValueError as error:
            raise PluginError(f"an event that cannot be told: {error}") from error
        self.sender.send("event", event=data)

    def listen(self, jobs: queue.SimpleQueue[Job]) -> None:
        """Take what the parent says, until it is gone."""
        for message in protocol.messages(sys.stdin.fileno()):
            match message["type"]:
                case "job":
                    jobs.put(decode(message["job"], Job))
                case "ack":
                    self._answer(dict.fromkeys(message["ids"], ""))
                case "refuse":
                    self._answer(dict.fromkeys(message["ids"], message["error"]))
                case "cancel":
                    self.cancel.set(message["reason"])
        os._exit(_PARENT_GONE)

    def _answer(self, answers: Mapping[int, str]) -> None:
        with self._answered:
            self._answers.update(answers)
            self._answered.notify_all()

    def stay_alive(self, every: float) -> None:
        """Say so, as long as this process lives."""
        pause = threading.Event()
        while not pause.wait(every):
            self.sender.send("alive")


def main(descriptor: int) -> None:
    """Run the job that comes over stdin; talk on ``descriptor``."""
    os.set_inheritable(descriptor, False)  # noqa: FBT003 - its signature is so
    line = _Line(protocol.Sender(os.fdopen(descriptor, "wb")), Cancel())
    jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
    threading.Thread(target=line.listen, args=(jobs,), daemon=True, name="listen").start()
    job = jobs.get()
    threading.Thread(target=line.stay_alive, args=(job.patience.silence / 3,), daemon=True, name="alive").start()
    if job.memory:
        resource.setrlimit(resource.RLIMIT_DATA, (job.memory, job.memory))
    # quiet, for the parent tells its user what matters of it
    logs.configure(job.log_level, run_log=job.run / LOG, quiet=job.log_level != "DEBUG")
    result = perform(
        job, line.emit, line.record, line.cancel, entered=lambda plugin: line.sender.send("entered", plugin=plugin)
    )
    line.sender.send("result", result=encode(result))
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads of plugins that were left behind must not hold this process up.
    os._exit(0)


if __name__ == "__main__":
    try:
        main(int(sys.argv[1]))
    except PlaybookError as problem:
        sys.stderr.write(json.dumps({"error": str(problem)}) + "\n")
        os._exit(problem.exit_code)
