"""What telemetry costs a node: ``python -m tests.bench.telemetry [--seconds N] [--json]``.

A node of the lab is sampled at 1 Hz over a real SSH connection, once with no accelerator's tool, and once with each of
``nvidia-smi`` (8 GPUs), ``npu-smi`` (8 chips) and ``rocm-smi`` (8 GPUs). The tools are scripts that print what the real ones
print: what those take of a CPU to find it out is not in these figures.

CPU is that of everything in the node, by its cgroup: the sampler, what it starts, and sshd. What the same connection takes
when nothing is sampled is told, and taken off. It needs what the lab needs. Exit status 1: the goal was missed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

from playbook_kernel.api import Deployment, DriverRef, Node, Service, Session
from playbook_kernel.testing import fake_trial
from playbook_plugins.stats.samples import load
from playbook_plugins.telemetry.options import Options
from playbook_plugins.telemetry.watch import Watch
from playbook_plugins.transports.ssh import Options as SshOptions
from playbook_plugins.transports.ssh import SshTransport

from tests.lab.core import CGROUP, Lab, cannot
from tests.lab.fixtures import enter_network

GOAL = 1.0
"""Per cent of a core."""
_SETTLE = 3.0
_GPU = "{n}, 97, 71234, 81559, 612.34, 63"
_NPU = """\
| {n}     910B3               | OK            | 93.6        40                0    / 0             |
| 0                         | 0000:C{n}:00.0  | 87          0    / 0          33060/ 65536         |
+===========================+===============+====================================================+"""
_ROCM_HEAD = (
    "device,Temperature (Sensor edge) (C),Temperature (Sensor junction) (C),Average Graphics Package Power (W),GPU use (%),"
    "VRAM Total Memory (B),VRAM Total Used Memory (B)"
)
_ROCM = "card{n},45.0,52.0,310.5,97,68702699520,34351349760"
TOOLS = {
    "nvidia-smi": ("", _GPU, "while :; do cat {file}; sleep 1; done"),
    "npu-smi": ("+====+\n", _NPU, "cat {file}"),
    "rocm-smi": (_ROCM_HEAD + "\n", _ROCM, "cat {file}"),
}
"""Name: what stands above, what stands for each accelerator, and what the script does."""


def install(lab: Lab, names: list[str]) -> None:
    """Give the node these tools and no others."""
    lines = ["set -e; mkdir -p /opt/bench; rm -f " + " ".join(f"/usr/local/bin/{name}" for name in TOOLS)]
    for name in names:
        head, each, does = TOOLS[name]
        file = f"/opt/bench/{name}.txt"
        text = head + "\n".join(each.format(n=n) for n in range(8)) + "\n"
        script = f"#!/bin/sh\n{does.format(file=file)}\n"
        for path, content in ((file, text), (f"/usr/local/bin/{name}", script)):
            lines.append(f"cat >{path} <<'END'\n{content}END\nchmod 755 {path}")
    lab.run("n1", ["sh", "-c", "\n".join(lines)])


def used(lab: Lab) -> float:
    """CPU seconds that the node has taken, ever."""
    return int((CGROUP / "cpuacct" / lab.cgroup / "n1" / "cpuacct.usage").read_text()) / 1e9


def of_sshd(lab: Lab) -> float:
    """CPU seconds of the node's sshd processes."""
    total = 0
    for pid in (CGROUP / "cpuacct" / lab.cgroup / "n1" / "cgroup.procs").read_text().split():
        try:
            if Path(f"/proc/{pid}/comm").read_text().startswith("sshd"):
                total += int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])
        except OSError:
            continue
    return total / 1e9


def taken(lab: Lab, seconds: float) -> tuple[float, float]:
    """Per cent of a core that the node takes from now on, and sshd's part of that."""
    began, all_, sshd = time.monotonic(), used(lab), of_sshd(lab)
    time.sleep(seconds)
    gone = time.monotonic() - began
    return (used(lab) - all_) / gone * 100, (of_sshd(lab) - sshd) / gone * 100


def sampled(lab: Lab, session: Session, seconds: float, expect: int) -> tuple[float, float]:
    """The same while the node is sampled; so many series of accelerators must have come."""
    with tempfile.TemporaryDirectory() as folder:
        service = Service("engine", ("n1",), Path(folder))
        trial = fake_trial(Path(folder), {"n1": session}, services=[service])
        with Watch(trial.ctx, Deployment(), Options(engines=False)) as watch:
            time.sleep(_SETTLE)
            figures = taken(lab, seconds)
        series = load(watch.path)
    rates = [len(points) / (seconds + _SETTLE) for (name, _), points in series.items() if name == "cpu"]
    if len([1 for name, _ in series if name == "util"]) != expect or not rates or rates[0] < 0.8:
        raise SystemExit(f"not what was to be sampled: {sorted(series)}, {rates}")
    return figures


def measure(seconds: float) -> dict[str, dict[str, float]]:
    """Per cent of a core: all of it, and sshd's part."""
    lab = Lab(f"bench-{os.getpid()}")
    found = {}
    try:
        lab.up(["bare"], seed=False)
        enter_network(lab.root)
        options = SshOptions(
            host=lab.nodes["n1"].addr,
            username="root",
            key_filename=str(lab.key_filename),
            known_hosts=str(lab.known_hosts),
            ssh_config="/dev/null",
            use_agent=False,
        )
        with SshTransport(options).connect(Node("n1", DriverRef("ssh")), owner="pk-bench-1") as session:
            session.run(["true"])
            time.sleep(_SETTLE)
            idle, idle_sshd = taken(lab, seconds)
            found["a connection, nothing sampled"] = {"all": idle, "sshd": idle_sshd}
            cases: dict[str, list[str]] = {"no accelerator": [], **{name: [name] for name in TOOLS}}
            for case, tools in cases.items():
                install(lab, tools)
                all_, sshd = sampled(lab, session, seconds, 8 * len(tools))
                found[case] = {"all": all_ - idle, "sshd": sshd - idle_sshd}
                print(f"{case}: done", file=sys.stderr)
    finally:
        lab.down()
    return found


def main() -> int:
    """Measure and print; 1 if the goal is missed."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.telemetry",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seconds", type=float, default=30.0, help="for each line")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if why := cannot():
        raise SystemExit(f"no lab: {why}")
    found = measure(given.seconds)
    if given.json:
        print(json.dumps(found, indent=1))
    else:
        print(f"{'% of a core':32} {'all':>7} {'sshd':>7}   goal <= {GOAL:.2f}")
        for case, figures in found.items():
            print(f"{case:32} {figures['all']:7.2f} {figures['sshd']:7.2f}")
    return int(any(figures["all"] > GOAL for figures in found.values()))


if __name__ == "__main__":
    sys.exit(main())
