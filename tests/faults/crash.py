"""Kill at every record of a campaign's journal: ``python -m tests.faults.crash RESULTS.jsonl`` goes on where it was stopped.

A campaign of two scenarios over two nodes is run whole first, for its records. Then, for each of them, before and after it is
written, the parent, the trial's process, or both are killed (-9). What is left must be gone from the nodes after `cleanup`,
seen by looking at them, with a foreign container and file beside ours still there; and `run --resume` (after the death of the
trial's process alone: `run --rerun-failed`) must give the same results as the whole run. Each kind of record comes first, once;
then the rest.
"""

from __future__ import annotations

import argparse
import fcntl
import itertools
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.lab.core import Lab
from tests.lab.fixtures import enter_network

from .nodes import listing, sh
from .runs import NODES, Campaign

WHO = ("parent", "child", "both")
MOMENTS = ("before", "after")
FOREIGN = {"containers": ["foreign"], "files": ["/tmp/foreign"]}
LIMIT = 240.0

KILLER = '''
"""Writes records one by one, in the parent, and kills at the one that is asked for."""
import json, os, signal
from pathlib import Path
from playbook_kernel.engine import journal

POINT = json.loads(os.environ["PLAYBOOK_TEST_CRASH"])
whole = journal.Journal.append

def workers():
    """The trial's processes, the youngest last; the one that holds the nodes is older than all of them."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            stat = (path / "stat").read_text().rpartition(")")[2].split()
            line = (path / "cmdline").read_bytes()
        except OSError:
            continue
        if int(stat[1]) == os.getpid() and b"engine.worker" in line and stat[0] != "Z":
            found.append((int(stat[19]), int(path.name)))
    return [pid for _, pid in sorted(found)]

def strike(path):
    if (path.parent / "crashed").exists():
        return
    alive = workers()[1:]
    (path.parent / "crashed").write_text(json.dumps(alive))
    if POINT["who"] in ("child", "both"):
        for pid in alive:
            os.kill(pid, signal.SIGKILL)
    if POINT["who"] in ("parent", "both"):
        os.kill(os.getpid(), signal.SIGKILL)

def append(self, entries, *, sync=True):
    for entry in entries:
        at = self._seq + 1 == POINT["record"]
        if at and POINT["moment"] == "before":
            strike(self.path)
        whole(self, [entry], sync=True)
        if at and POINT["moment"] == "after":
            strike(self.path)

journal.Journal.append = append
'''


def made(lab: Lab, folder: Path, point: Mapping[str, Any]) -> Campaign:
    """The campaign, with somebody in it who kills."""
    campaign = Campaign.make(lab, folder)
    (campaign.folder / "killer.py").write_text(KILLER)
    campaign.env["PLAYBOOK_TEST_CRASH"] = json.dumps(point)
    return campaign


def outcome(campaign: Campaign) -> dict[str, Any]:
    """What must be the same, however a run came to its end."""
    return {
        name: (
            scenario["status"],
            trial["clean"],
            [p["status"] for p in trial["phases"]],
            trial["measurement"]["metrics"],
        )
        for name, scenario in campaign.result().items()
        for trial in [scenario["trials"][-1]]
    }


def records(campaign: Campaign) -> list[str]:
    """The kind of each record."""
    found = []
    for line in (campaign.run / "journal.jsonl").read_text().splitlines():
        record = json.loads(line)
        data = record["data"]
        more = data.get("kind") or data.get("event") or ""
        phase = data.get("phase") or (data.get("outcome") or {}).get("phase") or ""
        found.append(" ".join(w for w in (record["type"], more, phase) if w))
    return found


def cell(lab: Lab, folder: Path, point: Mapping[str, Any], expected: dict[str, Any]) -> list[str]:
    """Kill once, clean up, go on; what is wrong with what came of it."""
    campaign, who = made(lab, folder, point), point["who"]
    try:
        done = campaign.call("run", "--all", "--plugin", "killer.py", timeout=LIMIT)
    except AssertionError as error:
        return [f"no end: {str(error)[-500:]}"]
    run = campaign.run
    if not (run / "crashed").exists():
        return [f"the record never came: exit {done.returncode}"]
    alive = json.loads((run / "crashed").read_text())
    wrong = []
    dead = who != "child"
    if dead and done.returncode != -signal.SIGKILL:
        return [f"it was killed and exited {done.returncode}: {done.stderr[-500:]}"]
    with (run / "lock").open() as file:  # whoever is left of it holds the lock
        fcntl.flock(file, fcntl.LOCK_EX)
    if not dead and done.returncode not in (0, 1):
        wrong.append(f"exit status {done.returncode}: {done.stderr[-500:]}")
    if not dead and not alive and done.returncode != 0:
        wrong.append(f"nobody was killed, and it exited {done.returncode}")
    if point["record"] % 2 or not dead:  # every other one is gone on with as it lies
        cleaned = campaign.call("cleanup", timeout=LIMIT)
        wrong += [] if cleaned.returncode == 0 else [f"cleanup exited {cleaned.returncode}: {cleaned.stdout[-500:]}"]
        wrong += left(lab, "after cleanup")
    if dead or outcome_or_none(campaign) != expected:
        how = "--resume" if dead else "--rerun-failed"
        again = campaign.call("run", how, run.name, timeout=LIMIT)
        if "ended before it began anything" in again.stderr:
            return wrong  # nothing was written yet: there is nothing to go on with
        if again.returncode != 0:
            wrong.append(f"{how} exited {again.returncode}: {(again.stderr or again.stdout)[-500:]}")
        elif (got := outcome(campaign)) != expected:
            wrong.append(f"{how} came to {got}")
    return wrong + left(lab, "at the end")


def outcome_or_none(campaign: Campaign) -> dict[str, Any] | None:
    """The outcome, if every scenario measured something."""
    try:
        return outcome(campaign)
    except (KeyError, IndexError, TypeError):
        return None


def left(lab: Lab, when: str) -> list[str]:
    """What is on the nodes beside what was there before."""
    found: dict[str, Any] = {}
    for _ in range(20):  # a node's own guards may still be at it: they see the connection end, not the process die
        found = {n: listing(lab, n) for n in NODES}
        if all(f == FOREIGN for f in found.values()):
            return []
        time.sleep(0.5)
    return [f"{when}, on {n}: {f}" for n, f in found.items() if f != FOREIGN]


def points(kinds: list[str]) -> Iterator[dict[str, Any]]:
    """Every point to kill at; of each kind of record the first comes before the others."""
    order = sorted(range(len(kinds)), key=lambda n: (n != kinds.index(kinds[n]), n))
    for n in order:
        for who in WHO:
            for moment in MOMENTS:
                yield {"record": n + 1, "who": who, "moment": moment}


def main() -> int:
    """Kill at the points that RESULTS does not have yet."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.crash", description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("--lab", default="", help="a lab of two nodes or more that is up; without it one is brought up")
    parser.add_argument("--share", default="1/1", help="2/3: the second of three that run beside one another")
    parser.add_argument("--skip", type=int, default=0, help="how many of the first points were run elsewhere")
    options = parser.parse_args()
    part, parts = map(int, options.share.split("/"))
    rows = [json.loads(line) for line in options.results.read_text().splitlines()] if options.results.exists() else []
    have = {(r["record"], r["who"], r["moment"]) for r in rows}
    lab = Lab.load(options.lab) if options.lab else Lab(f"crash-{os.getpid()}")
    if not options.lab:
        lab.up(("v1", "v2"))
    enter_network(lab.root)
    try:
        for node in NODES:
            sh(lab, node, "docker create --name foreign lab/busybox:1 sleep 9; touch /tmp/foreign")
        with tempfile.TemporaryDirectory(prefix="crash-") as root:
            whole = made(lab, Path(root) / "whole", {"record": 0, "who": "", "moment": ""})
            done = whole.call("run", "--all", "--plugin", "killer.py", timeout=LIMIT)
            assert done.returncode == 0, done.stderr
            kinds, expected = records(whole), outcome(whole)
            print(
                f"{len(kinds)} records of {len(set(kinds))} kinds, {len(kinds) * len(WHO) * len(MOMENTS)} points",
                flush=True,
            )
            for point in itertools.islice(points(kinds), options.skip + part - 1, None, parts):
                if (point["record"], point["who"], point["moment"]) in have:
                    continue
                began = time.monotonic()
                wrong = cell(lab, Path(root) / "campaign", point, expected)
                row = {
                    **point,
                    "kind": kinds[point["record"] - 1],
                    "seconds": round(time.monotonic() - began, 1),
                    "wrong": wrong,
                }
                with options.results.open("a") as file:
                    file.write(json.dumps(row) + "\n")
                print(
                    f"{point['who']:6} {point['moment']:6} {point['record']:3} {row['kind']:28} {'; '.join(wrong)}",
                    flush=True,
                )
                shutil.rmtree(Path(root) / "campaign")
                rows.append(row)
    finally:
        if not options.lab:
            lab.down()
    bad = sum(bool(r["wrong"]) for r in rows)
    print(f"{len(rows)} points, {bad} of them bad")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
