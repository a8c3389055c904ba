"""What the kernel expects of a driver or a hook plugin, as checks that its author can run.

Plain functions that raise AssertionError with a sentence that says what is wrong; they need no pytest. Each takes the driver
itself and whatever it needs to work: a scripted :class:`FakeSession`, or the real thing. What a check does not see is said
in its docstring.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
import math
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import attrs

from playbook_kernel.config import Problems, Sources
from playbook_kernel.drivers import (
    KINDS,
    Benchmark,
    Collector,
    Composer,
    Driver,
    Fault,
    LoadExecutor,
    Place,
    Probe,
    Reader,
    Reporter,
    Share,
    State,
    Target,
    Wound,
)
from playbook_kernel.errors import PlaybookError
from playbook_kernel.model import (
    Artifact,
    Configuration,
    Deployment,
    Health,
    Load,
    Measurement,
    Metric,
)
from playbook_kernel.model.codec import decode, encode
from playbook_kernel.redaction import is_secret_name
from playbook_kernel.scope import Deadline, Scope, run_all
from playbook_kernel.session import Session
from playbook_kernel.structuring import structure

from .bounds import check_honours_cancel, check_honours_deadline, must_stop, off_thread
from .fakes import FakeTrial, later
from .material import PLANTED, deployed, results
from .signatures import misfits

D = TypeVar("D", bound=Driver[Any])
UNITS = frozenset({"s", "ms", "us", "tok/s", "req/s", "tok", "req", "%", "1", "B", "B/s", "MiB", "J", "J/tok", "W"})


def check_driver(cls: type[D], options: Mapping[str, Any] | None = None) -> D:
    """What holds for every kind; returns the driver, built as the kernel builds it.

    It is a concrete subclass of one kind whose methods take what they are given; it has a docstring (its help text) and an attrs
    class of options that is frozen, documented and refuses unknown keys; options that sound secret are of type Secret.
    """
    assert isinstance(cls, type), f"{cls!r} is not a class"
    assert issubclass(cls, Driver), f"{cls.__name__} is not a subclass of any kind of driver"
    kind = getattr(cls, "kind", "")
    assert kind in KINDS and issubclass(cls, KINDS[kind]), f"{cls.__name__}.kind {kind!r} is not a kind of driver"  # noqa: PT018
    missing = sorted(getattr(cls, "__abstractmethods__", ()))
    assert not missing, f"{cls.__name__} lacks {', '.join(missing)}"
    assert not (unfit := list(misfits(cls))), "; ".join(unfit)
    assert (cls.__dict__.get("__doc__") or "").strip(), f"{cls.__name__} has no docstring: that is its help text"
    holder = cls.options_type
    assert attrs.has(holder), f"the options of {cls.__name__} are not an attrs class"
    assert _is_frozen(holder), f"{holder.__name__} is not frozen: options must not change while a trial runs"
    for a in attrs.fields(holder):
        assert a.type is not None, f"option {a.name} of {cls.__name__} has no type"
        if is_secret_name(a.name):
            assert "Secret" in str(a.type), f"option {a.name} of {cls.__name__} sounds secret, and is not a Secret"
    strange, _ = structure({**(options or {}), "no_such_option_": 1}, holder)
    assert strange is None, f"{cls.__name__} takes options that it does not have"
    made, wrong = structure(options or {}, holder)
    assert not wrong, f"the options do not fit: {'; '.join(map(': '.join, wrong))}"
    return cls(made)


def _is_frozen(cls: type[Any]) -> bool:
    setter: object = cls.__setattr__
    return setter is not object.__setattr__


# -- kinds --------------------------------------------------------------------------------------------------------


def check_benchmark(
    driver: Benchmark[Any],
    trial: FakeTrial,
    deployment: Deployment | None = None,
    load: Load | None = None,
    *,
    broken: FakeTrial | None = None,
    hangs: FakeTrial | None = None,
) -> Measurement:
    """A benchmark measures, and says so honestly; returns what it measured on ``trial``.

    ``broken``: a trial on which the load generator fails; that must raise. ``hangs``: one on which it never ends; that must
    stop at the deadline and when cancelled. Without them these are not checked. ``trial`` must be one where it succeeds.
    """
    deployment = deployment or deployed(trial.ctx)
    load = load or Load(concurrency=2, requests=4)
    measured = driver.run(trial.ctx, deployment, load)
    assert isinstance(measured, Measurement), f"run() returned {type(measured).__name__}, not a Measurement"
    assert measured.metrics, "the measurement has no metric: nothing was measured"
    for name, metric in measured.metrics.items():
        assert isinstance(metric, Metric), f"metric {name} is {type(metric).__name__}, not a Metric"
        assert math.isfinite(metric.value), f"metric {name} is {metric.value}: leave it out if it is not known"
        assert metric.unit, f"metric {name} has no unit; '1' is that of a count"
        assert metric.samples is None or metric.samples > 0, f"metric {name} stands on {metric.samples} samples"
    _crosses(measured, Measurement)
    _no_secret(trial)
    if broken is not None:
        try:
            said = driver.run(broken.ctx, deployment, load)
        except (PlaybookError, OSError, ValueError, KeyError):
            pass
        else:
            raise AssertionError(f"the load generator failed, and run() returned {said!r} as if it had not")
    if hangs is not None:
        check_honours_deadline(lambda: driver.run(hangs.ctx, deployment, load))
        check_honours_cancel(lambda: driver.run(hangs.ctx, deployment, load))
    return measured


def check_probe(driver: Probe[Any], good: Target, bad: Iterable[Target], hangs: Target | None = None) -> None:
    """A probe tells good from bad: a bad Health with its reason for each of ``bad``, never an exception.

    ``hangs``: a target that does not answer; the probe must come back at its deadline, with a bad Health or an error.
    """
    health = driver.check(good)
    assert isinstance(health, Health), f"check() returned {type(health).__name__}, not a Health"
    assert health.ok, f"the good target is bad: {health.detail}"
    for target in bad:
        try:
            health = driver.check(target)
        except Exception as error:
            raise AssertionError(f"a bad target made check() raise {type(error).__name__}: {error}") from error
        assert not health.ok, "a bad target was called good"
        assert health.detail, "a bad Health does not say why"
        assert PLANTED not in health.detail, "the detail shows a secret"
    if hangs is not None:
        over = off_thread(lambda: driver.check(hangs), Scope(Deadline.after(0.3)))
        assert over, "its deadline passed, and it goes on"
        assert isinstance(over[0], Health | PlaybookError | OSError), f"its deadline passed, and it gave {over[0]!r}"
        assert not getattr(over[0], "ok", False), "a target that does not answer was called good"


def check_composer(driver: Composer[Any], trial: FakeTrial, session: Session, share: Share) -> None:
    """A composer's whole life on a real node: created, started, stopped, removed, and removed by a later process.

    Every service of ``share`` must be able to run for as long as the check takes. All are started at once: with two or more
    this sees whether calls from several threads get into each other's way.
    """
    ctx, names = trial.ctx, [s.name for s in share.services]
    assert names, "the check needs at least one service"
    why = driver.fit(session)
    assert why is None, f"it does not fit the node: {why}"
    assert not driver.check(share), f"it objects to the definition: {list(driver.check(share))}"
    assert not list(driver.residue(session, share.project)), "something of this project is there before the check"
    try:
        driver.prepare(ctx, session, share)
        assert ctx.effects.open(), "prepare() announced no effect: after a crash nobody would clean up"
        before = driver.states(session, share)
        assert set(before) == set(names), f"states() speaks of {sorted(before)}, the share has {sorted(names)}"
        assert all(s.status == "created" for s in before.values()), f"prepare() started something: {_told(before)}"
        # of different services at once, as they become ready to start
        for handle in run_all([functools.partial(driver.start, ctx, session, share, name) for name in names]):
            if isinstance(handle, BaseException):
                raise AssertionError(f"start() raised {type(handle).__name__}: {handle}") from handle
            json.dumps(dict(handle))
        states = driver.states(session, share)
        assert all(s.status == "running" for s in states.values()), f"not all run after start(): {_told(states)}"
        assert list(driver.residue(session, share.project)), "services run, and residue() says that nothing is there"
        logs = [driver.logs(session, share, n, ctx.directory, limit=4096) for n in names]
        for path in filter(None, logs):
            assert path.resolve().is_relative_to(ctx.directory.resolve()), (
                f"logs() wrote {path}, which is outside of its folder"
            )
            assert path.stat().st_size <= 4096, "logs() ignores its limit"
        driver.stop(ctx, session, share, names[0])
        driver.stop(ctx, session, share, names[0])
        state = driver.states(session, share)[names[0]]
        assert state.status != "running", "stop() did not stop it"
        driver.reset(ctx, session, share, names[0])
        driver.start(ctx, session, share, names[0])
        state = driver.states(session, share)[names[0]]
        assert state.status == "running", "it does not run again after reset() and start()"
    finally:
        # as a later process would, with nothing but the journal
        after = later(trial)
        driver.down(after.ctx, session, share.project)
    left = list(driver.residue(session, share.project))
    assert not left, f"down() left {left}"
    driver.down(after.ctx, session, share.project)
    _no_secret(trial)


def check_collector(
    driver: Collector[Any], trial: FakeTrial, deployment: Deployment | None = None, *, empty: bool = False
) -> Sequence[Artifact]:
    """A collector brings real files home, tells the truth about them, and works without a deployment too.

    ``empty``: it is right that there is nothing to keep.
    """
    into = trial.ctx.directory
    for given in (deployment, None):
        kept = driver.collect(trial.ctx, given, into)
        for artifact in kept:
            assert isinstance(artifact, Artifact), f"collect() returned a {type(artifact).__name__}"
            path = into / artifact.path
            assert ".." not in Path(artifact.path).parts, f"{artifact.path} leads out of the folder"
            assert not Path(artifact.path).is_absolute(), f"{artifact.path} is not relative to the folder"
            assert path.is_file(), f"{artifact.path} is not there"
            data = path.read_bytes()
            assert artifact.size == len(data), f"{artifact.path} has {len(data)} bytes, not {artifact.size}"
            assert artifact.sha256 == hashlib.sha256(data).hexdigest(), f"the hash of {artifact.path} is wrong"
            assert PLANTED.encode() not in data, f"{artifact.path} holds a secret"
        if given is deployment:
            first = kept
    assert first or empty, "nothing was kept"
    _no_secret(trial)
    return first


def check_executor(driver: LoadExecutor[Any], trial: FakeTrial) -> Sequence[Place]:
    """An executor runs a program on every place at once and brings back what each printed, or nothing at all.

    Its workers must be there already. Returns the places.
    """
    places = driver.places(trial.ctx)
    assert places, "there is no place to send load from"
    names = [p.name for p in places]
    assert len(set(names)) == len(names), f"two places have one name: {names}"
    for place in places:
        assert place.error >= 0, f"{place.name}: an error below 0 means nothing"
        assert abs(place.offset) < 86400, f"{place.name}: its clock is {place.offset} s off: that is more than a day"
    shares = {name: name.encode() + bytes(range(256)) * 1024 for name in names}
    came = driver.run(trial.ctx, _program("sys.stdout.buffer.write(sys.stdin.buffer.read()[::-1])"), shares)
    assert dict(came) == {name: data[::-1] for name, data in shares.items()}, "what was printed did not come back whole"
    one = {names[0]: shares[names[0]]}
    assert list(driver.run(trial.ctx, _program("print(1)"), one)) == [names[0]], "it ran where it was not asked to"
    last = names[-1].encode()
    fails = _program(f"import time; sys.exit(3) if sys.stdin.buffer.read().startswith({last!r}) else time.sleep(3600)")
    must_stop(lambda: driver.run(trial.ctx, fails, shares), Scope(), f"the program failed on {names[-1]}")
    endless = _program("import time; time.sleep(3600)")
    check_honours_deadline(lambda: driver.run(trial.ctx, endless, shares))
    check_honours_cancel(lambda: driver.run(trial.ctx, endless, shares))
    again = driver.run(trial.ctx, _program("print(2)"), shares)
    assert set(again) == set(names), "after a program that was cancelled its places are not free"
    return places


def check_fault(
    driver: Fault[Any], trial: FakeTrial, broken: Callable[[], bool], deployment: Deployment | None = None
) -> Sequence[Wound]:
    """A fault breaks what it said it would, heals it, and is undone by a process that has nothing but the journal.

    ``broken``: whether it is so now, found without the driver. Returns what it planned.
    """
    ctx, after = trial.ctx, later(trial).ctx
    why = driver.fit(ctx)
    assert why is None, f"it does not fit the nodes: {why}"
    assert not driver.check(ctx.trial.scenario), f"it objects to the scenario: {list(driver.check(ctx.trial.scenario))}"
    assert not broken(), "it is broken before the check"
    wounds = driver.plan(ctx, deployment or deployed(ctx))
    assert wounds, "plan() says that it will do nothing"
    for wound in wounds:
        assert wound.node in ctx.nodes, f"plan() speaks of node {wound.node!r}, which the trial does not use"
        assert wound.what.strip(), "a Wound does not say in words what is done"
        json.dumps(dict(wound.data))
    assert not broken(), "plan() has broken something: it is asked before the journal is written"
    for undo in (driver.heal, driver.undo):
        for wound in wounds:
            undo(after, wound)
        assert not broken(), f"{undo.__name__}() of what was only planned has broken something"
    for context, undo in ((ctx, driver.heal), (after, driver.heal)):
        for wound in wounds:
            driver.strike(ctx, wound)
        assert broken(), "strike() came back, and nothing is broken"
        for wound in wounds:
            undo(context, wound)
            undo(context, wound)
        assert not broken(), f"{undo.__name__}() came back, and it is still broken"
    return wounds


def _program(body: str) -> bytes:
    """A zip application."""
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        archive.writestr("__main__.py", f"import sys\n{body}\n")
    return whole.getvalue()


def check_reporter(driver: Reporter[Any], into: Path) -> Sequence[Path]:
    """A reporter is a pure function that can show every result: good, failed, skipped, empty, with odd names and secrets."""
    written: Sequence[Path] = ()
    for number, result in enumerate(results()):
        texts = []
        for turn in ("a", "b"):
            folder = into / f"{number}{turn}"
            folder.mkdir(parents=True)
            written = driver.write(result, folder)
            assert written, "write() wrote nothing"
            for path in written:
                assert path.resolve().is_relative_to(folder.resolve()), f"{path} is outside of its folder"
                assert path.is_file(), f"{path} is not there"
                assert PLANTED.encode() not in path.read_bytes(), f"{path.name} holds a secret"
            texts.append({p.resolve().relative_to(folder.resolve()): p.read_bytes() for p in written})
        assert texts[0] == texts[1], "the same result gave two different reports: it is not a pure function"
    return written


def check_reader(driver: Reader[Any], sources: Sources, broken: Iterable[Sources] = ()) -> Configuration:
    """A reader makes a configuration of good files without complaint, and notes problems of bad ones without raising.

    It is asked before there is a deadline: one that does not come back by itself would stop the tool for good.
    """
    problems = Problems()
    read = _read(driver, sources, problems)
    assert isinstance(read, Configuration), f"read() returned {type(read).__name__}, not a Configuration"
    assert not problems.items, f"it complains about good files: {'; '.join(map(str, problems.items))}"
    _crosses(read, Configuration)
    for bad in broken:
        problems = Problems()
        _read(driver, bad, problems)
        assert problems.items, f"it says nothing about the broken files of {bad.config_dir}"
        for problem in problems.items:
            assert problem.file, f"a problem does not say in which file it is: {problem.message}"
    return read


def _read(driver: Reader[Any], sources: Sources, problems: Problems) -> object:
    outcome = off_thread(lambda: driver.read(sources, problems), Scope())
    assert outcome, f"read() does not come back from the files of {sources.config_dir}"
    if isinstance(error := outcome[0], BaseException):
        raise AssertionError(
            f"read() raised {type(error).__name__} for the files of {sources.config_dir}: {error}"
        ) from error
    return outcome[0]


def _crosses(value: Any, kind: type[Any]) -> None:
    """Whether it can go to another process and come back the same."""
    try:
        there = decode(json.loads(json.dumps(encode(value, reveal=True), allow_nan=False)), kind)
    except (TypeError, ValueError) as error:
        raise AssertionError(f"the {kind.__name__} cannot go to another process: {error}") from error
    assert encode(there) == encode(value), f"the {kind.__name__} changes when it goes to another process"


def _no_secret(trial: FakeTrial) -> None:
    for what in (*trial.events, *trial.records):
        assert PLANTED not in json.dumps(encode(what), default=str), f"{type(what).__name__} holds a secret"


def _told(states: Mapping[str, State]) -> str:
    return ", ".join(f"{s.service} is {s.status} {s.detail}".strip() for s in states.values())
