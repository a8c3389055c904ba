"""A broken plugin hurts nobody: each way of being broken, what is said of it, whose name it bears, and that the rest goes on.

While a trial runs: test_engine_trial.py (every hook, in processes of their own). While it is watched and reported:
test_guests.py. When it is imported: test_loading.py. Here: before anything is touched, and drivers that answer with garbage.
"""

from __future__ import annotations

import functools
import threading
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from playbook_kernel.api import (
    Artifact,
    Benchmark,
    CampaignResult,
    Check,
    Collector,
    Composer,
    ConfigError,
    Deployment,
    DriverRef,
    Fault,
    Load,
    LoadExecutor,
    Measurement,
    Metric,
    Node,
    NoOptions,
    PluginError,
    Probe,
    Problems,
    Reader,
    Reporter,
    RetryPolicy,
    Scenario,
    Service,
    Session,
    Sources,
    State,
    Timeouts,
    Transport,
    TrialContext,
    Wound,
    current,
    hookimpl,
)
from playbook_kernel.engine import plan as planning
from playbook_kernel.engine.campaign import Outcome, RunRequest
from playbook_kernel.engine.patience import Patience
from playbook_kernel.errors import words
from playbook_kernel.loading import HookManager, Loader, blame, origin
from playbook_kernel.model import Configuration, FaultPlan
from playbook_kernel.testing import run_campaign
from playbook_plugins import defaults

from .campaigns import campaign


def raises(error: BaseException) -> Callable[[], Any]:
    def call() -> Any:
        raise type(error)(*error.args)  # a new one each time: an error keeps the name of whose fault it was

    return call


def hangs() -> Any:
    threading.Event().wait()


WAYS: Mapping[str, tuple[Callable[[], Any], str]] = {
    "raises": (raises(ValueError("broken")), "ValueError: broken"),
    "exits": (raises(SystemExit(3)), "raised SystemExit"),
    "interrupts": (raises(KeyboardInterrupt()), "raised KeyboardInterrupt"),
    "hangs": (hangs, "it did not come back within its deadline"),
}
GARBAGE: Mapping[str, Any] = {"number": 5, "text": "none", "things": [object()]}


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "_PATIENCE", 0.05)
    monkeypatch.setattr(planning, "_GRACE", 0.05)
    monkeypatch.setattr(blame, "_running", [])  # what hangs stays there


class Fine(Benchmark[NoOptions]):
    """Measures."""

    name = "fine"

    def run(self, ctx: TrialContext, deployment: Deployment, load: Load) -> Measurement:
        return Measurement({"speed": Metric(1.0, "1")})


def scenario(folder: Path, name: str = "s", **words: Any) -> Scenario:
    return Scenario(name, folder, **{"benchmark": DriverRef("fine"), **words})


# -- before anything is touched -----------------------------------------------------------------------------------


class Plans:
    """A plugin that plans as it is told."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self.call = call

    @hookimpl
    def playbook_plan(self) -> Any:
        return self.call()


def planned(folder: Path, call: Callable[[], Any]) -> str:
    manager = HookManager()
    manager.register(Plans(call), "guilty")
    made = Loader(discover=lambda **_: ())
    made.add("fine", Fine)
    with pytest.raises(PluginError) as told:
        planning.make_plan(Configuration({}, (scenario(folder),)), made, manager)
    return str(told.value)


@pytest.mark.parametrize("way", WAYS)
def test_who_breaks_the_plan_is_named(tmp_path: Path, way: str) -> None:
    call, words = WAYS[way]
    said = planned(tmp_path, call)
    assert said.startswith("plugin 'guilty' failed in playbook_plan: ")
    assert words in said


@pytest.mark.parametrize("thing", GARBAGE)
def test_a_plan_that_is_none_is_its_plugins_fault(tmp_path: Path, thing: str) -> None:
    assert "plugin 'guilty' failed in playbook_plan: playbook_plan gave " in planned(tmp_path, lambda: GARBAGE[thing])


def broken_driver(kind: type, at: str, call: Callable[[], Any]) -> type[Any]:
    """A driver of a kind that is whole but for what happens when it is made (``made``) or checks a definition (``check``)."""

    def refuse(*_: object, **__: object) -> Any:
        raise AssertionError("nothing may be touched")

    members: dict[str, Any] = dict.fromkeys(kind.__abstractmethods__, refuse)  # type: ignore[attr-defined]
    if at == "made":
        members["__init__"] = lambda self, options: call()
    else:
        members["check"] = lambda self, *_: call()
    return types.new_class("Broken", (kind[NoOptions],), exec_body=lambda space: space.update(members))  # type: ignore[index]


class Near(Transport[NoOptions]):
    """Never connected."""

    def connect(self, node: Node, *, owner: str = "") -> Session:
        raise AssertionError("nothing may be touched")


def problems_of(folder: Path, kind: type, driver: type[Any]) -> str:
    """What is said of a plan with that driver; that the same plan without it is good is part of it."""
    made = Loader(discover=lambda **_: ())
    for name, cls in (("fine", Fine), ("near", Near), ("bad", driver)):
        made.add(name, cls)
    ref = DriverRef("bad", {}, "defaults.yaml:3: here")
    node = Node("n1", DriverRef("near"), composer="bad")
    words: dict[type, dict[str, Any]] = {
        Benchmark: {"benchmark": ref},
        Collector: {"collectors": (ref,)},
        Composer: {"services": (Service("a", ("n1",), folder / "c.yml"),)},
        Fault: {"faults": (FaultPlan(ref, at=1.0),)},
        Reporter: {},
    }
    bad, good = scenario(folder, "bad", **words[kind]), scenario(folder, "good")
    reporters = (ref,) if kind is Reporter else ()
    config = Configuration({"n1": node}, (bad, good), reporters=reporters)
    with pytest.raises((PluginError, ConfigError)) as told:
        planning.make_plan(config, made)
    rest = evolve(config, scenarios=(good,), reporters=())
    assert planning.make_plan(rest, made).runnable == (good,), "it hurts only who names it"
    return str(told.value)


@pytest.mark.parametrize("kind", [Benchmark, Collector, Composer, Fault, Reporter])
def test_a_driver_that_cannot_be_made_is_named_where_it_was_named(tmp_path: Path, kind: Any) -> None:
    said = problems_of(tmp_path, kind, broken_driver(kind, "made", raises(ValueError("broken"))))
    place = "node n1" if kind is Composer else "defaults.yaml:3: here"
    assert said == f"{place}: {kind.kind} 'bad' cannot be made: ValueError: broken"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", [Benchmark, Composer, Fault])
def test_a_driver_whose_check_fails_is_named_where_it_was_named(tmp_path: Path, kind: Any, way: str) -> None:
    call, words = WAYS[way]
    said = problems_of(tmp_path, kind, broken_driver(kind, "check", call))
    place = "node n1" if kind is Composer else "defaults.yaml:3: here"
    assert said.startswith(f"{place}: 'bad' failed in check: ")
    assert words in said


@pytest.mark.parametrize("thing", GARBAGE)
@pytest.mark.parametrize("kind", [Benchmark, Composer, Fault])
def test_a_check_that_gives_garbage_is_named_where_it_was_named(tmp_path: Path, kind: Any, thing: str) -> None:
    said = problems_of(tmp_path, kind, broken_driver(kind, "check", lambda: GARBAGE[thing]))
    assert f"'bad' failed in check: {kind.kind} 'bad': check gave " in said


# -- what drivers answer ------------------------------------------------------------------------------------------


def ran(folder: Path, drivers: Mapping[str, Any], *, reporters: Sequence[DriverRef] = (), **words: Any) -> Outcome:
    """A campaign of two scenarios over the installed plugins: ``bad`` names the broken driver, ``good`` does not."""
    scenarios = [scenario(folder, "bad", **words), scenario(folder, "good")]
    return run_campaign(
        folder / "results", scenarios, drivers={"fine": Fine, **drivers}, installed=True, reporters=reporters
    )


class Keeps(Collector[NoOptions]):
    """Brings one file home."""

    def collect(self, ctx: TrialContext, deployment: Deployment | None, into: Path) -> Sequence[Artifact]:
        (into / "kept.txt").write_text("kept")
        return [Artifact("log", "kept.txt")]


class Writes(Reporter[NoOptions]):
    """Writes one file."""

    def write(self, result: CampaignResult, into: Path) -> Sequence[Path]:
        (into / "good.txt").write_text(result.status)
        return [into / "good.txt"]


def answering(kind: type, method: str, call: Callable[[], Any], **more: Callable[..., Any]) -> type[Any]:
    """A driver of a kind that answers one call as it is told; ``more`` are its other methods, which do nothing if not given."""
    members: dict[str, Any] = dict.fromkeys(kind.__abstractmethods__, lambda *_, **__: None)  # type: ignore[attr-defined]
    members.update(more, **{method: lambda self, *_, **__: call()})
    return types.new_class("Broken", (kind[NoOptions],), exec_body=lambda space: space.update(members))  # type: ignore[index]


def guilty(outcome: Outcome, phase: str, words: str, driver: str) -> None:
    """The bad scenario failed in that phase, with these words, by that driver; the other one is unharmed."""
    assert [s.status for s in outcome.result.scenarios] == ["failed", "completed"]
    failure = outcome.result.scenarios[0].trials[0].failure
    assert failure is not None
    assert (failure.phase, failure.plugin) == (phase, driver)
    assert words in failure.error


RAISES_OR_GARBAGE: Mapping[str, Callable[[], Any]] = {
    **{way: call for way, (call, _) in WAYS.items() if way != "hangs"},
    **{thing: (lambda value=value: value) for thing, value in GARBAGE.items()},
    "nothing": lambda: None,
}
WORDS: Mapping[str, str] = {
    "raises": "ValueError: broken",
    "exits": "raised SystemExit in {at}",
    "interrupts": "raised KeyboardInterrupt in {at}",
    "number": "{call} gave int, not {kind}",
    "text": "{call} gave str, not {kind}",
    "things": "{call} gave ",
    "nothing": "{call} gave NoneType, not {kind}",
}


@pytest.mark.parametrize("way", RAISES_OR_GARBAGE)
def test_a_benchmark(tmp_path: Path, way: str) -> None:
    outcome = ran(tmp_path, {"bad": answering(Benchmark, "run", RAISES_OR_GARBAGE[way])}, benchmark=DriverRef("bad"))
    guilty(
        outcome,
        "benchmark",
        WORDS[way].format(at="run", call="benchmark 'bad': run", kind="Measurement"),
        "benchmark:bad",
    )


@pytest.mark.parametrize("way", RAISES_OR_GARBAGE)
def test_a_collector(tmp_path: Path, way: str) -> None:
    drivers = {"bad": answering(Collector, "collect", RAISES_OR_GARBAGE[way]), "keeps": Keeps}
    outcome = ran(tmp_path, drivers, collectors=(DriverRef("bad"), DriverRef("keeps")))
    assert [s.status for s in outcome.result.scenarios] == ["completed", "completed"]
    [trial] = outcome.result.scenarios[0].trials
    assert "kept.txt" in [a.path for a in trial.artifacts]
    [said] = [w for w in trial.warnings if "collector bad failed: " in w]
    words = WORDS[way].format(at="collect", call="collector 'bad': collect", kind="Artifact")
    assert words.removeprefix("plugin 'bad' ") in said


@pytest.mark.parametrize("way", [*RAISES_OR_GARBAGE, "hangs"])
def test_a_reporter(tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("playbook_plugins.defaults._REPORT", 0.2)
    drivers = {"bad": answering(Reporter, "write", RAISES_OR_GARBAGE.get(way, hangs)), "writes": Writes}
    outcome = ran(tmp_path, drivers, reporters=(DriverRef("bad"), DriverRef("writes")))
    assert [s.status for s in outcome.result.scenarios] == ["completed", "completed"]
    assert [p.name for p in outcome.reports] == ["good.txt"]
    log = (outcome.folder / "log.jsonl").read_text()
    assert "report bad could not be written: " in log


HERE = Node("n1", DriverRef("local"), composer="runs")
SERVICE = Service("a", ("n1",), Path("compose.yml"))
NEARLY: Mapping[str, Callable[..., Any]] = {
    "start": lambda *_: {},
    "states": lambda *_: {"a": State("a", "running")},
    "residue": lambda *_: (),
}
"""What a composer needs to be one that serves every node."""

OF_NODES: Mapping[str, tuple[type[Any], str, str, str]] = {
    "connects": (Transport, "connect", "discover", "Session"),
    "fits": (Composer, "fit", "discover", "str"),
    "starts": (Composer, "start", "deploy", "Mapping"),
    "sees": (Composer, "states", "deploy", "Mapping"),
    "probes": (Probe, "check", "deploy", "Health"),
}
"""Which driver answers with garbage, in which call, what that fails, and what the answer ought to be."""


def on_a_node(folder: Path, kind: type[Any], method: str, call: Callable[[], Any], **words: Any) -> Outcome:
    """A campaign of two scenarios: the first one uses a broken driver of that kind, the second one uses no node."""
    runs = {} if method == "fit" else NEARLY
    bad = answering(kind, method, call, **({**runs} if kind is Composer else {}))
    good = answering(Composer, "fit", lambda: None, **NEARLY)
    node = {Transport: evolve(HERE, transport=DriverRef("bad")), Composer: evolve(HERE, composer="bad")}.get(kind, HERE)
    checks = (Check(DriverRef("bad")),) if kind is Probe else ()
    (folder / "compose.yml").write_text("services: {a: {image: none}}\n")
    service = evolve(SERVICE, definition=folder / "compose.yml", checks=checks)
    scenarios = [
        scenario(folder, "bad", services=(service,), retry=RetryPolicy(other=0), **words),
        scenario(folder, "good"),
    ]
    drivers = {"fine": Fine, "bad": bad, "runs": good, "local": Loader().driver("transport", "local")}
    return run_campaign(folder / "results", scenarios, nodes=[node], drivers=drivers, hooks={"defaults": defaults})


@pytest.mark.parametrize("way", ["raises", "exits", "number"])
@pytest.mark.parametrize("what", OF_NODES)
def test_a_driver_of_a_node_is_blamed_by_its_own_name(tmp_path: Path, what: str, way: str) -> None:
    kind, method, phase, right = OF_NODES[what]
    outcome = on_a_node(tmp_path, kind, method, RAISES_OR_GARBAGE[way])
    words = WORDS[way].format(at=method, call=f"{kind.kind} 'bad': {method}", kind=right)
    guilty(outcome, phase, words, f"{kind.kind}:bad")


def test_a_driver_that_does_not_come_back_is_blamed_by_its_own_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient = functools.partial(RunRequest, patience=Patience(grace=0.1))
    monkeypatch.setattr("playbook_kernel.testing.harness.RunRequest", patient)
    outcome = on_a_node(tmp_path, Transport, "connect", hangs, timeouts=Timeouts(discover=0.1))
    guilty(outcome, "discover", "did not come back within its deadline (plugin transport:bad)", "transport:bad")


@pytest.mark.parametrize("way", RAISES_OR_GARBAGE)
def test_an_executor(tmp_path: Path, way: str) -> None:
    class Spreads(Benchmark[NoOptions]):
        """Asks an executor for its places."""

        def run(self, ctx: TrialContext, deployment: Deployment, load: Load) -> Measurement:
            places = ctx.build(LoadExecutor, DriverRef("bad")).places(ctx)  # type: ignore[type-abstract]
            return Measurement({"places": Metric(len(places), "1")})

    bad = answering(LoadExecutor, "places", RAISES_OR_GARBAGE[way])
    outcome = ran(tmp_path, {"spreads": Spreads, "bad": bad}, benchmark=DriverRef("spreads"))
    words = WORDS[way].format(at="places", call="executor 'bad': places", kind="Place")
    guilty(outcome, "benchmark", words, "executor:bad")


class Waits(Benchmark[NoOptions]):
    """Measures until the fault has had its turn."""

    def run(self, ctx: TrialContext, deployment: Deployment, load: Load) -> Measurement:
        current().sleep(0.3)
        return Measurement({"speed": Metric(1.0, "1")})


FAULTS = [
    *(("fit", "deploy", way) for way in ("raises", "exits", "interrupts", "number")),
    *(("plan", "benchmark", way) for way in RAISES_OR_GARBAGE),
    *(("strike", "benchmark", way) for way in ("raises", "exits", "interrupts")),
]


@pytest.mark.parametrize(("method", "phase", "way"), FAULTS)
def test_a_fault(tmp_path: Path, method: str, phase: str, way: str) -> None:
    right = {"fit": lambda *_: None, "plan": lambda *_: [Wound("n1", "breaks it")]}
    bad = answering(Fault, method, RAISES_OR_GARBAGE[way], **{n: f for n, f in right.items() if n != method})
    drivers = {"bad": bad, "waits": Waits}
    outcome = ran(tmp_path, drivers, benchmark=DriverRef("waits"), faults=(FaultPlan(DriverRef("bad"), at=0.0),))
    kind = "str" if method == "fit" else "Wound"
    guilty(outcome, phase, WORDS[way].format(at=method, call=f"fault 'bad': {method}", kind=kind), "fault:bad")


@pytest.mark.parametrize("way", RAISES_OR_GARBAGE)
def test_a_reader(tmp_path: Path, way: str) -> None:
    made = Loader(discover=lambda **_: ())
    made.add("bad", answering(Reader, "read", RAISES_OR_GARBAGE[way]))
    made.add("good", answering(Reader, "read", lambda: Configuration({}, ())))
    sources = Sources(tmp_path, tmp_path, tmp_path)
    with pytest.raises((PluginError, ValueError)) as told:
        made.build(Reader, DriverRef("bad")).read(sources, Problems())  # type: ignore[type-abstract]
    assert WORDS[way].format(at="read", call="reader 'bad': read", kind="Configuration") in words(told.value)
    assert origin(told.value) == "reader:bad"
    assert made.build(Reader, DriverRef("good")).read(sources, Problems()).scenarios == ()  # type: ignore[type-abstract]


# -- holding nodes ------------------------------------------------------------------------------------------------

CLAIMS = """
@hookimpl
def playbook_claim(ctx, nodes):
    {body}
"""
GOOD_CLAIM = CLAIMS.format(body="return (ctx.folder / 'claimed').touch")
BROKEN_CLAIMS: Mapping[str, tuple[str, str]] = {
    "raises": ("raise ValueError('broken')", "ValueError: broken"),
    "exits": ("sys.exit(3)", "raised SystemExit in playbook_claim"),
    "hangs": (
        "import threading; threading.Event().wait()",
        "is left out from now on: playbook_claim did not come back within 0 s",
    ),
    "number": ("return 5", "playbook_claim gave int, not Callable"),
}


@pytest.mark.parametrize("way", BROKEN_CLAIMS)
def test_who_breaks_the_claims_is_named_and_left_out_and_the_others_claim(tmp_path: Path, way: str) -> None:
    body, words = BROKEN_CLAIMS[way]
    patience = Patience(grace=0.2, claim=0.2)
    outcome = campaign(tmp_path, ["a"], GOOD_CLAIM, CLAIMS.format(body=body), GOOD_CLAIM, patience=patience)
    assert outcome.result.status == "completed"
    [said] = [warning for warning in outcome.result.warnings if "playbook_claim" in warning]
    assert "extra1.py" in said
    assert words in said
    assert (outcome.folder / "claimed").exists(), "what the others claimed was given back"
