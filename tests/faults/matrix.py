"""Every fault in every phase: ``python -m tests.faults.matrix RESULTS.jsonl`` goes on where it was stopped.

A cell is a campaign of two scenarios over two nodes. The fault strikes one node as the first scenario enters the phase, and is
healed when that scenario has ended. A cell is good when the campaign ended in time, a failure was told as what it was, with its
node, what had been measured is kept, the next scenario completed, and nothing is left on any node.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from playbook_kernel.model import PHASES

from tests.lab.core import Lab
from tests.lab.fixtures import enter_network

from .catalogue import FAULTS, NODE, Fault
from .nodes import listing
from .runs import NODES, Campaign

CLAIM = "/tmp/playbook-claim.lock"
LIMIT = 240.0
"""Seconds that a cell may take: the sum of what its deadlines allow is less."""

STRIKER = '''
"""Strikes when the victim enters a phase, in the trial's process; heals, in the parent, when it has ended."""
import json, os, subprocess
from playbook_kernel.api import hookimpl

FAULT = json.loads(os.environ["PLAYBOOK_TEST_FAULT"])

def strike(ctx, phase):
    if phase != FAULT["phase"] or ctx.trial.scenario.name != "001_victim" or ctx.emergency:
        return
    try:
        (ctx.directory / "struck").open("x").close()
    except FileExistsError:
        return
    perform(FAULT["strike"])

def perform(commands):
    for command in commands:
        begun = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if not FAULT["waits"]:
            begun.wait(60)

@hookimpl(tryfirst=True)
def playbook_discover(ctx, node, session):
    if node.name == FAULT["node"]:
        strike(ctx, "discover")

@hookimpl(tryfirst=True)
def playbook_deploy(ctx, scenario):
    strike(ctx, "deploy")

@hookimpl(tryfirst=True)
def playbook_healthcheck(ctx, deployment):
    strike(ctx, "healthcheck")

@hookimpl(tryfirst=True)
def playbook_benchmark(ctx, deployment, load):
    strike(ctx, "benchmark")

@hookimpl(tryfirst=True)
def playbook_collect(ctx, deployment):
    strike(ctx, "collect")

@hookimpl(tryfirst=True)
def playbook_cleanup(ctx, deployment):
    strike(ctx, "cleanup")

@hookimpl(tryfirst=True)
def playbook_event(ctx, event):
    if type(event).__name__ == "ScenarioEnded" and event.scenario == "001_victim":
        for command in FAULT["heal"]:
            subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60)

@hookimpl(tryfirst=True)
def playbook_preflight(ctx, nodes, scenarios):
    """A plugin's calls come one after the other: the next scenario waits until the node is healed."""
'''


def cell(lab: Lab, folder: Path, fault: Fault, phase: str) -> dict[str, Any]:
    """Run one cell; ``wrong`` of what it returns is empty if it was good."""
    campaign = Campaign.make(lab, folder)
    (campaign.folder / "striker.py").write_text(STRIKER)
    words = {
        "phase": phase, "node": NODE, "waits": fault.waits, "strike": fault.commands(lab, fault.strike),
        "heal": fault.commands(lab, fault.heal),
    }  # fmt: skip
    campaign.env["PLAYBOOK_TEST_FAULT"] = json.dumps(words)
    began = time.monotonic()
    try:
        done = campaign.call("run", "--all", "--plugin", "striker.py", timeout=LIMIT)
    except AssertionError as error:
        _heal(lab, fault)
        campaign.call("cleanup", timeout=LIMIT)  # the next cell must not pay for it
        return {"fault": fault.name, "phase": phase, "wrong": [f"no end within {LIMIT:g} s: {str(error)[-500:]}"]}
    seconds = round(time.monotonic() - began, 1)
    _heal(lab, fault)
    if not (campaign.folder / "results").exists() or done.returncode not in (0, 1):
        return {
            "fault": fault.name,
            "phase": phase,
            "seconds": seconds,
            "wrong": [f"it did not run: {done.stderr[-500:]}"],
        }
    results = campaign.result()
    trials = results["001_victim"]["trials"]
    trial = trials[-1] if trials else {"phases": [], "clean": None, "measurement": None, "emergencies": 0}
    failure = next((p for p in trial["phases"] if p["status"] not in ("ok", "skipped")), {})
    said = {k: failure.get(k, "") for k in ("phase", "error_class", "node", "error")}
    row = {
        "fault": fault.name, "phase": phase, "status": results["001_victim"]["status"], "said": said, "seconds": seconds,
        "clean": trial["clean"], "emergencies": trial["emergencies"], "warnings": trial.get("warnings", []),
    }  # fmt: skip
    return {**row, "wrong": _wrong(lab, campaign, row, fault, results, trial, done.returncode)}


def _wrong(
    lab: Lab, campaign: Campaign, row: dict[str, Any], fault: Fault, results: Any, trial: Any, code: int
) -> list[str]:
    wrong = []
    said, phase = row["said"], row["phase"]
    if row["status"] == "failed" and said["phase"]:
        if said["error_class"] not in fault.classes:
            wrong.append(f"told as {said['error_class']}, not as {' or '.join(fault.classes)}")
        if said["node"] != NODE and NODE not in said["error"]:
            wrong.append("the node is not named")
        if PHASES.index(said["phase"]) < PHASES.index(phase):
            wrong.append(f"failed in {said['phase']}, before it was struck")
    if phase in ("collect", "cleanup") and trial["measurement"] is None:
        wrong.append("the measurement was lost")
    if results["002_next"]["status"] != "completed":
        wrong.append(f"the next scenario {results['002_next']['status']}: {results['002_next']['reason']}")
    if code != int(any(s["status"] != "completed" for s in results.values())):
        wrong.append(f"exit status {code}")
    if left := _left(lab):
        cleaned = campaign.call("cleanup")
        row["cleanup"] = cleaned.stdout + cleaned.stderr
        still = _left(lab)
        wrong += [f"left although it was said to be clean: {left}"] if trial["clean"] else []
        wrong += [f"left after cleanup: {still}"] if still else []
    return wrong


def _left(lab: Lab) -> dict[str, Any]:
    """What is on the nodes. A claim whose connection was cut without a word is given up after a minute, and not before."""
    until = time.monotonic() + 75
    while True:
        try:
            found = {n: seen for n in NODES if (seen := listing(lab, n))}
        except subprocess.CalledProcessError:
            if time.monotonic() > until:
                raise
            found = {NODE: {"engine": ["is not back yet"]}}
        claims = all(
            set(s) <= {"files", "processes", "engine"} and s.get("files", [CLAIM]) == [CLAIM] for s in found.values()
        )
        if not found or not claims or time.monotonic() > until:
            return found
        time.sleep(1.0)


def cells() -> Iterator[tuple[Fault, str]]:
    """Every cell; each fault once, and each phase often, before any fault comes again."""
    for turn in range(len(PHASES)):
        for number, fault in enumerate(FAULTS):
            yield fault, PHASES[(number + turn) % len(PHASES)]


def _heal(lab: Lab, fault: Fault) -> None:
    """Once more, for a cell that never came to it."""
    for command in fault.commands(lab, fault.heal):
        subprocess.run(command, capture_output=True, check=False, timeout=60)
    lab.poweron(NODE)


def main() -> int:
    """Run the cells that RESULTS does not have yet."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.matrix", description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("--lab", default="", help="a lab of two nodes or more that is up; without it one is brought up")
    parser.add_argument("--only", default="", help="faults whose name has this in it")
    parser.add_argument("--phase", default="", help="only this phase")
    parser.add_argument("--skip", type=int, default=0, help="how many of the first cells were run elsewhere")
    options = parser.parse_args()
    rows = [json.loads(line) for line in options.results.read_text().splitlines()] if options.results.exists() else []
    have = {(r["fault"], r["phase"]) for r in rows}
    lab = Lab.load(options.lab) if options.lab else Lab(f"matrix-{os.getpid()}")
    if not options.lab:
        lab.up(("v1", "v2"))
    enter_network(lab.root)
    try:
        for fault, phase in itertools.islice(cells(), options.skip, None):
            if options.only not in fault.name or options.phase not in phase or (fault.name, phase) in have:
                continue
            folder = Path(tempfile.mkdtemp(prefix="matrix-"))
            row = cell(lab, folder / "campaign", fault, phase)
            with options.results.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print(
                f"{fault.name:22} {phase:12} {row.get('status')} {row.get('seconds')} s {'; '.join(row['wrong'])}",
                flush=True,
            )
            shutil.rmtree(folder)
            rows.append(row)
    finally:
        if not options.lab:
            lab.down()
    bad = sum(bool(r["wrong"]) for r in rows)
    print(f"{len(rows)} cells, {bad} of them bad")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
