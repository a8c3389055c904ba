"""What many installed plugins cost: ``python -m tests.bench.plugins [--json] [--rounds N]``.

``playbook-kernel plugins`` over 10, 100 and 1,000 installed distributions, wall and CPU time of the process. None of them may be
imported: each would leave a file beside itself. The least of several rounds is taken, since other work only ever adds.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.bench import as_installed
from tests.e2e.helpers import COMMAND

COUNTS = (10, 100, 1000)
MODULE = '"""Says that it was imported."""\nfrom pathlib import Path\nPath(__file__ + ".imported").touch()\n'


def install(folder: Path, count: int) -> Path:
    """So many distributions, each with a benchmark and a hook plugin, that want this kernel."""
    for number in range(count):
        name = f"many_{number}"
        info = folder / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (folder / f"{name}.py").write_text(MODULE)
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nRequires-Dist: playbook-kernel>=0.1\n"
        )
        (info / "entry_points.txt").write_text(
            f"[playbook_kernel.benchmark]\n{name} = {name}:Bench\n[playbook_kernel.hooks]\n{name} = {name}\n"
        )
    return folder


def listing(folder: Path, count: int) -> tuple[float, float]:
    """Wall and CPU seconds of one ``plugins``."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(
        [str(COMMAND), "plugins", "--json"],
        env={**as_installed(folder.parent.parent), "PYTHONPATH": str(folder)},
        cwd=folder.parent,
        capture_output=True,
        check=True,
    )
    wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    listed = sum(str(row["distribution"]).startswith("many-") for row in json.loads(done.stdout))
    assert listed == 2 * count, f"{listed} of {2 * count} are listed"
    assert not list(folder.glob("*.imported")), "a plugin was imported"
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(rounds: int) -> dict[str, float]:
    """Every figure, in seconds, and how the last 900 plugins compare with the 90 before them (1: grows linearly)."""
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as temp:
        folders = {count: install(Path(temp) / str(count) / "site", count) for count in COUNTS}
        listing(folders[COUNTS[0]], COUNTS[0])
        taken = {count: [listing(folders[count], count) for _ in range(rounds)] for count in COUNTS}
    for count in COUNTS:
        found[f"wall_of_{count}_s"], found[f"cpu_of_{count}_s"] = (
            min(times) for times in zip(*taken[count], strict=True)
        )
    few, some, many = (found[f"cpu_of_{count}_s"] for count in COUNTS)
    found["cpu_of_each_ms"] = (many - some) / (COUNTS[2] - COUNTS[1]) * 1000
    found["growth"] = (many - some) / (10 * (some - few))
    return found


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    found = measure(options.rounds)
    if options.json:
        print(json.dumps(found, indent=1))
        return 0
    goals = {"wall_of_100_s": 0.5}
    for name, value in found.items():
        goal = f"   goal <= {goals[name]:.2f}" if name in goals else ""
        print(f"{name:18} {value:8.3f}{goal}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
