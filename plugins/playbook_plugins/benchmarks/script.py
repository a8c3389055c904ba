"""A test script of the user's: ``run_test.sh`` in the scenario's folder, here or on a node."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from playbook_kernel.api import (
    Benchmark,
    CommandTimeout,
    Deployment,
    DriverRef,
    Load,
    Measurement,
    Metric,
    Node,
    Output,
    PhaseFailed,
    PhaseTimeout,
    Session,
    Transport,
    TrialContext,
    field,
    frozen,
    redact,
)

from playbook_plugins import older_places
from playbook_plugins.exit_status import by_signal
from playbook_plugins.text import is_file, leads_out

from .metrics import MetricsReader, as_metrics

LOG = "logs/test_output.log"
_TAIL = 12


@frozen
class Options:
    """``node``: ``local``, ``auto`` or ``remote`` (the first node of the scenario's services), or a node's name.

    ``result_paths``: what the script writes; relative ones lie in the scenario's folder (local) or in the node's
    work_dir, and the folder of each is made there. ``env``: further variables. ``args``: arguments of the script.
    """

    script: str = "run_test.sh"
    node: str = "local"
    result_paths: list[str] = field(factory=list)
    timeout: float | None = None
    env: dict[str, str] = field(factory=dict)
    args: list[str] = field(factory=list)


class ScriptBenchmark(Benchmark[Options]):
    """Runs a script; its exit status is the verdict, what it prints as METRIC lines is the measurement.

    It runs in the scenario's folder, or in the node's work_dir. It gets SCENARIO_NAME, SCENARIO_PATH (that folder),
    SCENARIO_DIR (the scenario's own files, also on a node), SCENARIO_RESULT_PATH (``:`` between several), ENDPOINT_URL (of
    the first service that no other waits for: a router before its engines), and ENDPOINT_URL_<SERVICE> of each.
    """

    def check(self, directory: Path) -> Sequence[str]:
        path = directory / self.options.script
        if not path.resolve().is_relative_to(directory.resolve()):
            return (f"script {self.options.script!r} leads out of {directory}",)
        if outside := [p for p in self.options.result_paths if leads_out(p)]:
            return tuple(f"result_paths: {p!r} leads out of the folder that the script runs in" for p in outside)
        return () if is_file(path) else (f"{path}: there is no such script",)

    def run(self, ctx: TrialContext, deployment: Deployment, load: Load) -> Measurement:
        name = self._node(ctx)
        if name == "local":
            with ctx.build(Transport, DriverRef("local")).connect(
                Node("local", DriverRef("local")), owner=ctx.trial.id
            ) as session:
                return self._run(ctx, deployment, session, ctx.trial.scenario.directory.resolve(), "")
        session = ctx.session(name)
        folder = PurePosixPath(ctx.nodes[name].work_dir or "/tmp") / f".playbook-{ctx.trial.id}"  # noqa: S108
        effect = ctx.effects.intend("file", name, path=str(folder), tree=True)
        session.put_tree(ctx.trial.scenario.directory, str(folder))
        ctx.effects.done(effect)
        older_places.place(ctx, session, name)
        return self._run(ctx, deployment, session, folder, name)

    def _node(self, ctx: TrialContext) -> str:
        name = self.options.node
        if name in ("auto", "remote"):
            used = ctx.trial.scenario.node_names
            return used[0] if used else "local"
        return name

    def _run(
        self, ctx: TrialContext, deployment: Deployment, session: Session, folder: Path | PurePosixPath, node: str
    ) -> Measurement:
        scenario = ctx.trial.scenario
        base = PurePosixPath((ctx.nodes[node].work_dir if node else "") or str(folder))
        paths = [str(base / p) for p in self.options.result_paths]
        for path, given in zip(paths, self.options.result_paths, strict=True):
            folder_of = PurePosixPath(path) if given.endswith("/") else PurePosixPath(path).parent
            if folder_of.is_relative_to(base) and not leads_out(given):
                session.run(["mkdir", "-p", "--", str(folder_of)])
        endpoint = next(iter(deployment.endpoints.values()), None)
        env = {
            **self.options.env,
            "SCENARIO_NAME": scenario.name,
            "SCENARIO_PATH": str(base),
            "SCENARIO_DIR": str(folder),
            "SCENARIO_RESULT_PATH": os.pathsep.join(paths),
            **({"ENDPOINT_URL": endpoint.url} if endpoint else {}),
            **{f"ENDPOINT_URL_{_variable(name)}": e.url for name, e in deployment.endpoints.items() if "@" not in name},
        }
        argv = [*self._interpreter(folder, local=not node), *self.options.args]
        metrics, tail = MetricsReader(), deque[str](maxlen=_TAIL)
        name = f"{self.options.script} on {node}" if node else self.options.script
        log = ctx.directory / LOG
        log.parent.mkdir(parents=True, exist_ok=True)
        try:
            with (
                log.open("w", encoding="utf-8") as file,
                session.start(argv, env=env, cwd=str(base), timeout=self.options.timeout) as process,
            ):
                for pipe, line in process.lines():
                    file.write(redact(line) + "\n")
                    file.flush()
                    tail.append(line)
                    if pipe == "stdout":
                        metrics.feed(line)
                    ctx.emit(Output(line, pipe, self.options.script, node, trial=ctx.trial.id, scenario=scenario.name))
                status = process.wait()
        except CommandTimeout as error:
            raise PhaseTimeout(
                f"{name} was killed with all it had started: not done within {error.seconds:.4g} s",
                hint="test_execution.timeout sets the limit",
            ) from error
        for problem in metrics.problems:
            ctx.warn(f"{self.options.script}: {problem}", node)
        if status:
            said = [line for line in tail if line.strip() and not line.startswith("METRIC:")]
            raise PhaseFailed(
                f"{name} exited with {status}{by_signal(status)}" + (f": {said[-1]}" if said else ""),
                hint=_hint(tail) or f"its output is in {_within_run(log)}",
            )
        return self._measurement(metrics)

    def _measurement(self, metrics: MetricsReader) -> Measurement:
        requests = _count(metrics.values, "total_requests")
        good = _count(metrics.values, "successful_requests")
        found = as_metrics(metrics.values, good)
        return Measurement(
            {**found, "exit_status": Metric(0.0, "1", 1)},
            requests,
            None if requests is None or good is None else requests - good,
            f"script {self.options.script}",
            metrics.values,
        )

    def _interpreter(self, folder: Path | PurePosixPath, *, local: bool) -> list[str]:
        path = str(folder / self.options.script)
        match PurePosixPath(path).suffix:
            case ".sh":
                return ["bash", path]
            case ".py":
                return [sys.executable if local else "python3", path]
            case _:
                return [path]


def _variable(name: str) -> str:
    """A service's name as part of a variable's.

    >>> _variable("prefill-1")
    'PREFILL_1'
    """
    return "".join(c if c.isalnum() and c.isascii() else "_" for c in name).upper()


def _count(values: dict[str, object], key: str) -> int | None:
    value = values.get(key)
    return int(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _within_run(log: Path) -> str:
    """Where a trial's log lies in the run's folder: each attempt after the first has a folder of its own."""
    folder = log.parents[1]
    run = folder.parents[2] if folder.parent.name == "trials" else folder.parent
    return log.relative_to(run).as_posix()


def _hint(tail: Sequence[str]) -> str:
    if any("input device is not a TTY" in line for line in tail):
        return "the script calls `docker run -it`, and there is no terminal: leave out -t (and -i)"
    return ""
