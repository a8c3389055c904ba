"""Kill anything at any record: what was really made is undone by a later process, and what was not allowed is not made."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
from pathlib import Path

import pytest
from playbook_kernel.engine import store as engine
from playbook_kernel.engine.journal import read, trials
from playbook_kernel.engine.recover import Recovered, cleanup_run, open_trials
from playbook_kernel.errors import ConfigError, PlaybookError
from playbook_kernel.model.record import JournalDamaged, Record

from .campaigns import campaign, cleanups_of, finished, nodes, outside, run_of, settings, start


def wait_until_nobody_works(run: Path) -> None:
    """Every process of a run holds its lock."""
    with (run / "lock").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)


def records(run: Path) -> list[Record]:
    with contextlib.suppress(FileNotFoundError):
        return read(run / "journal.jsonl")
    return []


def recover(folder: Path, *sources: str) -> list[Recovered]:
    return cleanup_run(run_of(folder), nodes(2), settings(folder, *sources), lambda _event: None)


def expect_recovery(folder: Path, *sources: str) -> None:
    """Everything is undone by the first recovery, and the second finds nothing to do."""
    run = run_of(folder)
    left = open_trials(run)
    for one in recover(folder, *sources):
        assert one.result.clean
        assert cleanups_of(run / one.scenario)[-1][1], "by a process that knows that it is an emergency"
    assert outside(folder) == []
    assert open_trials(run) == []
    before = records(run)
    assert [r.trial for r in before if r.type == "recovered"] == [t.trial for t in left]
    assert recover(folder, *sources) == []
    assert records(run) == before


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    """The records of an undisturbed campaign."""
    folder = tmp_path_factory.mktemp("whole")
    assert finished(start(folder, ["s"], node_count=2)) == (0, "")
    return records(run_of(folder))


def test_the_parent_killed_after_any_record_leaves_nothing_that_is_not_undone(
    whole: list[Record], tmp_path: Path
) -> None:
    types = [r.type for r in whole]
    assert {"campaign", "trial", "intent", "done", "undone", "event", "trial_ended", "campaign_ended"} == set(types)
    made = 0
    for count in range(1, len(whole) + 1):
        folder = tmp_path / str(count)
        folder.mkdir()
        assert finished(start(folder, ["s"], node_count=2, kill_after=count))[0] == -signal.SIGKILL
        run = run_of(folder)
        wait_until_nobody_works(run)
        found = records(run)
        assert [r.type for r in found] == types[:count]
        allowed = {Path(r.data["data"]["path"]).name for r in found if r.type == "intent"}
        if types[count - 1] == "intent":  # on disk, and never acknowledged
            allowed.remove(Path(found[-1].data["data"]["path"]).name)
        assert set(outside(folder)) <= allowed, f"after record {count}, {types[count - 1]}"
        made += len(outside(folder))
        expect_recovery(folder)
        shutil.rmtree(folder)
    assert made, "some were killed while something was there"


STRIKE = """
POINT, WHO = {point!r}, {who!r}

def strike(point):
    if point == POINT:
        parent = os.getppid()
        if "parent" in WHO:
            os.kill(parent, signal.SIGKILL)
        if "child" in WHO:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(1000)

def make(ctx, name):
    path = next(p / "outside" for p in ctx.directory.parents if (p / "outside").is_dir()) / name
    strike("before")
    effect = ctx.effects.intend("base", "n1", path=str(path))
    strike("acknowledged")
    path.write_text("made")
    strike("made")
    ctx.effects.done(effect)
    strike("done")

@hookimpl
def playbook_deploy(ctx, scenario):
    if scenario.name == "bad":
        make(ctx, "extra")

@hookimpl(tryfirst=True)
def playbook_cleanup(ctx, deployment):
    if not ctx.emergency and scenario_of(ctx) == "bad":
        strike("cleanup")

def scenario_of(ctx):
    return ctx.trial.scenario.name
"""


@pytest.mark.parametrize("point", ["before", "acknowledged", "made", "done", "cleanup"])
@pytest.mark.parametrize("who", ["child", "parent", "parent and child"])
def test_whoever_dies_at_whatever_point_the_effect_is_undone(tmp_path: Path, who: str, point: str) -> None:
    source = STRIKE.format(point=point, who=who)
    code, errors = finished(start(tmp_path, ["bad", "good"], source))
    run = run_of(tmp_path)
    if who == "child":
        assert code == 1, errors
        assert outside(tmp_path) == []
        assert open_trials(run) == []
        bad, good = json.loads((run / "campaign.json").read_text())["scenarios"]
        assert (bad["status"], good["status"]) == ("failed", "completed")
        assert bad["trials"][0]["clean"]
        return
    assert code == -signal.SIGKILL
    wait_until_nobody_works(run)
    assert ("extra" in outside(tmp_path)) == (point in ("made", "done", "cleanup"))
    [state] = open_trials(run)
    assert state.scenario == "bad"
    assert ("extra" in {Path(e.data["path"]).name for e in state.open}) == (point != "before")
    expect_recovery(tmp_path, source)


def test_a_torn_journal_is_recovered_from_and_a_damaged_one_is_refused(tmp_path: Path) -> None:
    campaign(tmp_path, ["s"])
    run = run_of(tmp_path)
    raw = (run / "journal.jsonl").read_bytes()
    at = raw.index(b'"type":"undone"')
    [effect] = [r for r in records(run) if r.type == "intent"]
    Path(effect.data["data"]["path"]).write_text("it was not undone yet")
    (run / "journal.jsonl").write_bytes(raw[:at])
    expect_recovery(tmp_path)
    (run / "journal.jsonl").write_bytes(raw[: at // 2] + b"?" + raw[at // 2 + 1 :])
    with pytest.raises(JournalDamaged):
        recover(tmp_path)


def test_recovery_refuses_what_it_cannot_do(tmp_path: Path) -> None:
    campaign(tmp_path, ["s"])
    run = run_of(tmp_path)
    lines = (run / "journal.jsonl").read_bytes().splitlines(keepends=True)
    (run / "journal.jsonl").write_bytes(
        b"".join(line for line in lines[: [b'"intent"' in x for x in lines].index(True) + 1])
    )
    with engine.run_lock(run), pytest.raises(PlaybookError, match="still at work"):
        recover(tmp_path)
    with pytest.raises(ConfigError, match="node 'n1', which is not configured"):
        cleanup_run(run, {}, settings(tmp_path), lambda _event: None)
    with pytest.raises(ConfigError, match="not a run's folder"):
        open_trials(tmp_path)
    expect_recovery(tmp_path)


def test_recovery_that_fails_says_so_and_can_be_repeated(tmp_path: Path) -> None:
    source = STRIKE.format(point="made", who="parent and child")
    assert finished(start(tmp_path, ["bad"], source))[0] == -signal.SIGKILL
    run = run_of(tmp_path)
    wait_until_nobody_works(run)
    shutil.move(tmp_path / "outside" / "extra", tmp_path / "kept")
    (tmp_path / "outside" / "extra").mkdir()  # which cannot be unlinked
    [failed] = recover(tmp_path, source)
    assert not failed.result.clean
    assert [t.scenario for t in open_trials(run)] == ["bad"]
    (tmp_path / "outside" / "extra").rmdir()
    shutil.move(tmp_path / "kept", tmp_path / "outside" / "extra")
    [mended] = recover(tmp_path, source)
    assert mended.result.clean
    assert outside(tmp_path) == []
    assert open_trials(run) == []


SLOW = """
@hookimpl
def playbook_benchmark(ctx, deployment, load):
    if ctx.trial.scenario.name != "slow":
        return None
    with open({fifo!r}, "w") as fifo:
        fifo.write("ready")
    {wait}

@hookimpl
def playbook_report(ctx, result):
    path = ctx.folder / "report.txt"
    path.write_text(result.status)
    return [path]
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_one_signal_stops_the_measurement_keeps_what_there_is_and_cleans_up(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    process = start(tmp_path, ["first", "slow", "never"], SLOW.format(fifo=str(fifo), wait="current().sleep(1000)"))
    assert fifo.read_text() == "ready"
    process.send_signal(number)
    _, errors = process.communicate()
    assert process.returncode == code
    assert number.name in errors
    run = run_of(tmp_path)
    result = json.loads((run / "campaign.json").read_text())
    assert result["status"] == "cancelled"
    assert [s["status"] for s in result["scenarios"]] == ["completed", "cancelled", "cancelled"]
    slow = result["scenarios"][1]["trials"][0]
    assert [(p["phase"], p["status"]) for p in slow["phases"]][3:] == [
        ("benchmark", "cancelled"), ("collect", "ok"), ("cleanup", "ok"),
    ]  # fmt: skip
    assert slow["clean"]
    assert (run / "slow" / "kept.txt").exists()
    assert (run / "report.txt").read_text() == "cancelled"
    assert outside(tmp_path) == []
    assert not (run / "never").exists()
    assert open_trials(run) == []


INTERRUPTS = """
@hookimpl
def playbook_event(ctx, event):
    told = encode(event)
    if {moment!r} in (told["event"], told["event"] + " " + told.get("phase", told.get("outcome", {{}}).get("phase", ""))):
        os.kill(os.getpid(), signal.SIGINT)
"""


@pytest.mark.parametrize(
    "moment",
    ["CampaignStarted", "TrialStarted", "PhaseStarted discover", "PhaseEnded deploy", "PhaseStarted cleanup", "TrialEnded",
     "Waiting"],
)  # fmt: skip
def test_a_signal_at_any_moment_ends_in_a_cancelled_campaign_and_nothing_left(tmp_path: Path, moment: str) -> None:
    process = start(tmp_path, ["a", "b"], INTERRUPTS.format(moment=moment), wait_between=1000.0)
    code, errors = finished(process)
    assert errors.count("SIGINT") == 1, errors
    assert code == 130
    run = run_of(tmp_path)
    result = json.loads((run / "campaign.json").read_text())
    assert result["status"] == "cancelled"
    first, second = (s["status"] for s in result["scenarios"])
    assert first in ("completed", "cancelled")
    assert second == "cancelled"
    assert outside(tmp_path) == []
    assert open_trials(run) == []


def test_the_second_signal_leaves_at_once_and_says_what_cleans_up(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    source = SLOW.format(fifo=str(fifo), wait="time.sleep(1000)")
    process = start(tmp_path, ["slow"], source, grace=1000.0)
    assert fifo.read_text() == "ready"
    assert process.stderr is not None
    process.send_signal(signal.SIGINT)
    while "again to leave at once" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    run = run_of(tmp_path)
    assert process.returncode == 130
    assert f"playbook-kernel cleanup {run}" in errors
    wait_until_nobody_works(run)
    assert outside(tmp_path) != []
    expect_recovery(tmp_path, source)


FULL = """
@hookimpl
def playbook_deploy(ctx, scenario):
    while scenario.name == "fills":
        ctx.effects.intend("base", "n1", path="/nonexistent/" + "x" * 100)
"""


def test_a_full_disk_makes_no_effect_and_keeps_what_was_measured(tmp_path: Path) -> None:
    late = "late-" + "x" * 150  # its first record is larger than any that the disk refused before
    code, errors = finished(start(tmp_path, ["good", "fills", late], FULL, largest_file=60_000))
    assert code == 1, errors
    run = run_of(tmp_path)
    first, second, third = json.loads((run / "campaign.json").read_text())["scenarios"]
    assert first["status"] == "completed"
    assert "the journal could not be written" in second["reason"]
    assert "File too large" in second["reason"]
    assert "nothing was begun" in third["reason"]
    assert not list(run.glob("late*"))
    assert outside(tmp_path) == []
    assert [s.scenario for s in trials(read(run / "journal.jsonl")).values()] == ["good", "fills"]
    expect_recovery(tmp_path, FULL)
