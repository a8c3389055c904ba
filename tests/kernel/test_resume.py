"""A run that ended too early, gone on with: the same results as if nothing had happened."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from playbook_kernel.engine.campaign import Outcome
from playbook_kernel.engine.digest import differences, digest
from playbook_kernel.engine.journal import read
from playbook_kernel.engine.recover import ORPHAN_SECONDS, open_trials
from playbook_kernel.engine.resume import asked_for
from playbook_kernel.engine.store import run_lock
from playbook_kernel.errors import ConfigError
from playbook_kernel.model import Configuration, DriverRef, Policy, Scenario
from playbook_kernel.redaction import Secret

from .campaigns import campaign, finished, nodes, outside, run_of, scenario, start

FAILING = """
@hookimpl
def playbook_benchmark(ctx, deployment, load):
    if ctx.trial.scenario.name == "bad" and not (outside(ctx).parent / "mended").exists():
        raise PhaseFailed("it is broken")

def outside(ctx):
    return next(p / "outside" for p in ctx.directory.parents if (p / "outside").is_dir())
"""
POLICY = Policy(wait_between=0.0, continue_on_failure=True, retries=0)


def go_on(
    folder: Path, scenarios: Sequence[str | Scenario], *sources: str, policy: Policy = POLICY, **how: Any
) -> Outcome:
    """Go on with the only run of a folder; ``how``: the words of ``Resume``."""
    return campaign(folder, scenarios, *sources, policy=policy, node_count=2, resume=how)


def timeless(run_folder: Path) -> Any:
    """The result of a run without what differs from run to run: instants, durations, paths, and that it was interrupted."""
    data = json.loads((run_folder / "campaign.json").read_text())

    def strip(value: Any) -> Any:
        if isinstance(value, dict):
            left = ("started", "ended", "seconds", "id", "directory", "command", "interruptions")
            return {k: strip(v) for k, v in value.items() if k not in left}
        return [strip(v) for v in value] if isinstance(value, list) else value

    mark = json.loads((run_folder / "journal.jsonl").read_text().splitlines()[0])["data"]["mark"]
    return json.loads(json.dumps(strip(data)).replace(mark, "MARK").replace(str(run_folder.parents[1]), "HERE"))


def killed(folder: Path, after: int, names: list[str], *sources: str) -> None:
    """A campaign whose parent is killed after so many records."""
    folder.mkdir(exist_ok=True)
    assert finished(start(folder, names, *sources, node_count=2, kill_after=after))[0] == -signal.SIGKILL


def test_resumed_after_a_kill_at_any_stage_the_results_are_those_of_an_undisturbed_run(tmp_path: Path) -> None:
    names = ["good", "bad", "last"]
    whole = tmp_path / "whole"
    whole.mkdir()
    finished(start(whole, names, FAILING, node_count=2))
    expected = timeless(run_of(whole))
    assert [s["status"] for s in expected["scenarios"]] == ["completed", "failed", "completed"]
    types = [(r.type, r.data.get("event")) for r in read(run_of(whole) / "journal.jsonl")]
    ends = [n for n, (kind, _) in enumerate(types, 1) if kind == "trial_ended"]
    stages = {
        "before the first trial": 1,
        "in the first deploy": types.index(("intent", None)) + 1,
        "as the first one ended": ends[0],
        "in the second cleanup": ends[1] - 3,
        "in the last discover": ends[1] + 3,
        "at the very end": len(types),
    }
    for stage, after in stages.items():
        folder = tmp_path / stage
        killed(folder, after, names, FAILING)
        before = [r.trial for r in read(run_of(folder) / "journal.jsonl") if r.type == "trial_ended"]
        outcome = go_on(folder, names, FAILING)
        assert timeless(outcome.folder) == expected, stage
        assert outcome.exit_code == 1
        assert outside(folder) == []
        assert open_trials(outcome.folder) == []
        began = [r.trial for r in read(outcome.folder / "journal.jsonl") if r.type == "trial"]
        assert all(began.count(trial) == 1 for trial in before), f"{stage}: what had ended was not repeated"
        assert len(outcome.result.interruptions) == 1
        shutil.rmtree(folder)


def test_a_run_can_be_interrupted_again_and_again(tmp_path: Path) -> None:
    killed(tmp_path, 20, ["a", "b"])
    again = start(tmp_path, ["a", "b"], node_count=2, resume={}, kill_after=30)
    assert finished(again)[0] == -signal.SIGKILL
    outcome = go_on(tmp_path, ["a", "b"])
    assert [s.status for s in outcome.result.scenarios] == ["completed", "completed"]
    assert outside(tmp_path) == []
    kinds = [r.type for r in read(outcome.folder / "journal.jsonl")]
    assert (kinds.count("campaign"), kinds.count("resumed"), kinds.count("campaign_ended")) == (1, 2, 1)
    assert len(list((outcome.folder / "interrupted").iterdir())) >= 1, "what the interrupted trials had kept is kept"


def test_a_cancelled_trial_is_repeated_and_a_resumed_run_that_has_ended_changes_nothing(tmp_path: Path) -> None:
    source = """
@hookimpl
def playbook_event(ctx, event):
    if type(event).__name__ == "PhaseStarted" and event.scenario == "b" and event.phase == "benchmark":
        if not (ctx.folder / "once").exists():
            (ctx.folder / "once").touch()
            os.kill(os.getpid(), signal.SIGINT)
"""
    assert finished(start(tmp_path, ["a", "b"], source, node_count=2))[0] == 130
    first = go_on(tmp_path, ["a", "b"], source)
    assert [(s.status, len(s.trials)) for s in first.result.scenarios] == [("completed", 1), ("completed", 1)]
    stands = timeless(first.folder)
    began = [r.trial for r in read(first.folder / "journal.jsonl") if r.type == "trial"]
    second = go_on(tmp_path, ["a", "b"], source)
    assert second.exit_code == 0
    assert timeless(first.folder) == stands
    assert [r.trial for r in read(first.folder / "journal.jsonl") if r.type == "trial"] == began


def test_only_what_failed_is_run_again_and_every_attempt_is_kept(tmp_path: Path) -> None:
    names = ["good", "bad"]
    finished(start(tmp_path, names, FAILING, node_count=2))
    (tmp_path / "mended").touch()
    policy = Policy(wait_between=0.0, continue_on_failure=True, retries=0)
    unchanged = go_on(tmp_path, names, FAILING, policy=policy)
    assert unchanged.exit_code == 1, "a plain resume lets a verdict stand"
    outcome = go_on(tmp_path, names, FAILING, policy=policy, again=True)
    good, bad = outcome.result.scenarios
    assert outcome.exit_code == 0
    assert [(t.attempt, t.status) for t in bad.trials] == [(1, "failed"), (2, "completed")]
    assert len(good.trials) == 1
    assert (outcome.folder / "bad/trials" / bad.trials[1].trial / "trial.json").exists()
    assert json.loads((outcome.folder / "bad/trial.json").read_text())["status"] == "failed"


def test_a_retry_that_was_due_is_still_made(tmp_path: Path) -> None:
    policy = Policy(wait_between=0.0, continue_on_failure=True, retries=1, retry_interval=0.0)
    killed(tmp_path, 1, ["bad"], FAILING)
    first = go_on(tmp_path, ["bad"], FAILING, policy=policy, accept=True)
    assert [t.attempt for t in first.result.scenarios[0].trials] == [1, 2]
    raw = (first.folder / "journal.jsonl").read_bytes().splitlines(keepends=True)
    ended = [n for n, line in enumerate(raw) if b'"trial_ended"' in line]
    (first.folder / "journal.jsonl").write_bytes(b"".join(raw[: ended[0] + 1]))
    shutil.rmtree(first.folder / "bad/trials")
    second = go_on(tmp_path, ["bad"], FAILING, policy=policy, accept=True)
    assert [t.attempt for t in second.result.scenarios[0].trials] == [1, 2]
    assert [t.trial for t in second.result.scenarios[0].trials] == [t.trial for t in first.result.scenarios[0].trials]


def test_a_changed_configuration_is_refused_by_name_before_anything_is_touched(tmp_path: Path) -> None:
    (tmp_path / "compose.yml").write_text("services: {}")
    (tmp_path / "test_config.json").write_text("{}")
    killed(tmp_path, 20, ["a", "b"])
    before = (run_of(tmp_path) / "journal.jsonl").read_bytes()
    with run_lock(run_of(tmp_path), patience=ORPHAN_SECONDS):  # the orphan has left
        there = outside(tmp_path)
    (tmp_path / "test_config.json").write_text('{"rate": 5}')
    known = tuple(nodes(2))
    changed = (
        evolve(scenario("a", tmp_path, on=known), tags=("new",)),
        scenario("c", tmp_path, on=known),
    )
    with pytest.raises(ConfigError) as refused:
        go_on(tmp_path, changed, policy=Policy(wait_between=1.0, continue_on_failure=True, retries=0))
    said = [p.partition(": ")[2] for p in refused.value.problems]
    assert said == [
        "policy has changed: wait_between",
        "scenario a has changed: file test_config.json, tags",
        "scenario b is gone",
        "scenario c is new",
    ]
    assert "--accept-changes" in str(refused.value.hint)
    assert (run_of(tmp_path) / "journal.jsonl").read_bytes() == before
    assert outside(tmp_path) == there
    outcome = go_on(tmp_path, changed, accept=True)
    assert [s.scenario for s in outcome.result.scenarios] == ["a", "c"]
    [note] = outcome.result.interruptions
    assert "scenario c is new" in note
    assert go_on(tmp_path, changed).exit_code == 0, "what was accepted is the configuration from then on"


def test_the_digest_sees_every_change_and_tells_no_secret(tmp_path: Path) -> None:
    (tmp_path / "run_test.sh").write_text("echo")
    known = nodes(1)

    def of(
        secret: str = "hunter2", host: str = "h", at: str = "/a/n.yaml:2", **change: Any
    ) -> dict[str, dict[str, str]]:
        ref = DriverRef("nowhere", {"password": Secret(secret)}, at)
        node = evolve(known["n1"], transport=ref, host=host)
        one = evolve(scenario("s", tmp_path), **change)
        return digest(Configuration({"n1": node}, (one,)), [one], "salt")

    same = of()
    assert of() == same
    assert differences(same, of(secret="other-password")) == [], "a new password is no other experiment"
    assert differences(same, of(at='/moved "x\\/n.yaml:12: n1')) == [], (
        "nor is another line of the file, or another folder"
    )
    assert differences(same, of(host="elsewhere")) == ["node n1 has changed: host"]
    assert differences(same, of(description="x")) == ["scenario s has changed: description"]
    (tmp_path / "result.json").write_text("made by the run")
    assert differences(same, of()) == []
    (tmp_path / "run_test.sh").write_text("echo 2")
    assert differences(same, of()) == ["scenario s has changed: file run_test.sh"]
    (tmp_path / "run_test.sh").unlink()
    assert differences(same, of()) == ["scenario s has changed: file run_test.sh"]
    one = scenario("s", tmp_path)
    other = digest(Configuration(known, (one,)), [one], "other salt")
    assert not set(other["scenario s"].values()) & set(same["scenario s"].values()), "salted"
    assert "hunter2" not in json.dumps(same)


def test_a_run_that_is_moved_goes_on_where_it_is(tmp_path: Path) -> None:
    killed(tmp_path, 20, ["a", "b"])
    home = run_of(tmp_path)
    home.rename(tmp_path / "results" / "elsewhere")
    outcome = go_on(tmp_path, ["a", "b"])
    assert {t.trial.split("-")[1] for s in outcome.result.scenarios for t in s.trials} == {
        read(outcome.folder / "journal.jsonl")[0].data["mark"]
    }
    assert outside(tmp_path) == []
    assert asked_for(outcome.folder) is None


def test_what_cannot_be_resumed_is_said(tmp_path: Path) -> None:
    (tmp_path / "results" / "empty").mkdir(parents=True)
    with pytest.raises(ConfigError, match="not a run's folder"):
        go_on(tmp_path, ["a"])
    (run_of(tmp_path) / "journal.jsonl").touch()
    with pytest.raises(ConfigError, match="ended before it began"):
        go_on(tmp_path, ["a"])
