"""`results prune`, and `--cleanup` of old: what is old and surely a run goes, and nothing else."""

from __future__ import annotations

import fcntl
import json
import os
import time

import pytest
from playbook_kernel.engine.journal import Journal

from .calls import call, workspace, write


@pytest.fixture
def root(tmp_path):
    made = workspace(tmp_path, "001_a")
    for name, days, ended in (("a", 90, True), ("b", 60, True), ("died", 60, False), ("c", 5, True), ("d", 3, True)):
        folder = made / f"results/20240101_00000{days % 10}_{name}"
        folder.mkdir(parents=True)
        journal = Journal(folder / "journal.jsonl")
        journal.append([("trial", "pk-1", {"scenario": "001_a", "attempt": 1, "folder": "001_a", "nodes": ["local"]})])
        if ended:
            journal.append([("trial_ended", "pk-1", {"status": "completed", "clean": True})])
        journal.close()
        (folder / "campaign.json").write_text(json.dumps({"status": "completed", "scenarios": []}))
    write(made, {
        "results/20230101_000000_old/old/summary/result_summary.json": "{}",
        "results/20230101_000000_mine/notes.txt": "of the user",
        "results/keep/journal.txt": "of the user",
    })  # fmt: skip
    for folder in (made / "results").iterdir():
        days = {"d": 3, "c": 5, "b": 60, "a": 90}.get(folder.name.rpartition("_")[2], 60)
        aged(folder, time.time() - days * 86400)
    (made / "results/link").symlink_to(made / "results/20240101_000000_a")
    return made


def aged(run, when):
    for path in (run / "campaign.json", run):
        if path.exists():
            os.utime(path, (when, when))


def names(root):
    return {p.name.rpartition("_")[2] for p in (root / "results").iterdir()}


EVERYTHING = {"a", "b", "died", "c", "d", "old", "mine", "keep", "link"}


def test_a_dry_run_lists_and_removes_nothing(root):
    done = call("results", "--cleanup", "--days", "30", "--dry-run", cwd=root)
    assert done.code == 0
    assert done.out.splitlines()[-1] == "3 runs older than 30 days: nothing was removed"
    assert {line.split()[0].rpartition("_")[2] for line in done.out.splitlines()[1:-1]} == {"a", "b", "old"}
    assert names(root) == EVERYTHING


def test_a_report_that_is_written_again_makes_no_old_run_a_new_one(root):
    (root / "results/20240101_000000_a/report.html").write_text("again")
    listed = [row["name"].rpartition("_")[2] for row in call("results", "--json", cwd=root).json]
    assert listed.index("a") > listed.index("b") > listed.index("d")
    assert "20240101_000000_a " in call("results", "prune", "--older-than", "80d", "--dry-run", cwd=root).out


def test_only_old_runs_with_nothing_left_to_do_go(root):
    done = call("results", "--cleanup", "--days", "30", "--yes", cwd=root)
    assert (done.code, done.out.splitlines()[-1]) == (0, "3 runs removed")
    assert names(root) == EVERYTHING - {"a", "b", "old"}
    assert "died stays: `playbook-kernel cleanup 20240101_000000_died` has something to do" in done.err
    assert "mine stays: it is not a run" in done.err
    assert "keep stays: it is not a run" in done.err


def test_the_newest_stays_unless_it_is_asked_for(root):
    assert call("results", "--cleanup", "--days", "0", "--yes", "--json", cwd=root).json["removed"][0].endswith("_c")
    assert "d" in names(root)
    assert call("results", "--cleanup", "--days", "0", "--yes", "--newest", cwd=root).code == 0
    assert "d" not in names(root)


def test_a_run_that_is_under_way_stays(root):
    with (root / "results/20240101_000000_a/lock").open("wb") as lock:
        aged(root / "results/20240101_000000_a", 0)
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = call("results", "--cleanup", "--days", "30", "--yes", cwd=root)
    assert "a stays:" in done.err
    assert "still at work" in done.err
    assert "a" in names(root)


@pytest.mark.parametrize("words", [["--cleanup"], ["--days", "3"], ["--yes"], ["--cleanup", "--days", "-1"]])
def test_half_of_an_order_is_a_usage_error(root, words):
    assert call("results", *words, cwd=root).code == 2


def test_with_nobody_to_ask_nothing_goes(root):
    done = call("results", "--cleanup", "--days", "30", cwd=root)
    assert done.code == 2
    assert "--yes" in done.err
    assert names(root) == EVERYTHING


def test_so_many_stay_and_of_the_others_those_that_are_old_enough(root):
    shown = call("results", "prune", "--keep", "3", "--dry-run", "--json", cwd=root).json
    assert {n.rpartition("_")[2] for n in shown["old"]} == {"a", "b", "old"}
    assert shown["removed"] == []
    done = call("results", "prune", "--keep", "1", "--older-than", "80d", "--yes", cwd=root)
    assert done.out.splitlines()[-1] == "1 run removed"
    assert names(root) == EVERYTHING - {"a"}
    again = call("results", "prune", "--keep", "1", "--older-than", "6w", "--yes", cwd=root)
    assert names(root) == EVERYTHING - {"a", "b", "old"}, again.err


def test_an_interrupted_run_stays_unless_it_is_asked_for(root):
    (root / "results/20240101_000000_b/campaign.json").write_text('{"status": "running", "scenarios": []}')
    aged(root / "results/20240101_000000_b", 1)
    done = call("results", "prune", "--older-than", "30d", "--yes", cwd=root)
    assert "20240101_000000_b stays: it was interrupted: `playbook-kernel run --resume" in done.err
    assert "b" in names(root)
    call("results", "prune", "--older-than", "30d", "--yes", "--interrupted", cwd=root)
    assert "b" not in names(root)


def test_a_removal_that_was_cut_short_is_finished_by_the_next(root, monkeypatch):
    import shutil

    def dies(folder):
        (folder / "campaign.json").unlink()
        raise OSError("no more")

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", dies)
        done = call("results", "prune", "--older-than", "80d", "--yes", cwd=root)
    assert "could not be removed wholly" in done.err
    assert [p.name for p in (root / "results").glob(".removing-*")] == [".removing-20240101_000000_a"]
    assert "20240101_000000_a" not in call("results", cwd=root).out
    done = call("results", "prune", "--older-than", "80d", "--yes", cwd=root)
    assert "20240101_000000_a: the rest of a run whose removal was cut short" in done.out
    assert not list((root / "results").glob(".removing-*"))


def test_what_an_import_left_that_died_goes_and_one_at_work_stays(root):
    for name, age in (("old", 90000), ("new", 60)):
        (root / f"results/.importing-{name}/x").mkdir(parents=True)
        os.utime(root / f"results/.importing-{name}", (time.time() - age,) * 2)
    done = call("results", "prune", "--keep", "100", "--yes", cwd=root)
    assert ".importing-old: the rest of a run whose import was cut short" in done.out
    assert [p.name for p in (root / "results").glob(".importing-*")] == [".importing-new"]
    assert names(root) >= EVERYTHING


@pytest.mark.parametrize("words", [[], ["--keep", "-1"], ["--older-than", "soon"], ["--older-than", "-3d"]])
def test_prune_wants_to_know_what_may_go(root, words):
    assert call("results", "prune", *words, cwd=root).code == 2
    assert names(root) == EVERYTHING
