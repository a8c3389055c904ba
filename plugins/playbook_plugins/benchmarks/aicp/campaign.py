"""Which points are measured, in which order, and when to stop. Each result is saved the moment it is there."""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

from attrs import define, evolve, field, frozen

from . import report, rows
from .arrange import connections_for
from .calibrate import calibrate
from .client import Client
from .core.launch import file_limit
from .core.stats import t_interval
from .datasets import Dataset, open_dataset, pairs
from .options import OptionError, Options
from .outputs import OutputError, Outputs, workbook, workbook_path, write_json
from .point import BenchmarkError, Outcome, Point
from .profile import profiling
from .samples import Sample
from .summary import CANCELLED

T = TypeVar("T")
_NEAR = 0.9
_DYNAMIC = ("dynamic_input_len", "dynamic_output_len")
_REPEATED = ("mean_TTFT", "TTFT_P99", "mean_TPOT", "mean_E2EL", "output_throughput", "request_throughput")


@frozen
class Found:
    """Where a search ended. ``best`` is None if no load meets the limits within the bounds."""

    by: str
    best: float | None
    why: str
    outcome: Outcome | None = None


@define
class Campaign:
    """All points of one set of options."""

    client: Client
    dataset: Dataset
    outputs: Outputs
    say: Callable[[str], None]
    name: str = ""
    outcomes: list[Outcome] = field(factory=list)
    found: Found | None = None
    _profiled: bool = False

    @property
    def options(self) -> Options:
        return self.client.options

    # -- one point ------------------------------------------------------------------------------------------------

    def measure(self, point: Point, samples: Sequence[Sample]) -> Outcome:
        """Measure a point, save it, say it."""
        options = self.options
        if not options.disable_warm and samples:
            self.client.warm_up(samples[0], _warm_requests(options))
        name = f"{len(self.outcomes) + 1:03d}-{point.label.replace(':', 'x')}-c{point.concurrency}"
        if math.isfinite(point.rate):
            name += f"-r{point.rate:g}"
        folder = self.outputs.directory / "records" / options.case_id if options.case_id else self.outputs.directory
        where = None if options.disable_save_result else folder / name
        with profiling(options, self.client.api_key, self.say):
            outcome = self.client.run(point, samples, rows.slos(options.goodput), where)
        self.outcomes.append(outcome)
        if where is not None:
            self.outputs.save(rows.row_of(outcome, options.model, self.outputs.metadata))
            write_json(where.with_name(where.name + ".json"), report.as_json(outcome, options))
        for note in [*self.dataset.notes, *self.outputs.notes]:
            self.say(note)
        self.dataset.notes.clear()
        self.outputs.notes.clear()
        for line in report.text(outcome, options):
            self.say(line)
        return outcome

    @property
    def stopped(self) -> bool:
        return self.client.stop.is_set()

    # -- fixed points ---------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Everything that the options ask for. Raises BenchmarkError if no request of any point succeeded."""
        options = self.options
        try:
            if options.enable_auto_batch and not options.static:
                self.auto_batch()
            elif options.static:
                self.static()
            else:
                self.dynamic()
        finally:
            self._export()
        if not self.stopped and not any(o.summary.succeeded for o in self.outcomes):
            raise BenchmarkError("no request succeeded" + _first_error(self.outcomes))
        counted = [self.found.outcome] if self.found is not None else self.outcomes
        over = [o for o in counted if o is not None and (o.summary.lost or 0.0) > options.max_failed]
        if over and not self.stopped:
            raise BenchmarkError("; ".join(f"{loss(o)}, allowed are {options.max_failed:.3g}" for o in over))

    def dynamic(self) -> None:
        """Every concurrency with every rate."""
        options = self.options
        counts = options.num_prompts * (len(options.max_concurrency) if len(options.num_prompts) == 1 else 1)
        for concurrency, count in zip(options.max_concurrency, counts, strict=True):
            for rate in options.request_rate:
                point = Point("dynamic", concurrency, rate, count)
                done: list[Outcome] = []
                while len(done) < options.repeats and not self.stopped:
                    done.append(self.measure(point, self.dataset.dynamic(count)))
                self._spread(point, done)

    def _spread(self, point: Point, outcomes: Sequence[Outcome]) -> None:
        """Say, and keep, how sure the means over repeats of a point are (Student's t)."""
        found: dict[str, Any] = {}
        for column in _REPEATED:
            values = [v for o in outcomes if (v := rows.value(o.summary, column)) is not None]
            interval = t_interval(values)
            if interval is not None:
                mean = (interval.low + interval.high) / 2
                found[column] = {"values": values, "mean": mean, "ci95": [interval.low, interval.high]}
                self.say(
                    f"{point}: {column} {mean:.4g} \N{PLUS-MINUS SIGN} {interval.half:.2g} (95 %, {len(values)} runs)"
                )
        if found and not self.options.disable_save_result:
            name = f"repeats-c{point.concurrency}-r{point.rate:g}.json"
            write_json(self.outputs.directory / "records" / str(self.options.case_id) / name, found)

    def static(self) -> None:
        """For each pair of lengths the list of concurrencies, until the stop strategy says so."""
        for input_len, output_len in pairs(self.options):
            if self.stopped:
                return
            self._series(input_len, output_len)

    def _series(self, input_len: int, output_len: int) -> None:
        options = self.options
        waiting = list(options.max_concurrency)
        tested: dict[int, Outcome] = {}
        searching = not options.disable_acc
        while waiting and not self.stopped:
            batch = waiting.pop(0)
            if batch in tested:
                continue
            samples = self.dataset.static(input_len, output_len, batch * options.waves)
            rate = options.request_rate[-1]
            outcome = self.measure(Point(f"{input_len}:{output_len}", batch, rate, len(samples)), samples)
            tested[batch] = outcome
            broken = rows.violated(outcome.summary, options.stop_slo)
            if searching:
                step = self._nearer(tested)
                searching = step is not None
                if step:
                    waiting.insert(0, step)
            if options.stop_strategy == "slo" and broken and not searching:
                self.say(f"{input_len}:{output_len} ends at {batch}: " + "; ".join(broken))
                return
            if options.stop_strategy == "acc" and not searching:
                return
            if not outcome.summary.succeeded:
                self.say(f"{input_len}:{output_len} ends at {batch}: no request succeeded")
                return

    def _nearer(self, tested: Mapping[int, Outcome]) -> int | None:
        """The next concurrency of the search for the one that just meets the goal; 0: go on as planned; None: done."""
        expected = accuracy_goal(self.options)
        seen = {b: rows.value(o.summary, self.options.acc_col) for b, o in tested.items()}
        values = {b: math.inf if v is None else v for b, v in seen.items()}
        if any(_NEAR * expected <= v <= expected for v in values.values()):
            return None
        below = [b for b, v in values.items() if v < expected]
        above = [b for b, v in values.items() if v > expected]
        if not above:
            return 0
        if not below:
            return None
        left, right = max((b for b in below if b < min(above)), default=0), min(above)
        if right - left <= 1 or not left:
            return None
        low, high = values[left], values[right]
        goal = expected * (1 + _NEAR) / 2
        guess = left + (right - left) * (goal - low) / (high - low) if math.isfinite(high) else (left + right) / 2
        return min(max(math.floor(guess), left + 1), right - 1)

    # -- searches -------------------------------------------------------------------------------------------------

    def auto_batch(self) -> Found:
        """The highest concurrency (or rate, where several are given) that meets goodput, within the bounds."""
        options = self.options
        rates = options.rates
        by: Literal["concurrency", "rate"] = "rate" if len(rates) > 1 else "concurrency"
        bounds = rates if by == "rate" else tuple(float(c) for c in options.max_concurrency)
        low, high = min(bounds), max(bounds)
        tested: dict[float, bool] = {}
        good: dict[float, Outcome] = {}

        def valid(level: float) -> bool:
            level = round(level, 1) if by == "rate" else float(int(level))
            if level not in tested and not self.stopped:
                tested[level] = self._probe(by, level, good)
            return tested.get(level, False)

        if options.dynamic_strategy == "fast":
            self._bisect(low, high, valid)
        else:
            self._scan(low, high, valid)
        best = max((level for level, ok in tested.items() if ok), default=None)
        while best is not None and options.probe_repeats > 1 and not self._confirmed(by, best, good):
            tested[best] = False
            best = max((level for level, ok in tested.items() if ok), default=None)
        return self._found(by, best, low, high, good)

    def _bisect(self, low: float, high: float, valid: Callable[[float], bool]) -> None:
        options = self.options
        if not valid(low) or valid(high):
            return
        left, right = low, high
        while right - left > options.sparse_step and not self.stopped:
            middle = (left + right) / 2
            if valid(middle):
                left = middle
            else:
                right = middle
        level = left + options.dense_step
        while level < right and valid(level):
            level += options.dense_step

    def _scan(self, low: float, high: float, valid: Callable[[float], bool]) -> None:
        options = self.options
        levels = [*_steps(low, high, options.sparse_step), high]
        best = max((level for level in levels if valid(level)), default=None)
        if best is None:
            return
        for level in _steps(best + options.dense_step, min(high, best + options.sparse_step), options.dense_step):
            if not valid(level):
                break

    def _probe(self, by: str, level: float, good: dict[float, Outcome]) -> bool:
        options = self.options
        if by == "rate":
            count = options.num_prompts[0]
            point = Point("dynamic", max(options.max_concurrency), level, count)
        else:
            count = options.num_prompts[0]
            point = Point("dynamic", int(level), options.request_rate[-1], count)
        outcome = self.measure(point, self.dataset.dynamic(count))
        broken = rows.violated(outcome.summary, options.goodput)
        if not broken and outcome.summary.succeeded:
            good[level] = outcome
            return True
        self.say(f"{by} {level:g} does not meet the goal: " + ("; ".join(broken) or "no request succeeded"))
        return False

    def _confirmed(self, by: str, level: float, good: dict[float, Outcome]) -> bool:
        return all(self._probe(by, level, good) for _ in range(self.options.probe_repeats - 1) if not self.stopped)

    def _found(self, by: str, best: float | None, low: float, high: float, good: Mapping[float, Outcome]) -> Found:
        if best is None:
            why = f"no {by} from {low:g} to {high:g} meets the goal"
        elif best >= high:
            why = f"the highest {by} that was allowed, {high:g}, meets the goal"
        else:
            why = f"the highest {by} that meets the goal is {best:g} (of {low:g} to {high:g})"
        self.found = Found(by, best, why, good.get(best) if best is not None else None)
        self.say(why)
        if not self.options.disable_save_result:
            write_json(
                self.outputs.directory / "records" / str(self.options.case_id) / "best.json",
                {"by": by, "best": best, "low": low, "high": high, "why": why, "goodput": dict(self.options.goodput)},
            )
        return self.found

    # -- afterwards -----------------------------------------------------------------------------------------------

    def _export(self) -> None:
        options = self.options
        if options.disable_save_result or options.disable_export_to_excel or not self.outcomes or not options.case_id:
            return
        model = rows.row_of(self.outcomes[0], options.model, {})["model"]
        path = workbook_path(
            self.outputs.directory,
            options.result_dirname,
            static=options.static,
            model=model,
            case_id=options.case_id,
            at=datetime.now().astimezone(),
        )
        try:
            kept = self.outputs.rows(options.case_id)
            workbook(path, kept, static=options.static, goodput=options.goodput, more=options.export_col)
            self.outputs.written.append(path)
        except OutputError as error:
            self.say(f"no workbook: {error}")


def _steps(low: float, high: float, step: float) -> Iterator[float]:
    level = low
    while level <= high:
        yield level
        level += step


def _warm_requests(options: Options) -> int:
    """As the earlier tool: one for each replica, four if there are several."""
    try:
        replicas = int(float(options.metadata.get("replicas", 1)))
    except ValueError:
        replicas = 1
    return max(1, replicas * 4 if replicas > 1 else 1)


def accuracy_goal(options: Options) -> float:
    """The limit that the column of the accuracy search is to meet. Raises OptionError if none is for it."""
    if options.acc_col in options.goodput:
        return options.goodput[options.acc_col]
    family = options.acc_col.upper().replace("MEAN_", "").replace("MEDIAN_", "").split("_")[0]
    for key, limit in options.goodput.items():
        if key.upper().replace("MEAN_", "").split("_")[0] == family:
            return limit
    raise OptionError([f"acc_col: goodput has no limit for {options.acc_col}; give one, or --disable-acc"])


def loss(outcome: Outcome) -> str:
    """How many requests of a point failed, and how; ``""`` if none did."""
    summary = outcome.summary
    if not summary.failed:
        return ""
    ended = summary.succeeded + summary.failed
    kinds = ", ".join(f"{count} x {name}" for name, count in summary.errors.items() if name != CANCELLED)
    return (
        f"{outcome.point}: {summary.failed} of {ended} requests failed ({100 * summary.failed / ended:.3g} %): {kinds}"
    )


def _first_error(outcomes: Sequence[Outcome]) -> str:
    for outcome in outcomes:
        for name, count in outcome.summary.errors.items():
            detail = outcome.summary.examples.get(name, "")
            return f": {count} x {name}" + (f": {detail}" if detail else "")
    return ""


def looked_at(options: Options, *, prompts: bool = True) -> tuple[list[str], Dataset | None]:
    """What is wrong that can be known before the first request, all of it, and the prompts (unless they are left out)."""
    problems = [f"{name}: is needed" for name in ("base_url", "model") if not getattr(options, name)]

    def tried(call: Callable[[], T]) -> T | None:
        try:
            return call()
        except OptionError as error:
            problems.extend(error.problems)
            return None

    tried(lambda: rows.slos(options.goodput))
    if options.static:
        tried(lambda: rows.check_limits("stop_slo", options.stop_slo))
        if not options.disable_acc and not rows.known(options.acc_col):
            problems.append(f"acc_col: there is no column {options.acc_col!r}")
        elif not options.disable_acc:
            tried(lambda: accuracy_goal(options))
    if options.enable_auto_batch:
        tried(lambda: rows.check_limits("goodput", options.goodput))
    dataset = tried(lambda: open_dataset(options)) if prompts else None
    return list(dict.fromkeys(problems)), dataset


def most_connections(options: Options) -> int:
    """How many connections the largest of the points opens."""
    most = 0
    for concurrency in options.max_concurrency:
        count = concurrency * options.waves if options.static else max(options.num_prompts)
        for rate in options.request_rate:
            point = Point("", concurrency, rate, count)
            most = max(most, connections_for(options, point, count), min(concurrency, count))
    return most


def prepare(
    client: Client, directory: Path, say: Callable[[str], None], name: str = "", largest: Point | None = None
) -> Campaign:
    """Check everything that can be checked before the first request. Raises OptionError.

    ``name`` tells several loads of one file apart; ``largest`` is the largest load, where the options do not say it.
    """
    problems, dataset = looked_at(client.options)
    if problems or dataset is None:
        raise OptionError(problems)
    options = client.options
    if options.static and (unused := [n for n in _DYNAMIC if getattr(options, n) is not None]):
        say(f"{', '.join(unused)}: no effect on a static load, whose lengths are input_len and output_len")
    client.files = most_connections(options) if largest is None else connections_for(options, largest, largest.asked)
    if not client.remote and (problem := file_limit(client.files)):
        raise OptionError([problem])
    case = "-".join(filter(None, [options.case_id or str(uuid.uuid1()), name]))
    client.options = options = evolve(options, case_id=case)
    said = {**options.metadata, "case_id": case}
    return Campaign(client, dataset, Outputs(directory, options.result_filename, said), say, name)


def self_measure(client: Client, say: Callable[[str], None]) -> None:
    """Calibrate, and remember it in the client; a calibration that fails is told and stops nothing."""
    options = client.options
    if options.calibrate <= 0:
        return
    streams = max(options.max_concurrency) or math.ceil(max(options.rates, default=64.0))
    try:
        client.calibration = calibrate(client, streams, options.calibrate)
    except (BenchmarkError, OSError, ValueError, json.JSONDecodeError) as error:
        say(f"the client could not be measured: {error}")
        return
    found: Mapping[str, Any] = client.calibration
    say(
        f"this client at {found['streams']} streams: TTFT {found['ttft_error_mean_ms']:+.3f} ms on average, "
        f"{found['ttft_error_p99_ms']:+.3f} ms at p99"
    )
