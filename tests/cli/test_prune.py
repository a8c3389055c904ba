"""`results --cleanup`: what is old and surely a run goes, and nothing else."""

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
        os.utime(folder, (time.time() - days * 86400,) * 2)
    (made / "results/link").symlink_to(made / "results/20240101_000000_a")
    return made


def names(root):
    return {p.name.rpartition("_")[2] for p in (root / "results").iterdir()}


EVERYTHING = {"a", "b", "died", "c", "d", "old", "mine", "keep", "link"}


def test_a_dry_run_lists_and_removes_nothing(root):
    done = call("results", "--cleanup", "--days", "30", "--dry-run", cwd=root)
    assert done.code == 0
    assert done.out.splitlines()[-1] == "3 runs older than 30 days: nothing was removed"
    assert {line.split()[0].rpartition("_")[2] for line in done.out.splitlines()[1:-1]} == {"a", "b", "old"}
    assert names(root) == EVERYTHING


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
        os.utime(root / "results/20240101_000000_a", (0, 0))
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
