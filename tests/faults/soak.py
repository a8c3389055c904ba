"""Many trials in a row: ``python -m tests.faults.soak RESULTS.jsonl`` runs those that RESULTS does not have yet.

Two kinds take turns over two nodes of the lab: one that measures nothing (noop), one with a short load (a script). After each,
the campaign's process tells its files, threads, memory and temporary files; after each campaign, of 50 trials at most, the nodes
are looked at: connections of sshd, containers, networks, volumes, files, our processes. Nothing may grow, no trial may fail.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.lab.core import Lab
from tests.lab.fixtures import enter_network

from .nodes import listing, sh
from .runs import NODES, Campaign

ROUND = 50
COUNTER = '''
"""Counts what the campaign's process holds, each time that a scenario has ended."""
import json, os, tempfile, threading
from pathlib import Path
from playbook_kernel.api import hookimpl

@hookimpl
def playbook_event(ctx, event):
    if type(event).__name__ != "ScenarioEnded":
        return
    row = {
        "scenario": event.scenario, "status": event.result.status,
        "clean": bool(event.result.last and event.result.last.clean),
        "files": len(os.listdir("/proc/self/fd")), "threads": threading.active_count(),
        "kib": int(Path("/proc/self/statm").read_text().split()[1]) * 4,
        "temporary": len([p for p in Path(tempfile.gettempdir()).iterdir() if p.name.startswith("pk-" + ctx.run[-4:])]),
    }
    with (ctx.folder / "counts.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\\n")
'''


def campaign_of(lab: Lab, folder: Path, first: int, count: int) -> Campaign:
    """The campaign of tests/faults, its scenario so many times."""
    made = Campaign.make(lab, folder)
    (made.folder / "counter.py").write_text(COUNTER)
    original = made.folder / "scenarios/002_next"
    shutil.rmtree(made.folder / "scenarios/001_victim")
    for number in range(first, first + count):
        copy = made.folder / f"scenarios/{number:03}_{'noop' if number % 2 else 'script'}"
        shutil.copytree(original, copy)
        if number % 2:
            (copy / "run_test.sh").unlink()
            metadata = (copy / "metadata.yaml").read_text().partition("test_execution:")[0]
            (copy / "metadata.yaml").write_text(metadata + "benchmark: noop\n")
    shutil.rmtree(original)
    return made


def on_nodes(lab: Lab) -> dict[str, int]:
    """What the nodes hold, by their own word."""
    left = [listing(lab, n) for n in NODES]
    sessions = sum(int(sh(lab, n, "pgrep -xc sshd || :") or 0) for n in NODES)
    docker = sum(len(seen.get(k, [])) for seen in left for k in ("containers", "networks", "volumes"))
    return {"connections": sessions, "docker": docker, "left": sum(len(v) for seen in left for v in seen.values())}


def round_of(lab: Lab, folder: Path, first: int, count: int) -> list[dict[str, Any]]:
    """Run so many trials in one campaign; a row for each."""
    before = on_nodes(lab)
    campaign = campaign_of(lab, folder, first, count)
    done = campaign.call("run", "--all", "--plugin", "counter.py", timeout=120.0 * count)
    rows = [json.loads(line) for line in (campaign.run / "counts.jsonl").read_text().splitlines()]
    after = on_nodes(lab)
    for number, row in enumerate(rows):
        row.update(
            {
                "trial": first + number,
                "round": first,
                **after,
                "exit": done.returncode,
                "grown": {k: after[k] - before[k] for k in after},
            }
        )
    return rows


def wrong(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What grew, and what failed."""
    found = [
        f"trial {r['trial']}: {r['status']}, clean: {r['clean']}"
        for r in rows
        if r["status"] != "completed" or not r["clean"]
    ]
    for start in sorted({r["round"] for r in rows}):
        of = [r for r in rows if r["round"] == start]
        for what in ("files", "threads", "temporary"):
            if of[-1][what] > of[0][what]:
                found.append(f"{what} grew from {of[0][what]} to {of[-1][what]} in the round of trial {start}")
        found += [
            f"the nodes hold {n} more {what} after the round of trial {start}"
            for what, n in of[-1]["grown"].items()
            if n > 0
        ]
    return found


def memory(rows: Sequence[Mapping[str, Any]]) -> float:
    """KiB that the campaign's process grows by with each trial (their results are kept for the reports)."""
    slopes = []
    for start in sorted({r["round"] for r in rows}):
        of = [r["kib"] for r in rows if r["round"] == start]
        half = len(of) // 2
        if half:
            slopes.append((statistics.median(of[half:]) - statistics.median(of[:half])) / half)
    return statistics.mean(slopes) if slopes else 0.0


def main() -> int:
    """Run the trials that RESULTS does not have yet."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--lab", default="", help="a lab of two nodes or more that is up; without it one is brought up")
    options = parser.parse_args()
    rows = [json.loads(line) for line in options.results.read_text().splitlines()] if options.results.exists() else []
    lab = Lab.load(options.lab) if options.lab else Lab(f"soak-{os.getpid()}")
    if not options.lab:
        lab.up(("v1", "v2"))
    enter_network(lab.root)
    try:
        while len(rows) < options.trials:
            with tempfile.TemporaryDirectory(prefix="soak-") as root:
                more = round_of(lab, Path(root) / "campaign", len(rows) + 1, min(ROUND, options.trials - len(rows)))
            rows += more
            with options.results.open("a") as file:
                file.writelines(json.dumps(row) + "\n" for row in more)
            print(
                f"{len(rows)} trials: {'; '.join(wrong(more)) or 'good'}; memory {memory(more):+.0f} KiB a trial",
                flush=True,
            )
    finally:
        if not options.lab:
            lab.down()
    bad = wrong(rows)
    print(f"{len(rows)} trials, {len(bad)} complaints, memory {memory(rows):+.0f} KiB a trial")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
