"""Makes the load of one point: from prompts to a file of records and its summary."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import importlib.util
import json
import math
import shutil
import tempfile
import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import define, evolve, field

from .arrange import connections_for, order_of, processes_for, resolve
from .core import plan as plans
from .core import spool
from .core.clock import SECOND, now, realtime_offset
from .core.launch import LaunchError, Running, Workers, cpu_times, file_limit
from .core.records import RUN, VERSION, Record, of_answer, open_text, to_line
from .core.stats import block_bootstrap
from .core.worker import spool_of
from .fared import fared
from .options import Options
from .point import BenchmarkError, Outcome, Point, Status, Watch
from .samples import Sample, payload, url_of, wire
from .summary import Slo, summarise

_LARGE = 32 * 1024 * 1024
_LOOK = 0.25


@define
class Client:
    """Makes loads. ``stop`` may be set from any thread: the load that runs ends at once, with what was measured.

    ``files``: the most connections that any of its loads will need, so that the first one already tells a low limit.
    ``known`` starts a known-timing server where the loads are made, if that is not here.
    """

    options: Options
    api_key: str | None = field(default=None, repr=False)
    say: Callable[[str], None] = lambda _: None
    watch: Watch = lambda _: None
    stop: threading.Event = field(factory=threading.Event)
    calibration: Mapping[str, Any] = field(factory=dict)
    site: Callable[[Path, plans.Settings], Running] = Workers
    remote: bool = False
    known: Callable[..., contextlib.AbstractContextManager[Any]] | None = None
    places: int = 1
    files: int = 0
    ignore_eos: bool = True
    warmed: bool = False
    _target: plans.Target | None = None

    def target(self) -> plans.Target:
        """Where requests go, its name looked up once. Raises BenchmarkError."""
        if self._target is None:
            self._target = resolve(self.options, here=not self.remote)
        return self._target

    def settings(self, point: Point, count: int) -> plans.Settings:
        """How a point is applied."""
        options = self.options
        here, streams = not self.remote, point.concurrency or count
        processes = processes_for(options, streams) if here else (options.processes or 1) * self.places
        open_loop = math.isfinite(point.rate) or bool(options.rate_stages) or options.dataset == "trace"
        ramp = options.ramp
        if ramp is None:
            # Many at once would measure how fast they can be started; the first wave spreads over a second at most.
            ramp = 0.0 if open_loop or point.concurrency < 2 else min(1.0, point.concurrency * 0.004)
        return plans.Settings(
            target=self.target(),
            open_loop=open_loop,
            concurrency=point.concurrency,
            ramp=ramp,
            duration=options.duration,
            drain=options.drain,
            wrap=bool(options.duration) and not open_loop,
            processes=min(processes, count, point.concurrency or count),
            connections=connections_for(options, point, count),
            files=self.files,
            timeout=options.timeout,
            idle_timeout=options.idle_timeout,
            connect_timeout=options.connect_timeout,
            engine="uvloop" if options.engine == "uvloop" and not self.remote else "epoll",
            timestamps=options.timestamps,
            own_answers=options.own_answers,
        )

    # -- before ---------------------------------------------------------------------------------------------------

    def warm_up(self, sample: Sample, count: int) -> None:
        """Ask a few times, once for all points, and see that the server answers at all.

        A server that refuses ``ignore_eos`` is asked without it from then on. Raises BenchmarkError with the cause.
        """
        if self.warmed:
            return
        self.warmed = True
        records = self._plainly([evolve(sample, due=None, conversation=None)] * max(1, count))
        if not records and not self.stop.is_set():
            raise BenchmarkError(f"the warm-up failed: {url_of(self.options)}: nothing came of it")
        if not records:  # stopped before anything was asked
            return
        first = records[0]
        if first.status in (400, 422) and self.ignore_eos and not self.options.disable_ignore_eos:
            self.ignore_eos = False
            again = self._plainly([evolve(sample, due=None, conversation=None)] * max(1, count))
            if again and again[0].ok:
                self.say(f"the server refuses ignore_eos, so answers may be shorter than asked: {first.detail}")
                records = again
            else:
                self.ignore_eos = True
        bad = next((r for r in records if not r.ok), None)
        if bad is not None and not self.stop.is_set():
            raise BenchmarkError(
                f"the warm-up failed: {url_of(self.options)}: {bad.error}: {bad.detail or 'no reason given'}"
            )

    def _plainly(self, samples: Sequence[Sample]) -> list[Record]:
        point = Point("warm-up", min(len(samples), 16))
        settings = dataclasses.replace(
            self.settings(point, len(samples)), duration=0.0, processes=1, ramp=0.0, wrap=False
        )
        with tempfile.TemporaryDirectory(prefix="aicp-") as made:
            workers = self._launch(Path(made), settings, samples, plans.single(len(samples)))
            workers.wait(0.02, self.stop.is_set)
            return sorted(self._understood(workers, samples), key=lambda r: r.number)

    # -- the load -------------------------------------------------------------------------------------------------

    def run(self, point: Point, samples: Sequence[Sample], slos: Sequence[Slo], records: Path | None) -> Outcome:
        """Make the load of one point. ``records`` is where its records go, without the ending of its name.

        Raises BenchmarkError; what was recorded until then stays in the file.
        """
        if not samples:
            raise BenchmarkError(f"{point}: there is no prompt")
        settings = self.settings(point, len(samples))
        if not self.remote and (problem := file_limit(settings.open_at_once)):
            raise BenchmarkError(problem)
        order = order_of(self.options, point, samples)
        run = self._described(point, settings)
        folder = Path(tempfile.mkdtemp(prefix="aicp-"))
        part = None if records is None or self.remote else _part(records, run, folder, settings.processes)
        try:
            before = cpu_times()["busy"]
            workers = self._launch(folder, settings, samples, order)
            (folder / plans.WIRE).unlink()  # every worker has it open, and it may hold a key
            # A node's monotonic clock is not ours; there the moment of the launch has to do.
            epoch = time.time() if self.remote else (workers.start + realtime_offset()) / SECOND
            epoch = float(workers.told.get("epoch", epoch))
            status, died = Status(len(order), duration=settings.duration), ""
            look = self._looker(workers, status, settings, order)
            try:
                workers.wait(_LOOK, look)
            except LaunchError as error:
                died = str(error)
                self.say(f"{died}; what was recorded until then is kept")
            busy = cpu_times()["busy"] - before
            notes: list[dict[str, Any]] = []
            with _uncollected():
                found = list(self._understood(workers, samples, notes))
                summary = summarise(found, slos)
                fare = fared(settings, order, summary, notes, busy, self.calibration, found)
                client = {**fare, **workers.told}
                died = died or next((str(n["broken"]) for n in notes if n.get("broken")), "")
                partial = self.stop.is_set() or bool(died)
                path = _keep(records, {**run, "epoch": round(epoch, 6)}, found, client) if records is not None else None
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            if part is not None:
                shutil.rmtree(part, ignore_errors=True)
        for note in notes:
            if note.get("broken"):
                self.say(str(note["broken"]))
            if note.get("wrapped"):
                self.say("all prompts were used before the time was over, and used again")
        return Outcome(point, summary, client, path, partial, died)

    def _launch(self, folder: Path, settings: plans.Settings, samples: Sequence[Sample], order: plans.Order) -> Running:
        wires = (
            wire(n, payload(s, self.options, ignore_eos=self.ignore_eos), self.options, self.api_key)
            for n, s in enumerate(samples)
        )
        plans.write(folder, settings, order, wires)
        workers = self.site(folder, settings)
        try:
            workers.launch(timeout=60 + settings.connect_timeout)
        except LaunchError as error:
            raise BenchmarkError(str(error)) from None
        return workers

    def _understood(
        self, workers: Running, samples: Sequence[Sample], notes: list[dict[str, Any]] | None = None
    ) -> Iterator[Record]:
        text = self.options.save_text
        for path in workers.spools:
            if not path.exists():
                continue
            start = workers.start_of(path)
            for item in spool.read(path):
                if isinstance(item, dict):
                    if notes is not None:
                        notes.append(item)
                    continue
                sample = samples[item.number]
                yield of_answer(item, start, asked=sample.output_len, nominal=sample.nominal, text=text)

    def _looker(
        self, workers: Running, status: Status, settings: plans.Settings, order: plans.Order
    ) -> Callable[[], bool]:
        precision, began = self.options.precision, now()
        due = sorted(order.due) if settings.open_loop else []

        def look() -> bool:
            for glance in workers.news():
                status.done += 1
                status.failed += glance.outcome != "answered"
                if glance.first and glance.sent:
                    status.ttft.append(glance.first - glance.sent)
            status.seconds = max(0.0, (now() - began) / SECOND)
            # Spools tell only of what ended. What left is what was due; or as much as there are slots.
            left = bisect_right(due, now() - began) if due else math.inf if settings.wrap else status.total
            status.in_flight = round(min(settings.concurrency or status.total, left - status.done))
            self.watch(status)
            return self.stop.is_set() or (precision > 0 and _precise(status.ttft, precision))

        return look

    def _described(self, point: Point, settings: plans.Settings) -> dict[str, Any]:
        """The first line of a run's records."""
        return {
            "version": VERSION,
            "epoch": round(time.time(), 6),
            "url": url_of(self.options),
            "model": self.options.model,
            "label": point.label,
            "concurrency": point.concurrency,
            "rate": point.rate if math.isfinite(point.rate) else None,
            "open_loop": settings.open_loop,
            "engine": settings.engine,
            "processes": settings.processes,
            "seed": self.options.seed,
            "slo": dict(self.options.goodput),
        }


def _part(records: Path, run: Mapping[str, Any], folder: Path, processes: int) -> Path:
    """Where spools lie while a load runs: beside its records, so that a run that is killed leaves them there."""
    try:
        records.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f"{records.name}.", suffix=".part", dir=records.parent.absolute()))
        (part / RUN).write_text(json.dumps({"run": run}), encoding="utf-8")
        for share in range(processes):
            there = spool_of(folder, share)
            there.symlink_to(part / there.name)
    except OSError as error:
        raise BenchmarkError(f"the records cannot be written: {error}") from error
    return part


def _keep(where: Path, run: Mapping[str, Any], found: Sequence[Record], client: Mapping[str, Any]) -> Path:
    """Write the records, compressed if they are large."""
    lines = [to_line(r) for r in found]
    size = sum(map(len, lines))
    ending = ".jsonl" if size < _LARGE else ".jsonl.zst" if importlib.util.find_spec("zstandard") else ".jsonl.gz"
    path = where.with_name(where.name + ending)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open_text(path, "w") as file:
            file.write(json.dumps({"run": run}) + "\n")
            file.writelines(line + "\n" for line in lines)
            file.write(json.dumps({"client": dict(client)}) + "\n")
    except OSError as error:
        raise BenchmarkError(f"the records cannot be written to {path}: {error.strerror}") from error
    return path


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Without the garbage collector, which would look again and again at a million things that have no cycles."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _precise(values: Sequence[int], wanted: float) -> bool:
    if len(values) < 64:
        return False
    mean = sum(values) / len(values)
    return block_bootstrap(values[-20_000:])["mean"].half <= wanted * mean
