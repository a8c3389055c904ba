"""The benchmark driver `aicp`: the load generator inside of a trial."""

from __future__ import annotations

import http.client
import itertools
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar
from urllib.parse import urlsplit

import attrs
from attrs import evolve
from playbook_kernel.api import (
    Benchmark,
    Deployment,
    DriverRef,
    Load,
    LoadExecutor,
    Measurement,
    Metric,
    NodeError,
    Output,
    PhaseFailed,
    PhaseTimeout,
    PlaybookError,
    Progress,
    Secret,
    Session,
    TrialContext,
    current,
)

from playbook_plugins.jsonc import line_of, load_config
from playbook_plugins.web import ask

from . import report
from .campaign import Campaign, looked_at, loss, prepare, self_measure
from .client import Client
from .core.plan import Settings
from .many import KEYS, expand
from .many import run as run_all_loads
from .node import NodeKnown, NodeWorkers, known_server
from .options import ALIASES, BY_NAME, OptionError, Options, about, canonical, fill, in_words
from .outputs import OutputError, write_json
from .point import BenchmarkError, Outcome, Status
from .spread import Spread

FOLDER = "aicp"
_DEFAULTS = {"max_concurrency": 20}
_LENGTHS = {"dynamic_input_len": 4096, "dynamic_output_len": 1024, "dynamic_prompt_len_scale": 0.1}
_PATHS = ("dataset_path", "tokenizer_path", "ca_file")
_LATE = 5.0
_TELL = 0.2


def _options_class() -> type[Any]:
    """One field for each option, whose values are checked by the option itself."""
    made: dict[str, Any] = {"config": attrs.field(default="", type=str), "node": attrs.field(default="local", type=str)}
    made["executor"] = attrs.field(default=None, type=Any, metadata={"shown": ("name or object", "")})
    manual = [
        "``config``: a test_config.json, relative to the scenario's folder.",
        "``node``: where the load is made: local, auto or remote (the scenario's first node), or a node's name.",
        "``executor``: makes the load on several machines: its name, or ``use`` and ``options``; instead of ``node``.",
        "``loads``, ``matrix``, ``parallel``: several loads, see docs/aicp.md.",
    ]
    made |= {n: attrs.field(default=None, type=Any, metadata={"shown": (KEYS[n], "")}) for n in KEYS}
    for name, attribute in BY_NAME.items():
        kind: Any = Secret | None if attribute.metadata["secret"] else Any
        made[name] = attrs.field(default=None, type=kind, metadata={"shown": in_words(name)})
        manual.append(f"``{name}``: {attribute.metadata['help']}.")
    built: type[Any] = attrs.make_class("AicpOptions", made, frozen=True)
    built.__module__, built.__doc__ = __name__, "\n".join(manual)
    return built


class AicpBenchmark(Benchmark[Any]):
    """Measures a server that speaks OpenAI's API, and says how true its own numbers are.

    Options are those of `playbook-aicp`, in snake_case; a test_config.json gives them too. Everything that it writes
    lies in the trial's folder, under ``aicp``.
    """

    options_type: ClassVar[type[Any]] = _options_class()
    counts = True

    def check(self, directory: Path) -> Sequence[str]:
        try:
            executor = self._executor(directory)
            given = self._given(directory)
            given.pop("executor", None)
            parts, _ = expand(given)
        except OptionError as error:
            return self._placed(directory, error.problems)
        problems: list[str] = []
        for part in parts:
            known = {"base_url": "http://localhost", "model": "m"}
            options = _load(directory, part.given, known, from_file=bool(self.options.config), problems=problems)
            if executor is not None and options.precision > 0:
                problems.append("precision: nothing is heard of a load on several machines until it ends")
            doubt = {BY_NAME[name].metadata["group"] for problem in problems for name in about(problem)}
            problems += looked_at(options, prompts="prompts" not in doubt)[0]
        return self._placed(directory, list(dict.fromkeys(problems)))

    def _placed(self, directory: Path, problems: Sequence[str]) -> list[str]:
        """With file and line, where a key of the file is what is wrong."""
        if not self.options.config:
            return list(problems)
        file = directory / self.options.config
        own = {n for n, v in attrs.asdict(self.options, recurse=False).items() if v is not None}
        made = []
        for problem in problems:
            key = problem.partition(":")[0]
            names = [key, *(alias for alias, name in ALIASES.items() if name == key)]
            line = 0 if key in own else next(filter(None, (line_of(file, n) for n in names)), 0)
            made.append(f"{file}:{line}: {problem}" if line else problem)
        return made

    def fit(self, ctx: TrialContext) -> str | None:
        try:
            spread = self._spread(ctx)
        except (PlaybookError, OptionError) as error:
            return str(error)
        if spread is not None:
            ctx.log.info("the load comes from several machines", places=[p.name for p in spread.places])
        return None

    def run(self, ctx: TrialContext, deployment: Deployment, load: Load) -> Measurement:
        scenario = ctx.trial.scenario
        known = {"base_url": "", "model": ""}
        if deployment.endpoints:
            endpoint = next(iter(deployment.endpoints.values()))
            known = {"base_url": endpoint.url, "model": endpoint.model}
        try:
            spread = self._spread(ctx)
            parts, parallel = self._filled(scenario.directory, known)
            campaigns = [
                self._campaign(ctx, deployment, name, applied(options, load), spread) for name, options in parts
            ]
        except OptionError as error:
            raise PhaseFailed("; ".join(error.problems)) from None
        self._measure(campaigns, parallel=parallel)
        for line in filter(None, (loss(o) for c in campaigns for o in c.outcomes)):
            ctx.log.warning(f"aicp: {line}")
            ctx.emit(Output(f"warning: {line}", "stderr", FOLDER, trial=ctx.trial.id, scenario=scenario.name))
        return measurement(campaigns, ctx.directory)

    def _filled(self, directory: Path, known: Mapping[str, str]) -> tuple[list[tuple[str, Options]], bool]:
        """The file, then the driver's own options, then what the deployment knows, for each load of the file.

        Raises OptionError.
        """
        given = self._given(directory)
        given.pop("executor", None)
        parts, parallel = expand(given)
        from_file = bool(self.options.config)
        return [(p.name, _load(directory, p.given, known, from_file=from_file)) for p in parts], parallel

    def _given(self, directory: Path) -> dict[str, Any]:
        own = attrs.asdict(self.options, recurse=False)
        given: dict[str, Any] = {}
        own.pop("node")
        if config := own.pop("config"):
            try:
                given = {canonical(key): value for key, value in load_config(directory / config).items()}
            except (OSError, ValueError) as error:
                raise OptionError([str(error)]) from None
        return given | {k: v.reveal() if isinstance(v, Secret) else v for k, v in own.items() if v is not None}

    def _executor(self, directory: Path) -> DriverRef | None:
        """Which executor the file or the options name. Raises OptionError."""
        named = self._given(directory).get("executor")
        if named is None:
            return None
        if self.options.node != "local":
            raise OptionError(["executor: the load is made there or on a node, not both"])
        entry: Any = {"use": named} if isinstance(named, str) else named
        good = isinstance(entry, Mapping) and isinstance(entry.get("use"), str) and not set(entry) - {"use", "options"}
        if not good or not isinstance(entry.get("options", {}), Mapping):
            raise OptionError(['executor: expected its name, or {"use": NAME, "options": {...}}'])
        return DriverRef(entry["use"], entry.get("options", {}), self.options.config)

    def _spread(self, ctx: TrialContext) -> Spread | None:
        ref = self._executor(ctx.trial.scenario.directory)
        if ref is None:
            return None
        executor: LoadExecutor[Any] = ctx.build(LoadExecutor, ref)
        return Spread(executor, ctx, executor.places(ctx))

    def _campaign(
        self, ctx: TrialContext, deployment: Deployment, name: str, options: Options, spread: Spread | None
    ) -> Campaign:
        scenario, last, node = ctx.trial.scenario.name, [0.0], self._node(ctx)
        if node == "local":  # machines of an executor reach a server as this one does
            options = evolve(options, base_url=reachable(options.base_url, deployment))
        if options.base_url and not options.model:
            options = evolve(options, model=_served(options, None if node == "local" else ctx.session(node)))
        options = evolve(options, disable_export_to_excel=True)

        def say(line: str) -> None:
            ctx.emit(Output(line, "stdout", FOLDER, trial=ctx.trial.id, scenario=scenario))

        def watch(status: Status) -> None:
            now = time.monotonic()
            if now - last[0] >= _TELL:
                last[0] = now
                done, total = float(status.done), float(status.total)
                ctx.emit(Progress("requests", done, total, "requests", trial=ctx.trial.id, scenario=scenario))

        key = Secret(options.api_key).reveal() if options.api_key else None
        client = Client(evolve(options, api_key=None), api_key=key, say=say, watch=watch)
        if node != "local":
            client.site, client.known, client.remote = *_site(ctx, node), True
        elif spread is not None:
            client.site, client.remote, client.places = spread.site, True, len(spread.places)
        return prepare(client, ctx.directory / FOLDER, say, name)

    def _node(self, ctx: TrialContext) -> str:
        name: str = self.options.node
        if name in ("auto", "remote"):
            used = ctx.trial.scenario.node_names
            return used[0] if used else "local"
        return name

    def _measure(self, campaigns: Sequence[Campaign], *, parallel: bool) -> None:
        """Run all within the scope: a cancelled or late one ends within seconds, and leaves what it has measured."""
        stop, scope = campaigns[0].client.stop, current()
        for campaign in campaigns:
            campaign.client.stop = stop
        left = scope.timeout()
        alarm = threading.Timer(left - min(_LATE, left / 5) if left is not None else 1e9, stop.set)
        alarm.daemon = True
        if left is not None:
            alarm.start()
        try:
            with scope.cancel.watching(stop.set):
                client = campaigns[0].client
                client.target()
                if client.places == 1:
                    self_measure(client, campaigns[0].say)
                for campaign in campaigns:
                    campaign.client.calibration = client.calibration
                problems = run_all_loads(campaigns, parallel=parallel)
        except (BenchmarkError, OutputError) as error:
            problems = [str(error)]
        finally:
            alarm.cancel()
        scope.cancel.check()
        problems += [f"{o.point}: {o.died}" for c in campaigns for o in c.outcomes if o.died and not stop.is_set()]
        if stop.is_set():
            raise PhaseTimeout(
                f"the load was not done in time; what was measured is in {FOLDER}/",
                hint="test_execution.timeout sets the limit; fewer requests or a duration end it sooner",
            )
        if problems:
            raise PhaseFailed("; ".join(problems))


def _load(
    directory: Path,
    given: Mapping[str, Any],
    known: Mapping[str, str],
    *,
    from_file: bool,
    problems: list[str] | None = None,
) -> Options:
    """One load's options. Raises OptionError, unless ``problems`` takes what is wrong."""
    given = {**given, **{n: known[n] for n in ("base_url", "model") if not given.get(n)}}
    options = fill({**_DEFAULTS, **given}, problems=problems)
    if from_file and (options.dataset == "random" or options.tokenizer_path):
        options = fill({**_LENGTHS, **_DEFAULTS, **given}, problems=problems)
    found: dict[str, Any] = {n: str(directory / p) for n in _PATHS if (p := getattr(options, n))}
    return evolve(options, **found)


def _served(options: Options, session: Session | None) -> str:
    """The first model that the server lists; ``""`` if it lists none. ``session``: the node to ask from."""
    root = options.base_url.rstrip("/").removesuffix("/v1")
    headers = {"Authorization": f"Bearer {options.api_key}"} if options.api_key else {}
    try:
        listed = ask(f"{root}/v1/models", headers=headers, session=session).json()
        return str(listed["data"][0]["id"])
    except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError, NodeError):
        return ""


def _site(
    ctx: TrialContext, node: str
) -> tuple[Callable[[Path, Settings], NodeWorkers], Callable[..., AbstractContextManager[NodeKnown]]]:
    """What makes loads, and known-timing servers, on a node: each in a folder there that the trial's cleanup removes."""
    session = ctx.session(node)
    home = PurePosixPath(ctx.nodes[node].work_dir or "/tmp") / f".playbook-aicp-{ctx.trial.id}"  # noqa: S108
    effect = ctx.effects.intend("file", node, path=str(home), tree=True)
    session.run(["mkdir", "-p", "-m", "700", "--", str(home)])
    ctx.effects.done(effect)
    number = itertools.count(1)

    def make(folder: Path, settings: Settings) -> NodeWorkers:
        return NodeWorkers(session, folder, settings, str(home / str(next(number))))

    def serve(**timing: object) -> AbstractContextManager[NodeKnown]:
        return known_server(session, str(home / str(next(number))), **timing)

    return make, serve


def applied(options: Options, load: Load) -> Options:
    """Options with what the scenario's own ``load`` says."""
    given: dict[str, Any] = {
        "max_concurrency": load.concurrency,
        "request_rate": load.rate,
        "num_prompts": load.requests,
        "duration": load.duration,
    }
    if load.rate is not None and load.concurrency is None:
        given["max_concurrency"] = 0
    return fill({k: v for k, v in given.items() if v is not None}, options)


def reachable(url: str, deployment: Deployment) -> str:
    """An address that was written as seen on the node, as seen from here: by the port of one of the services."""
    parts = urlsplit(url)
    if parts.hostname not in ("localhost", "127.0.0.1"):
        return url
    for endpoint in deployment.endpoints.values():
        there = urlsplit(endpoint.url)
        if there.port == parts.port:
            return parts._replace(netloc=there.netloc).geturl()
    return url


def measurement(campaigns: Sequence[Campaign], directory: Path) -> Measurement:
    """What was found: of each load its best point if it searched one, else its last that succeeded.

    Metrics of several loads have the load's name before theirs.
    """
    metrics: dict[str, Metric] = {}
    points: list[dict[str, Any]] = []
    searched: list[str] = []
    requests = errors = 0
    for campaign in campaigns:
        chosen = _chosen(campaign)
        requests, errors = requests + chosen.summary.requests, errors + chosen.summary.failed
        before = f"{campaign.name}/" if campaign.name else ""
        for name, (value, unit, count) in report.measured(chosen).items():
            metrics[before + name] = Metric(value, unit, count or None)
        if campaign.found is not None:
            searched.append(before + campaign.found.why)
        for outcome in campaign.outcomes:
            point = report.as_json(outcome, campaign.options) | {"load": campaign.name}
            point["records"] = _inside(point["records"], directory)
            point.pop("series")
            points.append(point)
    write_json(directory / FOLDER / "results.json", {"points": points})
    client = campaigns[-1].outcomes[-1].client
    how = f"aicp, {client.get('engine')}, {client.get('timestamp_source')} timestamps"
    return Measurement(metrics, requests, errors, how, {"points": points, "searched": "; ".join(searched) or None})


def _chosen(campaign: Campaign) -> Outcome:
    if campaign.found is not None:
        if campaign.found.outcome is None:
            raise PhaseFailed(campaign.found.why)
        return campaign.found.outcome
    succeeded = [o for o in campaign.outcomes if o.summary.succeeded]
    if not succeeded:
        raise PhaseFailed("no request succeeded")
    return succeeded[-1]


def _inside(path: str | None, directory: Path) -> str | None:
    """A path relative to the trial's folder, so that results can be moved."""
    if path is None:
        return None
    where = Path(path)
    return str(where.relative_to(directory)) if where.is_relative_to(directory) else path
