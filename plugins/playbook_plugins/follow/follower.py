"""The journal as events. What it does not hold comes from files beside it: verdicts from campaign.json, output from the log.

Nothing is written, and a folder that is copied or mounted does as well; a copy that is behind is a run that is behind.
"""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Iterator
from pathlib import Path

from attrs import define, field, frozen
from playbook_kernel.api import (
    EVENTS,
    CampaignEnded,
    CampaignResult,
    CampaignResumed,
    CampaignStarted,
    Event,
    Output,
    PhaseEnded,
    PhaseStarted,
    Record,
    ScenarioEnded,
    ScenarioResult,
    TrialStarted,
    decode,
    record_of,
)

from playbook_plugins.stats.runs import CAMPAIGN

JOURNAL, OUTPUT = "journal.jsonl", "logs/test_output.log"
_EARLIER_OUTPUT = 8192
"""Of what a script printed before, so many bytes are shown."""


@frozen
class Seen:
    """An event, and when it happened: Unix seconds on the clock of the machine that runs the campaign."""

    at: float
    event: Event


@define(eq=False)
class Follower:
    """Reads on from where it was; ``status`` is the campaign's own when it has ended, until it is resumed.

    ``output``: where the script of the trial under way writes what it prints.
    """

    folder: Path
    status: str = ""
    host: str = ""
    mark: str = ""
    _read: int = 0
    _seen: set[str] = field(factory=set)
    _campaign: tuple[int, int] = (0, 0)
    _verdicts: tuple[ScenarioResult, ...] = ()
    _trial: str = ""
    _scenario: str = ""
    output: Path | None = None
    _output_read: int = 0
    _printing_since: float = 0.0
    _started: CampaignStarted | None = None

    def poll(self) -> list[Seen]:
        """What has happened since the last call; everything so far at the first. Raises JournalDamaged, OSError."""
        seen: list[tuple[float, Seen]] = []
        latest = 0.0
        verdicts = self._read_verdicts()  # before the journal: then each of them has its records there
        for record in self._records():
            at = _unix(record.utc)
            if record.type == "trial" or _of_benchmark(record, PhaseEnded):
                seen += [(one.at, one) for one in self._lines(until=at)]  # while it is known whose they are
            latest = max(latest, at)  # records stay in their order, whatever somebody does to the clock
            seen += [(latest, Seen(at, e)) for e in self._events(record, verdicts)]
            if _of_benchmark(record, PhaseStarted):
                self._printing_since = at
        seen += [(one.at, one) for one in self._lines()]
        found = [one for _, one in sorted(seen, key=lambda pair: pair[0])]
        now = found[-1].at if found else dt.datetime.now(dt.UTC).timestamp()
        return [*found, *(Seen(now, e) for e in self._ended(verdicts, until=self._scenario))]

    # -- the journal ------------------------------------------------------------------------------------------------

    def _records(self) -> Iterator[Record]:
        with (self.folder / JOURNAL).open("rb") as file:
            file.seek(self._read)
            for line in file:
                if not line.endswith(b"\n"):
                    return  # it is being written
                record = record_of(line[:-1])
                if record is None:
                    return  # torn, or it will be written anew
                self._read += len(line)
                yield record

    def _events(self, record: Record, verdicts: tuple[ScenarioResult, ...]) -> Iterator[Event]:
        data = record.data
        match record.type:
            case "campaign":
                self.host, self.mark = str(data.get("host", "")), str(data.get("mark", ""))
                self._started = CampaignStarted(str(data["run"]), str(self.folder), tuple(data["scenarios"]))
                yield self._started
            case "resumed":
                self.status, self.host = "", str(data.get("host", ""))
                self._seen.clear()
                if self._started is not None:
                    yield self._started
                yield CampaignResumed((), tuple(map(str, data.get("changes", ()))))
            case "trial":
                yield from self._ended(verdicts, until=data["scenario"])
                self._begin(record)
                names = tuple(map(str, data.get("services", ())))
                yield TrialStarted(
                    data["attempt"], tuple(data["nodes"]), names, trial=record.trial, scenario=data["scenario"]
                )
            case "event" if data.get("event") in EVENTS:
                yield decode(data, Event)
            case "trial_ended" if record.trial == self._trial:
                self._trial = self._scenario = ""
            case "campaign_ended":
                yield from self._ended(verdicts, until="")
                self.status = str(data["status"])
                counts: dict[str, int] = {}
                for verdict in verdicts:
                    counts[verdict.status] = counts.get(verdict.status, 0) + 1
                yield CampaignEnded(self.status, counts)

    def _begin(self, record: Record) -> None:
        self._trial, self._scenario = record.trial, record.data["scenario"]
        output = self.folder / record.data["folder"] / OUTPUT
        inside = output.resolve().is_relative_to(self.folder.resolve())
        self.output, self._output_read = (output if inside else None), -1
        self._printing_since = 0.0

    # -- beside it --------------------------------------------------------------------------------------------------

    def _read_verdicts(self) -> tuple[ScenarioResult, ...]:
        path = self.folder / CAMPAIGN
        try:
            found = path.stat()
            if (found.st_mtime_ns, found.st_size) != self._campaign:
                result = decode(json.loads(path.read_text(encoding="utf-8")), CampaignResult)
                self._verdicts, self._campaign = result.scenarios, (found.st_mtime_ns, found.st_size)
        except (OSError, ValueError, TypeError, KeyError):
            pass  # there is none yet, or a copy of it is under way
        return self._verdicts

    def _ended(self, verdicts: tuple[ScenarioResult, ...], until: str) -> Iterator[Event]:
        """The verdicts that were not told yet, up to a scenario: one that is under way has an old one at most."""
        for verdict in verdicts:
            if verdict.scenario == until:
                return
            if verdict.scenario not in self._seen:
                self._seen.add(verdict.scenario)
                yield ScenarioEnded(verdict, scenario=verdict.scenario)

    def _lines(self, until: float = math.inf) -> Iterator[Seen]:
        """What the script printed since, as old as its file but within its phase: a record is made later than its event."""
        if self.output is None:
            return
        try:
            about = self.output.stat()
            size = about.st_size
            if self._output_read < 0:
                self._output_read = max(0, size - _EARLIER_OUTPUT) if self._trial else size
            if size <= self._output_read:
                return
            with self.output.open("rb") as file:
                file.seek(self._output_read)
                raw = file.read(1 << 20)
        except OSError:
            return
        whole = raw[: raw.rfind(b"\n") + 1]
        self._output_read += len(whole)
        at = min(max(about.st_mtime, self._printing_since), until)
        for line in whole.decode("utf-8", "replace").splitlines():
            yield Seen(at, Output(line, trial=self._trial, scenario=self._scenario))


def _of_benchmark(record: Record, kind: type[PhaseStarted | PhaseEnded]) -> bool:
    data = record.data
    phase = data.get("outcome", {}).get("phase") if kind is PhaseEnded else data.get("phase")
    return record.type == "event" and data.get("event") == kind.__name__ and phase == "benchmark"


def _unix(utc: str) -> float:
    return dt.datetime.fromisoformat(utc).timestamp()
