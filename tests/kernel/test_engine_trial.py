"""Whatever a plugin does to a trial's process: a named error, nothing left, and the next scenario runs."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from playbook_kernel.engine import protocol
from playbook_kernel.engine.campaign import Outcome
from playbook_kernel.engine.journal import read, trials
from playbook_kernel.engine.patience import Patience
from playbook_kernel.model import PHASES, PhaseOutcome, Policy, ScenarioResult, Timeouts, TrialResult

from .campaigns import campaign, cleanups_of, group_alive, outside, pids_of, scenario

# A scenario's name says in which hook of the plugin what is done: `deploy-raises`.
FAULTS = """
import json, re, subprocess, threading

def raises(ctx):
    raise ValueError("on purpose")

def exits(ctx):
    sys.exit(0)

def interrupts(ctx):
    raise KeyboardInterrupt

def vanishes(ctx):
    os._exit(3)

def dies(ctx):
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(1000)  # another thread may be the one that dies of it

def loops(ctx):
    while True:
        pass

def floods(ctx):
    for n in range(3000):
        print("out", n, "x" * 500)
        print("err", n, "x" * 500, file=sys.stderr)
    os.write(1, b"\\xff raw bytes\\n")

def garbles(ctx):
    os.write(int(sys.argv[1]), b"this is not the protocol\\n")

def half_speaks(ctx):
    os.write(int(sys.argv[1]), b'{"type":"intent"}\\n')

def nests(ctx):
    os.write(int(sys.argv[1]), b"[" * 100000 + b"\\n")

def tells_too_much(ctx):
    ctx.warn("x" * 20_000_000)

@frozen
class Mine(Event):
    number: int

def tells_its_own(ctx):
    ctx.emit(Mine(1))

def tells_the_wrong_type(ctx):
    ctx.warn(5)

def warns(ctx):
    ctx.warn("caf\\udce9 is not UTF-8")

def spawns(ctx):
    subprocess.Popen(["sleep", "1000"])
    threading.Thread(target=time.sleep, args=(1000,)).start()

def contradicts(ctx):
    return {"cpus": 8}

def sick(ctx):
    return [Health(True, "well"), Health(False, "sick", "engine", "n1"), Health(False, "tired", advisory=True)]

def tired(ctx):
    return Health(False, "tired", advisory=True)

def yields_and_raises(ctx):
    def some():
        yield Health(True)
        raise ValueError("too lazy")
    return some()

def empty(ctx):
    return Measurement({})

def unknown(ctx):
    return Measurement({"fine": Metric(1.0, "1"), "speed": Metric(float("nan"), "1"), "more": Metric(float("inf"), "1")})

def number(ctx):
    return 5

def text(ctx):
    return "text"

def strange(ctx):
    return [Health(True), "text"]

def not_metrics(ctx):
    return Measurement({"speed": 1.5})

def not_json(ctx):
    return Deployment((Instance("engine", "n1", "ready", handle={"id": object()}),))

def object_fact(ctx):
    return {"cpus": object()}

def enormous(ctx):
    return Measurement({"speed": Metric(1.0, "1")}, raw={"all": "x" * 20_000_000})

def leaves(ctx):
    return [Residue("n1", "file", "/x"), Residue("n1", "port", "80", foreign=True)]

def sees(ctx):
    return Residue("n1", "port", "80", foreign=True)

def forgets(ctx):
    ctx.effects.intend("mine", "n1", what="a thing")

def act(ctx, hook):
    where, _, what = ctx.trial.scenario.name.partition("-")
    if where == hook and what in globals() and (not ctx.emergency or what == "leaves"):
        return globals()[what](ctx)

@hookimpl
def playbook_discover(ctx, node, session):
    return act(ctx, "discover")

@hookimpl
def playbook_deploy(ctx, scenario):
    return act(ctx, "deploy")

@hookimpl
def playbook_healthcheck(ctx, deployment):
    return act(ctx, "healthcheck")

@hookimpl
def playbook_benchmark(ctx, deployment, load):
    return act(ctx, "benchmark")

@hookimpl
def playbook_collect(ctx, deployment):
    return act(ctx, "collect")

@hookimpl
def playbook_cleanup(ctx, deployment):
    return act(ctx, "cleanup")

@hookimpl
def playbook_event(ctx, event):
    with (ctx.folder / "events.jsonl").open("a") as file:
        file.write(json.dumps(encode(event)) + "\\n")
"""

pytestmark = pytest.mark.timeout(900)  # one fixture runs some seventy processes
BEFORE = PHASES[:4]
IN_EVERY_HOOK = ("raises", "exits", "interrupts", "vanishes", "dies", "loops")
ONCE = (
    "deploy-floods", "deploy-garbles", "deploy-half_speaks", "deploy-nests", "benchmark-tells_too_much",
    "benchmark-tells_its_own", "benchmark-tells_the_wrong_type", "deploy-warns", "benchmark-spawns",
    "discover-contradicts", "discover-number", "discover-object_fact", "deploy-text", "deploy-not_json", "deploy-nobody",
    "healthcheck-number", "healthcheck-strange", "healthcheck-sick", "healthcheck-tired", "healthcheck-nobody",
    "healthcheck-yields_and_raises", "benchmark-number", "benchmark-not_metrics", "benchmark-empty",
    "benchmark-unknown",
    "benchmark-enormous", "benchmark-nobody", "collect-text", "cleanup-number", "cleanup-leaves", "cleanup-sees",
    "deploy-forgets",
)  # fmt: skip
PLUGIN = "extra0.py"


@frozen
class Ran:
    """One campaign of all the faults, each in a scenario of its own."""

    folder: Path
    outcome: Outcome
    scenarios: Mapping[str, ScenarioResult]

    def trial(self, name: str) -> TrialResult:
        last = self.scenarios[name].last
        assert last is not None
        return last

    def phase(self, name: str, phase: str) -> PhaseOutcome:
        return next(p for p in self.trial(name).phases if p.phase == phase)

    def events(self, name: str, kind: str) -> list[Any]:
        lines = (self.outcome.folder / "events.jsonl").read_text().splitlines()
        return [e for e in map(json.loads, lines) if e["scenario"] == name and e["event"] == kind]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    folder = tmp_path_factory.mktemp("faults")
    names = [f"{hook}-{what}" for hook in PHASES for what in IN_EVERY_HOOK] + [*ONCE, "last"]
    scenarios = []
    for name in names:
        hook, _, what = name.partition("-")
        short = {hook: 1.0} if what == "loops" else {}
        scenarios.append(scenario(name, folder, timeouts=Timeouts(**short)))
    outcome = campaign(folder, scenarios, FAULTS)
    return Ran(folder, outcome, {s.scenario: s for s in outcome.result.scenarios})


def test_the_campaign_goes_on_to_its_last_scenario_and_leaves_nothing(ran: Ran) -> None:
    assert len(ran.scenarios) == len(PHASES) * len(IN_EVERY_HOOK) + len(ONCE) + 1
    assert ran.scenarios["last"].status == "completed"
    assert ran.outcome.exit_code == 1
    assert outside(ran.folder) == []
    groups = {pid for name in ran.scenarios for pid in pids_of(ran.outcome.folder / name)}
    assert len(groups) == len(ran.scenarios), "each scenario had a process of its own"
    assert [g for g in groups if group_alive(g)] == []
    states = trials(read(ran.outcome.folder / "journal.jsonl")).values()
    assert all(s.ended for s in states)
    assert {e.kind for s in states for e in s.open} == {"mine"}, "only what nobody undid is open"


def test_a_good_trial_has_everything_it_was_told(ran: Ran) -> None:
    trial = ran.trial("last")
    assert [(p.phase, p.status) for p in trial.phases] == [(p, "ok") for p in PHASES]
    assert trial.facts == {"n1": {"cpus": 4}}
    assert trial.measurement is not None
    assert trial.measurement.metrics["speed"].value == 1.5
    assert [h.detail for h in trial.health] == ["fine"]
    assert [a.path for a in trial.artifacts] == ["kept.txt"]
    assert (trial.clean, trial.residue, trial.warnings) == (True, (), ())
    assert cleanups_of(ran.outcome.folder / "last") == [(pids_of(ran.outcome.folder / "last")[0], False)]
    written = json.loads((ran.outcome.folder / "last" / "trial.json").read_text())
    assert written["status"] == "completed"


def expect(ran: Ran, name: str, status: str, words: str, error_class: str = "plugin", *, blamed: bool = True) -> None:
    """The phase failed so, by this plugin; later ones did not run, collect and cleanup did; nothing is left."""
    hook = name.partition("-")[0]
    outcome = ran.phase(name, hook)
    assert (outcome.status, outcome.error_class) == (status, error_class)
    assert words in outcome.error
    assert Path(outcome.plugin).name == (PLUGIN if blamed else "")
    trial = ran.trial(name)
    before = PHASES[: PHASES.index(hook) + 1]
    assert [p.phase for p in trial.phases] == [*before, *(p for p in ("collect", "cleanup") if p not in before)]
    assert (trial.status, trial.clean) == ("failed", True)
    assert words in ran.scenarios[name].reason


RAISED = {
    "raises": "ValueError: on purpose",
    "exits": "raised SystemExit in playbook_",
    "interrupts": "raised KeyboardInterrupt in playbook_",
}


@pytest.mark.parametrize("hook", BEFORE)
@pytest.mark.parametrize("what", RAISED)
def test_what_a_hook_raises_fails_its_phase_and_is_signed(ran: Ran, hook: str, what: str) -> None:
    expect(ran, f"{hook}-{what}", "failed", RAISED[what])


@pytest.mark.parametrize("hook", BEFORE)
def test_an_endless_loop_ends_with_its_phase(ran: Ran, hook: str) -> None:
    expect(ran, f"{hook}-loops", "timeout", "did not come back within its deadline", "timeout")


@pytest.mark.parametrize("hook", PHASES)
@pytest.mark.parametrize(
    ("what", "how"), [("vanishes", "ended with status 3 and without a result"), ("dies", "was killed by SIGKILL")]
)
def test_a_process_that_dies_names_phase_and_plugin_and_is_cleaned_up_after(
    ran: Ran, hook: str, what: str, how: str
) -> None:
    name = f"{hook}-{what}"
    trial = ran.trial(name)
    assert trial.clean
    assert any(how in w for w in trial.warnings if "emergency" in w) or how in ran.scenarios[name].reason
    if hook != "cleanup":
        failure = trial.failure
        assert failure is not None
        assert (failure.phase, failure.error_class, Path(failure.plugin).name) == (hook, "plugin", PLUGIN)
        assert trial.status == "failed"
        assert [p.phase for p in trial.phases if p.status == "ok"] == [*PHASES[: PHASES.index(hook)], "cleanup"]
    cleanups = cleanups_of(ran.outcome.folder / name)
    assert [emergency for _, emergency in cleanups] == [True], "by another process, which knows that it is one"
    assert cleanups[0][0] not in pids_of(ran.outcome.folder / name)


@pytest.mark.parametrize(
    ("what", "words"), [*RAISED.items(), ("loops", "did not come back within its deadline"), ("text", "gave str")]
)
def test_what_goes_wrong_in_collect_is_a_warning_and_the_others_still_collect(ran: Ran, what: str, words: str) -> None:
    trial = ran.trial(f"collect-{what}")
    assert trial.status == "completed"
    assert [p.status for p in trial.phases] == ["ok"] * 6
    assert [a.path for a in trial.artifacts] == ["kept.txt"]
    [warning] = trial.warnings
    assert words in warning
    assert PLUGIN in warning


@pytest.mark.parametrize(
    ("what", "words"), [*RAISED.items(), ("loops", "did not come back within its deadline"), ("number", "gave int")]
)
def test_what_goes_wrong_in_cleanup_is_cleaned_up_by_another_process(ran: Ran, what: str, words: str) -> None:
    name = f"cleanup-{what}"
    trial = ran.trial(name)
    assert trial.clean
    assert trial.status == "completed", "what was measured stands, for nothing is left"
    assert any("emergency cleanup" in w and words in w and PLUGIN in w for w in trial.warnings)
    first, second = cleanups_of(ran.outcome.folder / name)
    assert not first[1], "the others cleaned up although one of them failed"
    assert second[1]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("discover-contradicts", "contradict one another: cpus is 4 or 8"),
        ("discover-number", "playbook_discover gave int"),
        ("discover-object_fact", "cannot be kept: object cannot be written as JSON"),
        ("deploy-text", "playbook_deploy gave str, not Deployment"),
        ("deploy-not_json", "cannot be kept: object cannot be written as JSON"),
        ("healthcheck-number", "playbook_healthcheck gave int"),
        ("healthcheck-strange", "playbook_healthcheck gave str, not Health"),
        ("healthcheck-yields_and_raises", "ValueError: too lazy"),
        ("benchmark-number", "playbook_benchmark gave int, not Measurement"),
        ("benchmark-not_metrics", "cannot be kept: Measurement.metrics['speed']: expected a mapping, got 1.5"),
        ("benchmark-enormous", "keep"),
        ("benchmark-tells_too_much", "more than can be told"),
        ("benchmark-tells_its_own", "an event that cannot be told: Event: not an event"),
        ("benchmark-tells_the_wrong_type", "an event that cannot be told: Event.message: expected a text, got 5"),
    ],
)
def test_an_answer_or_an_event_of_the_wrong_kind_is_the_plugins_error(ran: Ran, name: str, words: str) -> None:
    if name == "benchmark-enormous":
        words = "bytes, more than"
    expect(ran, name, "failed", words)


@pytest.mark.parametrize(
    ("name", "words", "error_class"),
    [
        ("deploy-nobody", "no plugin took playbook_deploy on", "phase"),
        ("healthcheck-nobody", "nothing was checked", "phase"),
        ("healthcheck-sick", "unhealthy: engine on n1: sick", "health"),
        ("benchmark-nobody", "no plugin took playbook_benchmark on", "phase"),
        ("benchmark-empty", "nothing was measured", "phase"),
        ("benchmark-unknown", "nothing was measured: speed is nan, more is inf", "phase"),
    ],
)
def test_a_phase_without_a_result_has_failed(ran: Ran, name: str, words: str, error_class: str) -> None:
    expect(ran, name, "failed", words, error_class, blamed=False)


def test_an_advisory_verdict_is_told_and_fails_nothing(ran: Ran) -> None:
    trial = ran.trial("healthcheck-tired")
    assert trial.status == "completed"
    assert [(h.ok, h.detail) for h in trial.health if h.advisory] == [(False, "tired")]
    assert len(ran.events("healthcheck-tired", "HealthChecked")) == 2


@pytest.mark.parametrize("what", ["garbles", "half_speaks", "nests"])
def test_a_child_that_breaks_the_protocol_is_ended_and_cleaned_up_after(ran: Ran, what: str) -> None:
    trial = ran.trial(f"deploy-{what}")
    assert trial.failure is not None
    assert "its process broke the protocol" in trial.failure.error
    assert trial.clean
    assert cleanups_of(ran.outcome.folder / f"deploy-{what}")[-1][1]


def test_printing_more_than_a_pipe_holds_blocks_nobody_and_is_told(ran: Ran) -> None:
    assert ran.trial("deploy-floods").status == "completed"
    lines = [(e["stream"], e["line"]) for e in ran.events("deploy-floods", "Output")]
    assert len([stream for stream, _ in lines if stream == "stdout"]) == 3001
    assert len([stream for stream, _ in lines if stream == "stderr"]) == 3000
    assert ("stdout", "\ufffd raw bytes") in lines
    kinds = {r.data.get("event") for r in read(ran.outcome.folder / "journal.jsonl") if r.type == "event"}
    assert "Output" not in kinds, "lines are told, not journalled"


def test_text_that_is_not_unicode_is_told_and_kept(ran: Ran) -> None:
    assert ran.trial("deploy-warns").status == "completed"
    assert ran.trial("deploy-warns").warnings == ("caf\udce9 is not UTF-8",)
    written = json.loads((ran.outcome.folder / "deploy-warns" / "trial.json").read_text())
    assert written["warnings"] == ["caf\udce9 is not UTF-8"]


def test_processes_and_threads_that_a_plugin_left_end_with_the_trial(ran: Ran) -> None:
    assert ran.trial("benchmark-spawns").status == "completed"
    assert group_alive(pids_of(ran.outcome.folder / "benchmark-spawns")[0]) == []


def test_what_is_left_behind_fails_the_trial_and_what_is_foreign_does_not(ran: Ran) -> None:
    trial = ran.trial("cleanup-leaves")
    assert (trial.status, trial.clean) == ("failed", False)
    assert [(r.kind, r.foreign) for r in trial.residue] == [("file", False), ("port", True)]
    assert ran.phase("cleanup-leaves", "cleanup").error == "left behind: file /x on n1"
    foreign = ran.trial("cleanup-sees")
    assert (foreign.status, foreign.clean) == ("completed", True)
    assert [r.name for r in foreign.residue] == ["80"]


def test_an_effect_that_nobody_undoes_fails_the_trial(ran: Ran) -> None:
    trial = ran.trial("deploy-forgets")
    assert (trial.status, trial.clean) == ("failed", False)
    assert ran.phase("deploy-forgets", "cleanup").error == "nobody says that this was undone: mine on n1"


def test_isolation_warn_keeps_a_result_although_something_is_left(tmp_path: Path) -> None:
    policy = Policy(wait_between=0, retries=0, isolation="warn")
    outcome = campaign(tmp_path, ["cleanup-leaves"], FAULTS, policy=policy)
    [result] = outcome.result.scenarios
    assert (result.status, outcome.exit_code) == ("completed", 0)
    assert result.last is not None
    assert result.last.clean is False


STUCK = """
import re

@hookimpl
def playbook_benchmark(ctx, deployment, load):
    if ctx.trial.scenario.name == "stuck":
        re.match("(a+)+$", "a" * 60 + "b")  # in C, with the lock of the interpreter, for years
"""


def test_a_process_that_cannot_even_say_that_it_lives_is_lost_by_its_silence(tmp_path: Path) -> None:
    outcome = campaign(tmp_path, ["stuck", "last"], STUCK, patience=Patience(grace=0.2, silence=6.0))
    stuck, last = outcome.result.scenarios
    assert last.status == "completed"
    assert stuck.last is not None
    failure = stuck.last.failure
    assert failure is not None
    assert failure.error == "the trial was lost: its process said nothing for 6 s"
    assert (failure.phase, Path(failure.plugin).name) == ("benchmark", PLUGIN)
    assert stuck.last.clean
    assert group_alive(pids_of(outcome.folder / "stuck")[0]) == []
    assert outside(tmp_path) == []


def test_what_a_trial_said_before_it_ended_is_heard_by_a_parent_that_was_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after Ctrl-Z and `fg`, or on a starved machine: the process has ended, and its last words are still in the pipe."""

    def late(descriptor: int) -> Iterator[Mapping[str, Any]]:
        for message in messages(descriptor):
            if message["type"] == "result":
                time.sleep(1.6)
            yield message

    messages = protocol.messages
    monkeypatch.setattr(protocol, "messages", late)
    outcome = campaign(tmp_path, ["a"])
    assert outcome.result.scenarios[0].reason == ""
    assert outcome.exit_code == 0


ONLY_IN_THE_CHILD = """
if sys.argv[0].endswith("worker.py"):
    {}
"""


def test_a_plugin_that_fails_in_the_trials_process_before_any_hook_is_named(tmp_path: Path) -> None:
    outcome = campaign(tmp_path, ["a", "b"], ONLY_IN_THE_CHILD.format("raise ValueError('only here')"))
    for result in outcome.result.scenarios:
        assert result.status == "failed"
        assert result.last is not None
        assert [p.phase for p in result.last.phases] == ["discover", "cleanup"]
        assert f"{PLUGIN} cannot be loaded: ValueError: only here" in result.reason
        assert result.last.clean is None
    assert outcome.exit_code == 1


def test_a_process_that_lives_but_comes_to_no_end_is_ended_with_its_deadlines(tmp_path: Path) -> None:
    short = Timeouts(discover=0.1, deploy=0.1, healthcheck=0.1, benchmark=0.1, collect=0.1, cleanup=0.1)
    never = ONLY_IN_THE_CHILD.format("time.sleep(1000)")
    patience = Patience(grace=0.0, silence=5.0)
    outcome = campaign(tmp_path, [scenario("a", tmp_path, timeouts=short)], never, patience=patience)
    [result] = outcome.result.scenarios
    assert (
        result.reason == "discover: the trial was lost: its process did not end within the deadlines of all its phases"
    )


FLAKY = """
@hookimpl
def playbook_deploy(ctx, scenario):
    if ctx.trial.attempt < 3 and scenario.name == "flaky":
        raise PhaseFailed("not yet")
    if scenario.name == "wrong":
        raise PluginError("never")
"""


def test_a_failed_scenario_is_tried_again_unless_trying_cannot_help(tmp_path: Path) -> None:
    policy = Policy(wait_between=0, continue_on_failure=True, retries=2, retry_interval=0.0)
    outcome = campaign(tmp_path, ["flaky", "wrong"], FLAKY, policy=policy)
    flaky, wrong = outcome.result.scenarios
    assert flaky.reason == ""
    assert (flaky.status, [t.status for t in flaky.trials]) == ("completed", ["failed", "failed", "completed"])
    assert [t.attempt for t in flaky.trials] == [1, 2, 3]
    third = outcome.folder / "flaky" / "trials" / flaky.trials[2].trial
    assert json.loads((third / "trial.json").read_text())["attempt"] == 3
    assert (wrong.status, len(wrong.trials)) == ("failed", 1)


def test_after_a_failure_the_rest_is_skipped_unless_the_policy_says_otherwise(tmp_path: Path) -> None:
    policy = Policy(wait_between=0, continue_on_failure=False, retries=0)
    outcome = campaign(tmp_path, ["first", "wrong", "third"], FLAKY, policy=policy)
    assert [s.status for s in outcome.result.scenarios] == ["completed", "failed", "skipped"]
    assert outcome.result.scenarios[2].reason == "Previous scenario failed: wrong"
    assert outcome.result.status == "failed"


WATCHERS = """
@hookimpl
def playbook_event(ctx, event):
    raise SystemExit("not my day")

@hookimpl
def playbook_report(ctx, result):
    return [5]
"""
REPORTER = """
@hookimpl
def playbook_report(ctx, result):
    path = ctx.folder / "good.md"
    path.write_text(result.status)
    yield path
"""


def test_a_watcher_or_reporter_that_fails_harms_nobody_and_is_told_once(tmp_path: Path) -> None:
    outcome = campaign(tmp_path, ["a", "b"], REPORTER, WATCHERS)
    assert [s.status for s in outcome.result.scenarios] == ["completed", "completed"]
    assert outcome.exit_code == 0
    assert [p.name for p in outcome.reports] == ["good.md"]
    [warning] = [w for w in outcome.result.warnings if "failed in playbook_event" in w]
    assert "extra1.py" in warning
    log = [json.loads(line) for line in (outcome.folder / "log.jsonl").read_text().splitlines()]
    assert [Path(e["plugin"]).name for e in log if e.get("hook") == "playbook_report"] == ["extra1.py"]


def test_in_process_gives_the_same_result(tmp_path: Path) -> None:
    apart = campaign(tmp_path, ["deploy-raises", "good"], FAULTS)
    here = campaign(tmp_path, ["deploy-raises", "good"], FAULTS, in_process=True)

    def essence(outcome: Outcome) -> list[Any]:
        return [
            (s.status, s.reason, [(p.phase, p.status, p.plugin) for t in s.trials for p in t.phases])
            for s in outcome.result.scenarios
        ]

    assert essence(apart) == essence(here)
    assert outside(tmp_path) == []
