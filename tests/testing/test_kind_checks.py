"""Each check of probes, collectors, reporters, executors and readers passes a good one, and names the fault of a bad one."""

from __future__ import annotations

import functools
import hashlib
import json
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from playbook_kernel.api import (
    Artifact,
    CampaignResult,
    Cancel,
    Collector,
    CommandFailed,
    Completed,
    Configuration,
    Deployment,
    Health,
    LoadExecutor,
    NoOptions,
    Place,
    Probe,
    Problems,
    Reader,
    Reporter,
    Service,
    Sources,
    State,
    Target,
    TrialContext,
    current,
    run_all,
    within,
)
from playbook_kernel.testing import (
    PLANTED,
    FakeSession,
    FakeTrial,
    check_collector,
    check_executor,
    check_probe,
    check_reader,
    check_reporter,
    fake_trial,
    node,
)
from playbook_plugins.transports.local import LocalTransport

from tests.testing.samples import Options, fails, trial

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
