"""Campaigns with plugins written on the spot: real parents, real children, real effects (files), no network."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import evolve
from playbook_kernel.cli.interrupt import Interrupts
from playbook_kernel.cli.main import leave
from playbook_kernel.engine.campaign import Outcome, RunRequest, run
from playbook_kernel.engine.journal import Journal
from playbook_kernel.engine.patience import Patience
from playbook_kernel.engine.plan import Plan
from playbook_kernel.engine.resume import Resume
from playbook_kernel.engine.store import new_run
from playbook_kernel.loading import PluginSettings, load_hooks
from playbook_kernel.model import Configuration, DriverRef, Node, Policy, Scenario, Service, Timeouts

QUICK = Patience(grace=0.2, silence=30.0, leave=5.0)

BASE = '''
"""A complete lifecycle: one file per node is made outside, and removed again."""
import os
from pathlib import Path
from playbook_kernel.api import *
from playbook_kernel.api import Session, Transport

Line = type("Line", (Session,), {n: (lambda self, *a, **k: None) for n in Session.__abstractmethods__})

class Nowhere(Transport):
    name = "nowhere"
    def connect(self, node, *, owner=""):
        return Line()

def outside(ctx):
    return next(p / "outside" for p in ctx.directory.parents if (p / "outside").is_dir())

def make(ctx, node, name):
    path = outside(ctx) / f"{ctx.trial.id}-{name}"
    effect = ctx.effects.intend("base", node, path=str(path))
    path.write_text("made")
    ctx.effects.done(effect, size=4)

@hookimpl(tryfirst=True)
def playbook_discover(ctx, node, session):
    with (ctx.directory / "pids").open("a") as file:
        file.write(f"{os.getpid()}\\n")
    return {"cpus": 4}

@hookimpl(trylast=True)
def playbook_deploy(ctx, scenario):
    if scenario.name == "deploy-nobody":
        return None
    for node in ctx.nodes:
        make(ctx, node, node)
    return Deployment(tuple(Instance("engine", node, "ready") for node in ctx.nodes))

@hookimpl
def playbook_healthcheck(ctx, deployment):
    if ctx.trial.scenario.name == "healthcheck-nobody":
        return
    for instance in deployment.instances:
        yield Health(True, "fine", instance.service, instance.node)

@hookimpl(trylast=True)
def playbook_benchmark(ctx, deployment, load):
    if ctx.trial.scenario.name == "benchmark-nobody":
        return None
    return Measurement({"speed": Metric(1.5, "1", 1)}, method="base")

@hookimpl
def playbook_collect(ctx, deployment):
    (ctx.directory / "kept.txt").write_text("kept")
    yield Artifact("log", "kept.txt")

@hookimpl
def playbook_cleanup(ctx, deployment):
    with (ctx.directory / "cleanups").open("a") as file:
        file.write(f"{os.getpid()} {ctx.emergency}\\n")
    for effect in ctx.effects.open("base"):
        Path(effect.data["path"]).unlink(missing_ok=True)
        ctx.effects.undone(effect)
'''


def write_plugin(folder: Path, name: str, source: str) -> str:
    """A single-file plugin; ``api`` names need no import."""
    path = folder / f"{name}.py"
    path.write_text(
        f"from playbook_kernel.api import *\nfrom pathlib import Path\nimport os, signal, sys, time\n{source}"
    )
    return str(path)


def settings(folder: Path, *sources: str) -> PluginSettings:
    """The base plugin, and then more; nothing of what is installed takes part."""
    (folder / "outside").mkdir(exist_ok=True)
    base = folder / "base.py"
    base.write_text(BASE)
    files = [str(base), *(write_plugin(folder, f"extra{n}", source) for n, source in enumerate(sources))]
    return PluginSettings(blocked=("playbook-kernel",), files=tuple(files))


def nodes(count: int = 1) -> dict[str, Node]:
    return {f"n{i}": Node(f"n{i}", DriverRef("nowhere")) for i in range(1, count + 1)}


def scenario(name: str, folder: Path, *, on: Sequence[str] = ("n1",), timeouts: Timeouts | None = None) -> Scenario:
    service = Service("engine", tuple(on), folder / "compose.yml")
    return Scenario(name, folder, DriverRef("unused"), (service,), timeouts=timeouts or Timeouts())


def campaign(
    folder: Path,
    scenarios: Iterable[str | Scenario],
    *sources: str,
    policy: Policy | None = None,
    patience: Patience = QUICK,
    in_process: bool = False,
    node_count: int = 1,
    resume: Mapping[str, Any] | None = None,
) -> Outcome:
    """Run scenarios with the base plugin and with ``sources``; results go to ``folder/results``.

    ``resume``: go on with the only run that is there, with these further words of :class:`Resume`.
    """
    plugins = settings(folder, *sources)
    known = nodes(node_count)
    made = tuple(s if isinstance(s, Scenario) else scenario(s, folder, on=tuple(known)) for s in scenarios)
    policy = policy or Policy(wait_between=0.0, continue_on_failure=True, retries=0)
    plan = Plan(Configuration(known, made, policy), made)
    loader = plugins.loader()
    hooks = load_hooks(loader)
    earlier = None if resume is None else Resume(run_of(folder), **resume)
    at = earlier.run if earlier else new_run(folder / "results", "run")
    request = RunRequest(at, in_process, plugins, patience=patience, resume=earlier)
    interrupts = Interrupts(at)
    with interrupts.watched():
        outcome = run(plan, request, hooks, loader, interrupts.cancel)
    return evolve(outcome, exit_code=interrupts.code or outcome.exit_code)


def outside(folder: Path) -> list[str]:
    """What the trials made outside, and what is still there."""
    return sorted(p.name for p in (folder / "outside").iterdir())


def group_alive(leader: int) -> list[str]:
    """Commands of living processes of a group."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            text = (entry / "stat").read_text()
            state, _, group = text.rpartition(")")[2].split()[:3]
            if int(group) == leader and state != "Z":
                found.append((entry / "cmdline").read_bytes().decode())
        except OSError:
            continue
    return found


def pids_of(trial: Path) -> list[int]:
    """The processes that ran a trial."""
    return [int(line) for line in (trial / "pids").read_text().split()]


def cleanups_of(trial: Path) -> list[tuple[int, bool]]:
    """Process, and whether it was an emergency, of every cleanup of a trial."""
    rows = [line.split() for line in (trial / "cleanups").read_text().splitlines()]
    return [(int(pid), emergency == "True") for pid, emergency in rows]


def is_alive(pid: int) -> bool:
    """Whether a process runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def start(folder: Path, scenarios: Sequence[str], *sources: str, **options: object) -> subprocess.Popen[str]:
    """Begin a campaign in a process of its own; ``options`` are those of :func:`main`."""
    words = {"folder": str(folder), "scenarios": list(scenarios), "sources": sources, **options}
    return subprocess.Popen(
        [sys.executable, "-m", "tests.kernel.campaigns", json.dumps(words)],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(process: subprocess.Popen[str]) -> tuple[int, str]:
    """How a process ended, and what it said on stderr."""
    _, errors = process.communicate()
    return process.returncode, errors


def run_of(folder: Path) -> Path:
    """The only run of a folder."""
    [run] = (folder / "results").iterdir()
    return run


def main(
    folder: str,
    scenarios: Sequence[str],
    sources: Sequence[str],
    node_count: int = 1,
    kill_after: int = 0,
    largest_file: int = 0,
    grace: float = 0.2,
    watch: float = 10.0,
    wait_between: float = 0.0,
    resume: Mapping[str, Any] | None = None,
) -> int:
    """Run a campaign; ``kill_after``: die by SIGKILL as soon as the journal has that many records on disk."""
    if kill_after:
        append = Journal.append
        left = kill_after

        def append_and_die(self: Journal, entries: Iterable[tuple[str, str, Any]], *, sync: bool = True) -> None:
            nonlocal left
            for entry in entries:
                append(self, [entry], sync=sync)
                left -= 1
                if not left:
                    os.kill(os.getpid(), signal.SIGKILL)

        Journal.append = append_and_die  # type: ignore[method-assign]
    if largest_file:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    policy = Policy(wait_between=wait_between, continue_on_failure=True, retries=0)
    patience = Patience(grace, watch=watch)
    return campaign(
        Path(folder), scenarios, *sources, node_count=node_count, policy=policy, patience=patience, resume=resume
    ).exit_code


if __name__ == "__main__":
    began = threading.enumerate()
    leave(main(**json.loads(sys.argv[1])), began)
