"""``python -m tests.bench.deploy``: twelve services on one node of a lab of its own; ratios against peers in the same run.

Peers are Compose V2 on the node itself, without a network between: ``up --wait``, one call a batch, one call a service.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from playbook_kernel.api import ServiceChanged, within
from playbook_kernel.cli.plan import batches
from playbook_plugins.deployment import cleanup, deploy, discover
from playbook_plugins.deployment.order import remaining

from tests.lab.core import Lab, cannot
from tests.lab.fixtures import enter_network
from tests.plugins.composers.helpers import lab_node, opened, trial

from .graph import AFTER, SECONDS, compose_file, scenario

GOALS: Mapping[str, float] = {
    "bridge / critical path": 1.25,
    "host / critical path": 1.10,
    "bridge / up --wait": 0.95,
    "host / up --wait": 0.95,
    "bridge / batches": 0.6,
    "bridge / one by one": 0.5,
    "interval 5 s / interval 1 s": 1.05,
    "retry of one / deploying all again": 0.5,
    "controller CPU per service, ms": 10.0,
}


class Bench:
    def __init__(self, lab: Lab) -> None:
        self.lab, self.count = lab, 0
        self.node = lab_node(lab, "n1")

    def ours(self, **how: Any) -> dict[str, float]:
        """Deploy with our own tool, over SSH; then clean up."""
        self.count += 1
        folder = Path(tempfile.mkdtemp(prefix="bench-deploy-"))
        self.lab.run("n1", ["sh", "-c", "rm -rf /tmp/bench-mark"])
        try:
            made = trial(
                scenario(folder, "n1", self.node.host, **how), [self.node], folder, ident=f"pk-bench-{self.count}"
            )
            times: dict[str, float] = {}

            def note(event: object) -> None:
                if isinstance(event, ServiceChanged) and event.status == "retrying":
                    times["retrying"] = time.monotonic()

            made.ctx.emit = note
            with opened(made), within(300):
                made.ctx.facts["n1"] = dict(discover(made.ctx, self.node, made.pool("n1")))
                import python_on_whales  # noqa: F401 - once a process, however many services there are

                cpu, began = _cpu(), time.monotonic()
                deploy(made.ctx, made.ctx.trial.scenario)
                ended = time.monotonic()
                found = {"seconds": ended - began, "cpu": _cpu() - cpu}
                if "retrying" in times:
                    found["after failure"] = ended - times["retrying"]
                began = time.monotonic()
                left = cleanup(made.ctx, None)
                found["cleanup"] = time.monotonic() - began
                if left:
                    raise SystemExit(f"left: {left}")
        finally:
            shutil.rmtree(folder)
        return found

    def compose(self, steps: list[list[str]], **how: Any) -> float:
        """Let Compose V2 itself do it on the node, one call for each step; then take it down."""
        words = ["docker", "compose", "-p", "peer", "-f", "/tmp/peer.json"]
        text = json.dumps(compose_file(**how))
        self.lab.run("n1", ["sh", "-c", f"cat >/tmp/peer.json <<'E'\n{text}\nE"])
        began = time.monotonic()
        for step in steps:
            self.lab.run("n1", [*words, "up", "-d", "--wait", *step], timeout=300)
        seconds = time.monotonic() - began
        self.lab.run("n1", [*words, "down", "-t", "0"], timeout=120)
        return seconds

    def start_seconds(self, *, host: bool) -> float:
        """What the engine itself needs to start a container: the median of some."""
        words = ["create", "--network=host"] if host else ["create", "-p", "18699:80"]
        taken = []
        for _ in range(5):
            ident = self.lab.run("n1", ["docker", *words, "lab/busybox:1", "sleep", "60"]).stdout.strip()
            began = time.monotonic()
            self.lab.run("n1", ["docker", "start", ident])
            taken.append(time.monotonic() - began)
            self.lab.run("n1", ["docker", "rm", "-f", ident])
        return statistics.median(taken)


def measure(lab: Lab, repeat: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Each way ``repeat`` times, in turns; what counts is the least disturbed run of each."""
    bench = Bench(lab)
    critical = max(remaining(AFTER, SECONDS).values())
    rounds = [_round(bench, say) for _ in range(repeat)]
    seconds = {name: min(r[name] for r in rounds) for name in rounds[0]} | {"critical path": critical}
    floors = {
        kind: max(remaining(AFTER, {n: s + seconds[f"start, {kind}"] for n, s in SECONDS.items()}).values())
        for kind in ("bridge", "host")
    }
    retried = seconds["retry"] / (seconds["cleanup"] + seconds["ours, bridge"])
    ratios = {
        "bridge / critical path": seconds["ours, bridge"] / critical,
        "host / critical path": seconds["ours, host"] / critical,
        "bridge / critical path with the engine's own starts": seconds["ours, bridge"] / floors["bridge"],
        "host / critical path with the engine's own starts": seconds["ours, host"] / floors["host"],
        "bridge / up --wait": seconds["ours, bridge"] / seconds["up --wait, bridge"],
        "host / up --wait": seconds["ours, host"] / seconds["up --wait, host"],
        "bridge / batches": seconds["ours, bridge"] / seconds["batches, bridge"],
        "bridge / one by one": seconds["ours, bridge"] / seconds["one by one, bridge"],
        "interval 5 s / interval 1 s": seconds["ours, bridge, interval 5 s"] / seconds["ours, bridge"],
        "retry of one / deploying all again": retried,
        "controller CPU per service, ms": 1000 * seconds["cpu"] / len(AFTER),
    }
    return {"seconds": seconds, "rounds": rounds, "ratios": ratios, "goals": dict(GOALS)}


def _round(bench: Bench, say: Callable[[str], None]) -> dict[str, float]:
    seconds: dict[str, float] = {}

    def ours(name: str, **how: Any) -> dict[str, float]:
        found = bench.ours(**how)
        seconds[name] = found["seconds"]
        say(f"{name}: " + ", ".join(f"{k} {v:.2f}" for k, v in found.items()))
        return found

    def peer(name: str, steps: list[list[str]], **how: Any) -> None:
        seconds[name] = bench.compose(steps, **how)
        say(f"{name}: {seconds[name]:.2f}")

    for kind in ("bridge", "host"):
        seconds[f"start, {kind}"] = bench.start_seconds(host=kind == "host")
        say(f"the engine's start, {kind}: {seconds[f'start, {kind}']:.2f}")
    bridge = ours("ours, bridge", host=False)
    ours("ours, host", host=True, health=False)
    ours("ours, bridge, interval 5 s", host=False, interval=5)
    retry = ours("ours, bridge, one fails once", host=False, failing=True)
    peer("up --wait, bridge", [[]], host=False)
    peer("up --wait, host", [[]], host=True)
    peer("batches, bridge", [["--no-deps", *b] for b in batches(AFTER)], host=False)
    order = [name for batch in batches(AFTER) for name in batch]
    peer("one by one, bridge", [["--no-deps", name] for name in order], host=False)
    return {**seconds, "cleanup": bridge["cleanup"], "cpu": bridge["cpu"], "retry": retry["after failure"]}


def _cpu() -> float:
    """CPU seconds of this process and the children it has waited for."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in usages)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.deploy", description=__doc__)
    parser.add_argument("--json", action="store_true", help="the whole result as JSON on stdout")
    parser.add_argument("--repeat", type=int, default=1, help="how often; the least disturbed run of each counts")
    options = parser.parse_args()
    if why := cannot():
        print(f"no lab: {why}", file=sys.stderr)
        return 1
    lab = Lab("bench-deploy")
    try:
        lab.up(["v2"])
        enter_network(lab.root)
        result = measure(lab, options.repeat, lambda text: print(text, file=sys.stderr, flush=True))
    finally:
        lab.down()
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        for name, value in result["ratios"].items():
            goal = GOALS.get(name)
            said = "" if goal is None else f"   goal {goal:g}" + ("" if value <= goal else "   MISSED")
            print(f"{name:52} {value:7.2f}{said}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
