"""What the tool itself costs: ``python -m tests.bench.overhead [--json] [--rounds N]``.

* a trial with a benchmark that does nothing: the difference between a campaign of eleven and one of a single scenario,
  each trial in a process of its own, with journal, store and reports;
* ``--help``, over a Python that does nothing, both as CPU time of the process.

The least of several rounds is taken, since other work on the machine only ever adds.
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

from tests.e2e.helpers import COMMAND

SCENARIOS = 10


def project(folder: Path, scenarios: int) -> Path:
    """A project of so many scenarios that do nothing."""
    (folder / "config").mkdir(parents=True)
    (folder / "config/scenarios.yaml").write_text("inter_scenario: {wait_between_scenarios: 0}\n")
    for number in range(scenarios):
        scenario = folder / f"scenarios/{number:03}_nothing"
        scenario.mkdir(parents=True)
        (scenario / "docker-compose.yml").write_text("services: {}\n")
        (scenario / "metadata.yaml").write_text(f"name: nothing {number}\nservices: []\nbenchmark: noop\n")
    return folder


def campaign(folder: Path) -> float:
    """Seconds that a campaign takes."""
    began = time.monotonic()
    done = subprocess.run(
        [str(COMMAND), "run", "--all"],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode or "nothing ran" in done.stdout:
        raise SystemExit(done.stdout + done.stderr)
    return time.monotonic() - began


def cpu(argv: list[str]) -> float:
    """CPU seconds of one process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(argv, stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(rounds: int) -> dict[str, float]:
    """Every figure, in seconds."""
    with tempfile.TemporaryDirectory() as temp:
        one, many = project(Path(temp) / "one", 1), project(Path(temp) / "many", 1 + SCENARIOS)
        singles, plenties = zip(*((campaign(one), campaign(many)) for _ in range(rounds)), strict=True)
    helps, bares = zip(
        *((cpu([str(COMMAND), "--help"]), cpu([sys.executable, "-c", "pass"])) for _ in range(rounds * 10)), strict=True
    )
    return {
        "trial_s": (min(plenties) - min(singles)) / SCENARIOS,
        "campaign_of_one_s": min(singles),
        "help_cpu_s": min(helps),
        "bare_python_cpu_s": min(bares),
        "help_over_bare_s": min(helps) - min(bares),
    }


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
    goals = {"trial_s": 0.5, "help_over_bare_s": 0.07}
    for name, value in found.items():
        goal = f"   goal <= {goals[name]:.2f}" if name in goals else ""
        print(f"{name:20} {value:8.3f}{goal}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
