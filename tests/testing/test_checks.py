"""Each conformance check passes a good driver, and names the fault of one that breaks it."""

from __future__ import annotations

import functools
import hashlib
import json
import re
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest
from attrs import frozen
from playbook_kernel.api import (
    Artifact,
    Benchmark,
    CampaignResult,
    Cancel,
    Collector,
    CommandFailed,
    Completed,
    Configuration,
    Deployment,
    Fact,
    Health,
    Load,
    LoadExecutor,
    Measurement,
    Metric,
    NoOptions,
    PhaseTimeout,
    Place,
    Probe,
    Problems,
    Reader,
    Reporter,
    Residue,
    Secret,
    Service,
    Sources,
    State,
    Target,
    TrialContext,
    current,
    hookimpl,
    run_all,
    within,
)
from playbook_kernel.testing import (
    PLANTED,
    FakeSession,
    FakeTrial,
    Hang,
    Said,
    check_benchmark,
    check_cleanup,
    check_collector,
    check_driver,
    check_executor,
    check_honours_cancel,
    check_honours_deadline,
    check_hooks,
    check_probe,
    check_reader,
    check_reporter,
    fake_trial,
    later,
    node,
)
from playbook_plugins.transports.local import LocalTransport

Run = Callable[[Benchmark[Any], TrialContext], Any]


@frozen
class Options:
    rounds: int = 1
    api_key: Secret | None = None


def runs(body: Callable[[TrialContext], Any]) -> Benchmark[Any]:
    """A benchmark with this body."""

    class Bench(Benchmark[Options]):
        """Measures by a tool."""

        def run(self, ctx: TrialContext, deployment: Deployment, load: Load) -> Measurement:
            return body(ctx)

    return Bench(Options())


def by_tool(ctx: TrialContext) -> Measurement:
    done = ctx.session("n1").run(["bench"], timeout=600)
    return Measurement({"throughput": Metric(float(done.text), "tok/s", 4)})


def trial(tmp_path: Path, reply: Any) -> FakeTrial:
    return fake_trial(tmp_path, {"n1": FakeSession({"*": reply}, node=node("n1"))})


def fails(pattern: str) -> Any:
    return pytest.raises(AssertionError, match=pattern)


# -- any driver ---------------------------------------------------------------------------------------------------


def test_a_driver_is_built_with_its_options() -> None:
    driver = check_driver(type(runs(by_tool)), {"rounds": 3})
    assert driver.options.rounds == 3


def test_a_driver_without_docstring_is_told() -> None:
    class Bench(Benchmark[Options]):
        def run(self, ctx: TrialContext, deployment: Deployment, load: Load) -> Measurement: ...

    with fails("no docstring"):
        check_driver(Bench)


def test_an_unfinished_driver_is_told() -> None:
    class Bench(Benchmark[Options]):
        """Unfinished."""

    with fails("lacks run"):
        check_driver(Bench)


def test_a_method_that_does_not_take_what_it_is_given_is_told() -> None:
    class Bench(Benchmark[Options]):
        """Deaf."""

        def run(self) -> Measurement: ...  # type: ignore[override]

    with fails(r"Bench\.run is called with \(ctx, deployment, load\): too many positional arguments"):
        check_driver(Bench)


def test_options_that_can_change_are_told() -> None:
    @attrs.define
    class Loose:
        rounds: int = 1

    class Bench(Benchmark[Loose]):
        """Loose."""

        def run(self, ctx: TrialContext, deployment: Deployment, load: Load) -> Measurement: ...

    with fails("not frozen"):
        check_driver(Bench)


def test_a_password_in_plain_text_is_told() -> None:
    @frozen
    class Open:
        password: str = ""

    class Bench(Benchmark[Open]):
        """Open."""

        def run(self, ctx: TrialContext, deployment: Deployment, load: Load) -> Measurement: ...

    with fails("password of Bench sounds secret"):
        check_driver(Bench)


def test_options_that_do_not_fit_are_told() -> None:
    with fails("rounds: expected a whole number"):
        check_driver(type(runs(by_tool)), {"rounds": "three"})


@pytest.mark.parametrize(("thing", "complaint"), [(dict, "not a subclass"), (object(), "is not a class")])
def test_something_that_is_no_driver_is_told(thing: Any, complaint: str) -> None:
    with fails(complaint):
        check_driver(thing)


@frozen
class Untyped:
    rounds = attrs.field(default=1)


class Anything:
    """Takes whatever it is given."""


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("kind", "probe", "kind 'probe' is not a kind"),
        ("kind", "tool", "kind 'tool' is not a kind"),
        ("options_type", Anything, "are not an attrs class"),
        ("options_type", Untyped, "option rounds of Bench has no type"),
    ],
)
def test_a_driver_that_is_put_together_wrongly_is_told(name: str, value: Any, complaint: str) -> None:
    bench = type(runs(by_tool))
    setattr(bench, name, value)
    with fails(complaint):
        check_driver(bench)


def test_options_that_take_anything_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def lenient(given: Mapping[str, Any], cls: type[Any]) -> tuple[Any, list[Any]]:
        return cls(), []

    monkeypatch.setattr("playbook_kernel.testing.conformance.structure", lenient)
    with fails("takes options that it does not have"):
        check_driver(type(runs(by_tool)))


# -- benchmarks ---------------------------------------------------------------------------------------------------


def test_a_good_benchmark_passes(tmp_path: Path) -> None:
    measured = check_benchmark(
        runs(by_tool),
        trial(tmp_path / "good", "812.5"),
        broken=trial(tmp_path / "broken", 1),
        hangs=trial(tmp_path / "hangs", Hang()),
    )
    assert measured.metrics["throughput"].value == 812.5


@pytest.mark.parametrize(
    "body, complaint",
    [
        (lambda _: None, "returned NoneType"),
        (lambda _: Measurement({}), "nothing was measured"),
        (lambda _: Measurement({"x": Metric(float("nan"), "s")}), "metric x is nan"),
        (lambda _: Measurement({"x": Metric(1.0, "")}), "metric x has no unit"),
        (lambda _: Measurement({"x": Metric(1.0, "s", 0)}), "stands on 0 samples"),
        (lambda _: Measurement({"x": 1.0}), "metric x is float"),  # type: ignore[dict-item]
        (lambda _: Measurement({"x": Metric(1.0, "s")}, raw={"a": {1, 2}.__iter__}), "JSON"),
        (lambda _: Measurement({"x": Metric(1.0, 5)}), "cannot go to another process: .* a text, got 5"),  # type: ignore[arg-type]
        (lambda _: Measurement({"x": Metric(1.0, "s")}, raw={"a": {"$float": "1"}}), "changes when it goes to another"),
    ],
)
def test_a_dishonest_measurement_is_told(tmp_path: Path, body: Any, complaint: str) -> None:
    with fails(complaint):
        check_benchmark(runs(body), trial(tmp_path, ""))


def test_a_swallowed_failure_is_told(tmp_path: Path) -> None:
    def careless(ctx: TrialContext) -> Measurement:
        ctx.session("n1").run(["bench"], check=False)
        return Measurement({"x": Metric(1.0, "s")})

    with fails("as if it had not"):
        check_benchmark(runs(careless), trial(tmp_path / "a", ""), broken=trial(tmp_path / "b", 9))


def test_a_benchmark_that_does_not_stop_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("playbook_kernel.testing.bounds._PATIENCE", 1.0)
    once: list[int] = []

    def stubborn(ctx: TrialContext) -> Measurement:
        if ctx.session("n1").run(["bench"], check=False, timeout=None).ok and not once:
            once.append(1)
            return Measurement({"x": Metric(1.0, "s")})
        time.sleep(3)
        return Measurement({"x": Metric(1.0, "s")})

    with fails("its deadline passed, and it goes on"):
        check_benchmark(runs(stubborn), trial(tmp_path / "a", ""), hangs=trial(tmp_path / "b", ""))


def test_a_benchmark_that_answers_a_cancellation_with_a_result_is_told(tmp_path: Path) -> None:
    def eager(ctx: TrialContext) -> Measurement:
        scope = current()
        if scope.deadline.at is not None:
            scope.sleep(60)
        scope.cancel.wait(0.3 if scope.deadline.at is None else 0)
        return Measurement({"x": Metric(1.0, "s")})

    with fails("it was cancelled, and it returned"):
        check_benchmark(runs(eager), trial(tmp_path / "a", ""), hangs=trial(tmp_path / "b", ""))


@pytest.mark.parametrize(
    ("error", "complaint"),
    [(ValueError("oh"), "raised ValueError: oh"), (PhaseTimeout("late"), "raised PhaseTimeout instead of Cancelled")],
)
def test_a_benchmark_that_ends_otherwise_than_asked_is_told(tmp_path: Path, error: Exception, complaint: str) -> None:
    def odd(ctx: TrialContext) -> Measurement:
        if ctx.session("n1").run(["bench"]).text == "good":
            return Measurement({"x": Metric(1.0, "s")})
        if isinstance(error, PhaseTimeout) and current().deadline.at is not None:
            current().sleep(60)
        raise error

    with fails(complaint):
        check_benchmark(runs(odd), trial(tmp_path / "a", "good"), hangs=trial(tmp_path / "b", ""))


def test_a_secret_in_an_event_is_told(tmp_path: Path) -> None:
    def chatty(ctx: TrialContext) -> Measurement:
        ctx.warn(f"the key is {PLANTED}")
        return Measurement({"x": Metric(1.0, "s")})

    with fails("Warned holds a secret"):
        check_benchmark(runs(chatty), trial(tmp_path, ""))


# -- probes -------------------------------------------------------------------------------------------------------


class StateProbe(Probe[Options]):
    """Looks at the state."""

    def check(self, target: Target) -> Health:
        if target.state.status == "restarting":
            current().sleep(60)
        return Health(ok=target.state.status == "running", detail=target.state.status)


def target(status: Any) -> Target:
    service = Service("engine", ("n1",), Path("compose.yml"))
    return Target(service, node("n1"), "127.0.0.1", FakeSession(), State("engine", status))


def test_a_good_probe_passes() -> None:
    check_probe(StateProbe(Options()), target("running"), [target("exited")], target("restarting"))


def answers(body: Callable[[Target], Any]) -> Probe[Any]:
    class Odd(Probe[Options]):
        """Odd."""

        def check(self, target: Target) -> Health:
            return body(target)

    return Odd(Options())


@pytest.mark.parametrize(
    "body, complaint",
    [
        (lambda _: True, "returned bool"),
        (lambda _: Health(ok=True), "called good"),
        (lambda _: Health(ok=False, detail="no"), "the good target is bad: no"),
        (lambda t: Health(ok=t.state.status == "running"), "does not say why"),
        (lambda t: Health(ok=True) if t.state.status == "running" else 1 / 0, "raise ZeroDivisionError"),
        (lambda t: Health(ok=t.state.status == "running", detail=PLANTED), "shows a secret"),
    ],
)
def test_a_bad_probe_is_told(body: Any, complaint: str) -> None:
    with fails(complaint):
        check_probe(answers(body), target("running"), [target("exited")])


def test_a_probe_that_calls_silence_good_is_told() -> None:
    probe = answers(lambda t: Health(ok=t.state.status != "exited", detail="x"))
    with fails("does not answer was called good"):
        check_probe(probe, target("running"), [target("exited")], target("restarting"))


def test_a_probe_that_goes_on_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("playbook_kernel.testing.bounds._PATIENCE", 1.0)
    never = threading.Event()

    def stubborn(target: Target) -> Health:
        if target.state.status == "restarting":
            never.wait()
        return Health(ok=target.state.status == "running", detail="x")

    with fails("its deadline passed, and it goes on"):
        check_probe(answers(stubborn), target("running"), [target("exited")], target("restarting"))
    never.set()


def test_a_probe_that_gives_something_else_at_its_deadline_is_told() -> None:
    probe = answers(lambda t: 7 if t.state.status == "restarting" else Health(ok=True))
    with fails("its deadline passed, and it gave 7"):
        check_probe(probe, target("running"), [], target("restarting"))


# -- collectors ---------------------------------------------------------------------------------------------------


def keeps(body: Callable[[TrialContext, Path], Any]) -> Collector[Any]:
    class Kept(Collector[Options]):
        """Keeps things."""

        def collect(self, ctx: TrialContext, deployment: Deployment | None, into: Path) -> Sequence[Artifact]:
            return body(ctx, into)

    return Kept(Options())


def write(into: Path, name: str, data: bytes = b"abc", **wrong: Any) -> Artifact:
    (into / name).parent.mkdir(parents=True, exist_ok=True)
    (into / name).write_bytes(data)
    true = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    return Artifact("log", name, **{**true, **wrong})


def test_a_good_collector_passes(tmp_path: Path) -> None:
    check_collector(keeps(lambda _, into: [write(into, "a.log")]), trial(tmp_path, ""))


@pytest.mark.parametrize(
    "body, complaint",
    [
        (lambda _, into: [write(into, "a.log", size=9)], "has 3 bytes, not 9"),
        (lambda _, into: [write(into, "a.log", sha256="00")], "hash of a.log is wrong"),
        (lambda _, into: [Artifact("log", "b.log")], "b.log is not there"),
        (lambda _, into: [Artifact("log", "../b.log")], "leads out"),
        (lambda _, into: [Artifact("log", "/etc/passwd")], "is not relative"),
        (lambda _, into: [write(into, "a.log", PLANTED.encode())], "holds a secret"),
        (lambda _, into: ["a.log"], "returned a str"),
        (lambda _, into: [], "nothing was kept"),
    ],
)
def test_a_bad_collector_is_told(tmp_path: Path, body: Any, complaint: str) -> None:
    with fails(complaint):
        check_collector(keeps(body), trial(tmp_path, ""))


# -- reporters ----------------------------------------------------------------------------------------------------


def reports(body: Callable[[CampaignResult], bytes], name: str = "x.txt") -> Reporter[Any]:
    class Report(Reporter[Options]):
        """Reports."""

        def write(self, result: CampaignResult, into: Path) -> Sequence[Path]:
            path = into / name
            path.write_bytes(body(result))
            return [path]

    return Report(Options())


def test_a_good_reporter_passes(tmp_path: Path) -> None:
    check_reporter(reports(lambda r: r.id.encode()), tmp_path)


@pytest.mark.parametrize(("paths", "complaint"), [([], "wrote nothing"), (["missing.txt"], "missing.txt is not there")])
def test_a_report_that_is_not_there_is_told(tmp_path: Path, paths: list[str], complaint: str) -> None:
    class Report(Reporter[Options]):
        """Reports."""

        def write(self, result: CampaignResult, into: Path) -> Sequence[Path]:
            return [into / p for p in paths]

    with fails(complaint):
        check_reporter(Report(Options()), tmp_path)


@pytest.mark.parametrize(
    "body, name, complaint",
    [
        (lambda r: json.dumps([str(s) for s in r.scenarios]).encode(), "x", "holds a secret"),
        (lambda _: str(time.perf_counter_ns()).encode(), "x", "not a pure function"),
        (lambda _: b"", "../x", "outside"),
    ],
)
def test_a_bad_reporter_is_told(tmp_path: Path, body: Any, name: str, complaint: str) -> None:
    with fails(complaint):
        check_reporter(reports(body, name), tmp_path)


# -- executors ----------------------------------------------------------------------------------------------------


class Here(LoadExecutor[Options]):
    """Runs every share as a process of this machine, under two names."""

    faulty = ""
    runs = 0

    def places(self, ctx: TrialContext) -> Sequence[Place]:
        if self.faulty == "nowhere":
            return []
        there = Place("a" if self.faulty == "names" else "b", 1e9 if self.faulty == "clock" else 0.0)
        return [Place("a", error=-1.0 if self.faulty == "error" else 0.0), there]

    def run(self, ctx: TrialContext, program: bytes, shares: Mapping[str, bytes]) -> Mapping[str, bytes]:
        path = ctx.directory / "program.pyz"
        path.write_bytes(program)
        session, check = ctx.session("local"), self.faulty != "failures"
        stop = Cancel()

        def call(share: bytes) -> Completed:
            done = session.run([sys.executable, path], stdin=share, timeout=20, check=False)
            if done.status and self.faulty != "lingers":
                stop.set("another failed")
            if done.status and check:
                raise CommandFailed("here", done.argv, done.status)
            return done

        with current().cancel.watching(lambda: stop.set("cancelled")), within(cancel=stop):
            done = run_all([functools.partial(call, share) for share in shares.values()])
        for said in done:
            if isinstance(said, BaseException) and check:
                raise said
        cut = 5 if self.faulty == "cut" else None
        came = {n: said.stdout[:cut] for n, said in zip(shares, done, strict=True) if isinstance(said, Completed)}
        self.runs += 1
        if self.faulty == "wastes" and self.runs > 2:  # what was cancelled did not come so far
            came.popitem()
        return {"a": b"", "b": b"", **came} if self.faulty == "everywhere" else came


def local_trial(tmp_path: Path) -> FakeTrial:
    return fake_trial(tmp_path, {"local": LocalTransport(NoOptions()).connect(node("local"), owner="pk-executor")})


def test_a_good_executor_passes(tmp_path: Path) -> None:
    assert [p.name for p in check_executor(Here(Options()), local_trial(tmp_path))] == ["a", "b"]


@pytest.mark.parametrize(
    "fault, complaint",
    [
        ("nowhere", "there is no place"),
        ("error", "an error below 0"),
        ("everywhere", "ran where it was not asked to"),
        ("wastes", "its places are not free"),
        ("names", "two places have one name"),
        ("clock", "more than a day"),
        ("cut", "did not come back whole"),
        ("failures", "as if nothing had happened"),
        ("lingers", "failed on b, and it goes on"),
    ],
)
def test_a_bad_executor_is_told(tmp_path: Path, fault: str, complaint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("playbook_kernel.testing.bounds._PATIENCE", 3.0)
    driver = Here(Options())
    driver.faulty = fault
    with fails(complaint):
        check_executor(driver, local_trial(tmp_path))


# -- readers ------------------------------------------------------------------------------------------------------


class LineReader(Reader[Options]):
    """Wants a file called good."""

    def read(self, sources: Sources, problems: Problems) -> Configuration:
        if not (sources.config_dir / "good").exists():
            problems.add(sources.config_dir / "good", 0, "", "is not there")
        return Configuration({}, ())


def test_readers(tmp_path: Path) -> None:
    good, bad = (Sources(tmp_path / n, tmp_path, tmp_path) for n in ("good", "bad"))
    good.config_dir.mkdir()
    (good.config_dir / "good").touch()
    check_reader(LineReader(Options()), good, [bad])
    with fails("complains about good files"):
        check_reader(LineReader(Options()), bad)
    with fails("says nothing about the broken files"):
        check_reader(LineReader(Options()), good, [good])


class OddReader(Reader[Options]):
    """Does with the files in ``bad`` what it likes."""

    def __init__(self, bad: Callable[[Sources, Problems], Any]) -> None:
        super().__init__(Options())
        self.bad = bad

    def read(self, sources: Sources, problems: Problems) -> Configuration:
        return self.bad(sources, problems) if sources.config_dir.name == "bad" else Configuration({}, ())


def _raises(sources: Sources, problems: Problems) -> None:
    raise KeyError("nodes")


@pytest.mark.parametrize(
    ("bad", "complaint"),
    [
        (_raises, "read.. raised KeyError for the files of .*/bad: 'nodes'"),
        (lambda _, problems: problems.add("", 0, "", "is wrong"), "does not say in which file it is: is wrong"),
        (lambda *_: threading.Event().wait(), "does not come back from the files of .*/bad"),
    ],
)
def test_a_reader_that_breaks_on_bad_files_is_told(
    tmp_path: Path, bad: Any, complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("playbook_kernel.testing.bounds._PATIENCE", 1.0)
    good, wrong = (Sources(tmp_path / n, tmp_path, tmp_path) for n in ("good", "bad"))
    with fails(complaint):
        check_reader(OddReader(bad), good, [wrong])


def test_a_reader_of_something_else_is_told(tmp_path: Path) -> None:
    with fails("returned dict, not a Configuration"):
        check_reader(OddReader(lambda *_: {}), Sources(tmp_path / "bad", tmp_path, tmp_path))


# -- hooks --------------------------------------------------------------------------------------------------------


class FileMaker:
    """Makes a file on a node, and removes it again."""

    def __init__(self, *, forgets: bool = False) -> None:
        self.forgets = forgets

    def make(self, ctx: TrialContext) -> None:
        effect = ctx.effects.intend("mine", "n1", path="/tmp/x")
        ctx.session("n1").run(["touch", "/tmp/x"])
        ctx.effects.done(effect)

    @hookimpl
    def playbook_cleanup(self, ctx: TrialContext, deployment: Deployment | None) -> Iterable[Residue]:
        for effect in ctx.effects.open("mine"):
            ctx.session("n1").run(["rm", "-f", str(effect.data["path"])])
            if not self.forgets:
                ctx.effects.undone(effect)
        return []


def test_a_good_cleanup_passes(tmp_path: Path) -> None:
    plugin, at = FileMaker(), trial(tmp_path, "")
    plugin.make(at.ctx)
    assert check_hooks(plugin) == ["playbook_cleanup"]
    assert check_cleanup(plugin, at) == []
    assert "rm -f /tmp/x" in at.ctx.session("n1").lines  # type: ignore[attr-defined]


def test_a_cleanup_that_forgets_is_told(tmp_path: Path) -> None:
    plugin, at = FileMaker(forgets=True), trial(tmp_path, "")
    plugin.make(at.ctx)
    with fails(re.escape("[('mine', 'n1')]")):
        check_cleanup(plugin, at, kinds=["mine"])
    check_cleanup(plugin, at, kinds=["file"])


def test_a_cleanup_that_raises_is_told(tmp_path: Path) -> None:
    plugin, at = FileMaker(), fake_trial(tmp_path, {"n1": FakeSession({"touch *": "", "rm *": 1}, node=node("n1"))})
    plugin.make(at.ctx)
    with fails("cleanup raised CommandFailed"):
        check_cleanup(plugin, at)


def test_a_cleanup_that_returns_something_else_is_told(tmp_path: Path) -> None:
    class Words:
        @hookimpl
        def playbook_cleanup(self, ctx: TrialContext) -> Any:
            return ["all gone"]

    with fails("cleanup raised PluginError: playbook_cleanup gave str, not Residue"):
        check_cleanup(Words(), trial(tmp_path, ""))


def test_a_hook_with_arguments_that_do_not_exist_is_told() -> None:
    class Wants:
        @hookimpl
        def playbook_collect(self, ctx: TrialContext, deplyoment: Any) -> None: ...

    with fails("deplyoment"):
        check_hooks(Wants())


def test_a_wrapper_of_an_isolated_hook_is_told() -> None:
    class Wraps:
        @hookimpl(wrapper=True)
        def playbook_cleanup(self, ctx: TrialContext) -> Any:
            return (yield)

    with fails("playbook_cleanup cannot be wrapped"):
        check_hooks(Wraps())


@pytest.mark.parametrize("check", [check_honours_deadline, check_honours_cancel])
def test_a_hook_that_does_not_stop_is_told(check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those two take any call, a hook's and a collector's as well."""
    monkeypatch.setattr("playbook_kernel.testing.bounds._PATIENCE", 1.0)
    never = threading.Event()

    class Waits:
        @hookimpl
        def playbook_collect(self, ctx: TrialContext) -> None:
            never.wait()

    with fails("and it goes on"):
        check(lambda: Waits().playbook_collect(None))  # type: ignore[arg-type]
    never.set()
    check(lambda: current().sleep(60))


def test_a_hook_that_is_not_marked_is_told() -> None:
    class Forgot:
        @hookimpl
        def playbook_discover(self, ctx: TrialContext) -> dict[str, Fact]:
            return {}

        def playbook_collect(self, ctx: TrialContext) -> None: ...

    with fails("playbook_collect is not marked"):
        check_hooks(Forgot())


def test_a_hook_that_does_not_exist_is_told() -> None:
    class Typo:
        @hookimpl
        def playbook_discover(self) -> dict[str, Fact]:
            return {}

        def playbook_colect(self) -> None: ...

    with fails("playbook_colect is no hook"):
        check_hooks(Typo())


def test_a_plugin_without_hooks_is_told() -> None:
    with fails("implements no hook"):
        check_hooks(object())


# -- the fakes themselves -----------------------------------------------------------------------------------------


def test_a_fake_node_keeps_what_it_saw(tmp_path: Path) -> None:
    session = FakeSession({"cat *": Said("out", "err", 3), "who": lambda argv: " ".join(argv)})
    done = session.run(["cat", "a b"], check=False, stdin=b"in", env={"K": "v"})
    assert (done.text, done.errors, done.status) == ("out", "err", 3)
    assert session.lines == ["cat 'a b'"]
    assert bytes(session.processes[0].received) == b"in"
    assert session.environments[0] == {"K": "v"}
    assert session.run(["who"]).text == "who"
    (tmp_path / "f").write_bytes(b"12345")
    session.put_tree(tmp_path, "/x")
    session.get_tree("/x", tmp_path / "back")
    assert (tmp_path / "back/f").read_bytes() == b"12345"
    assert session.get("/x/f", tmp_path / "end", limit=2) == 2
    assert (tmp_path / "end").read_bytes() == b"45"
    with fails("no reply is scripted for: ls"):
        session.run(["ls"])


def test_later_knows_only_what_the_journal_knows(tmp_path: Path) -> None:
    at = trial(tmp_path, "")
    first, second = (at.ctx.effects.intend("mine", "n1", path=p) for p in "ab")
    at.ctx.effects.done(first)
    at.ctx.effects.undone(second)
    again = later(at)
    assert [(e.id, e.state) for e in again.ctx.effects.open()] == [(first.id, "done")]
    assert again.ctx.emergency
    assert not again.events
