"""What the tool itself costs: ``python -m tests.bench.overhead [--json] [--rounds N]``.

* a trial with a benchmark that does nothing: the difference between a campaign of eleven and one of a single scenario,
  each trial in a process of its own, with journal, store and reports;
* ``--help``, over a Python that does nothing, both as CPU time of the process, and beside one that imports click.

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

from tests.bench import as_installed
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


def campaign(folder: Path, environ: dict[str, str]) -> tuple[float, float]:
    """Seconds that a campaign takes, and CPU seconds of it and its trials."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.monotonic()
    done = subprocess.run(
        [str(COMMAND), "run", "--all"],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        env=environ,
    )
    if done.returncode or "nothing ran" in done.stdout:
        raise SystemExit(done.stdout + done.stderr)
    wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def cpu(argv: list[str], environ: dict[str, str]) -> float:
    """CPU seconds of one process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(argv, stdout=subprocess.DEVNULL, check=True, env=environ)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(rounds: int) -> dict[str, float]:
    """Every figure, in seconds."""
    with tempfile.TemporaryDirectory() as temp:
        environ = as_installed(Path(temp))
        one, many = project(Path(temp) / "one", 1), project(Path(temp) / "many", 1 + SCENARIOS)
        campaign(one, environ)
        ones, manys = zip(*((campaign(one, environ), campaign(many, environ)) for _ in range(rounds)), strict=True)
        commands = ([str(COMMAND), "--help"], [sys.executable, "-c", "import click"], [sys.executable, "-c", "pass"])
        for argv in commands:
            cpu(argv, environ)
        helps, clicks, bares = (
            min(times)
            for times in zip(*([cpu(argv, environ) for argv in commands] for _ in range(rounds * 10)), strict=True)
        )
    (one_wall, one_cpu), (many_wall, many_cpu) = ([min(x) for x in zip(*of, strict=True)] for of in (ones, manys))
    return {
        "trial_s": (many_wall - one_wall) / SCENARIOS,
        "trial_cpu_s": (many_cpu - one_cpu) / SCENARIOS,
        "trial_cpu_of_bare_python": (many_cpu - one_cpu) / SCENARIOS / bares,
        "campaign_of_one_s": one_wall,
        "help_cpu_s": helps,
        "bare_python_cpu_s": bares,
        "import_click_cpu_s": clicks,
        "help_over_bare_s": helps - bares,
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
        print(f"{name:25} {value:8.3f}{goal}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
