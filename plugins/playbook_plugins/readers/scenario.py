"""One scenario's folder to one Scenario: metadata, compose files, and the layers below them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from attrs import asdict, define, evolve, field, frozen
from playbook_kernel.api import (
    Check,
    Condition,
    DriverRef,
    Edge,
    Load,
    Node,
    Problems,
    RetryPolicy,
    Scenario,
    Service,
    Timeouts,
    learn,
)

from playbook_plugins import compose_file
from playbook_plugins.compose_file import ComposeFile
from playbook_plugins.jsonc import load_config
from playbook_plugins.text import Document, Key, dotted, is_file, is_there, leads_out, load_document, read_env_file

from . import effects, faults, health
from .folders import COMPOSE_NAMES, ENV_NAMES, METADATA_NAMES, TEST_CONFIG_NAMES, Folder, first, rename
from .metadata import MetadataFile, ServiceEntry
from .nodes import CLUSTER
from .rules import ERROR_CLASSES
from .salvage import salvage
from .vocabulary import Concurrency, DefaultsFile, ScenariosFile, TestExecution, named_driver

T = TypeVar("T")
MANIFESTS = "manifests"
COLLECTION_MODES: Mapping[str, str] = {
    "basic": "basic",
    "minimal": "basic",
    "standard": "standard",
    "comprehensive": "comprehensive",
    "detailed": "comprehensive",
    "full": "comprehensive",
}
_SAFE_NAME = re.compile(r"[^\x00-\x1f/\\]+")
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?\s*", re.IGNORECASE)


def bytes_of(value: float | str) -> float | None:
    """A size in bytes; numbers without a unit are GB, and MB if there are 1024 or more of them. None if it is none.

    >>> bytes_of("80GiB") == 80 * 2**30, bytes_of(80) == 80e9, bytes_of(81920) == 81920e6
    (True, True, True)
    """
    match = _SIZE.fullmatch(str(value))
    if match is None:
        return None
    number, unit, binary = float(match[1]), match[2].lower(), match[3]
    if not unit:
        return number * (1e6 if number >= 1024 else 1e9)
    power = "kmgt".index(unit) + 1
    return float(number * (1024 if binary else 1000) ** power)


def mode_layers(own: Document, defaults: Document, scenarios: Document) -> tuple[tuple[Document, tuple[Key, ...]], ...]:
    """Where the collection mode may be said, the strongest first."""
    return (
        (own, ("collection_mode",)),
        (own, ("test_execution", "collection_mode")),
        (own, ("deployment", "test_execution", "collection_mode")),
        (defaults, ("test_execution", "collection_mode")),
        (defaults, ("collection_mode",)),
        (scenarios, ("execution_config", "default_collection_mode")),
    )


@frozen
class Layers:
    """What stands below a scenario's own metadata."""

    scenarios: ScenariosFile
    defaults: DefaultsFile
    environ: Mapping[str, str] = field(repr=False)
    nodes: Mapping[str, Node]
    scenarios_doc: Document = field(repr=False)
    defaults_doc: Document = field(repr=False)
    nodes_doc: Document | None = field(default=None, repr=False)

    def is_unreadable(self, node: str) -> bool:
        """Whether a node is not known because its file, or its entry there, has problems of its own."""
        return self.nodes_doc is not None and (not self.nodes or self.nodes_doc.at("nodes", node) is not None)


def pick(*values: T | None) -> T | None:
    """The first value that is given."""
    return next((v for v in values if v is not None), None)


def metadata_file(directory: Path) -> Path:
    """The metadata file of a scenario; where it would be if there is none."""
    return first(directory, METADATA_NAMES) or directory / METADATA_NAMES[1]


def read_scenario(folder: Folder, layers: Layers, problems: Problems) -> tuple[Scenario, Document]:
    """Read everything of a folder; whatever is wrong goes to ``problems``, but of a disabled one only as a warning."""
    own = Problems()
    reading = _Reading(folder, layers, own)
    scenario = reading.scenario()
    effects.check_bounds(reading.document, own)
    for problem in own.items:
        tell = problems.add if scenario.enabled else problems.warn
        tell(problem.file, problem.line, problem.key, problem.message, problem.hint)
    for warning in own.warnings:
        problems.warn(warning.file, warning.line, warning.key, warning.message, warning.hint)
    effects.tell(reading.document, "metadata", problems)
    return scenario, reading.document


@define
class _Placed:
    """A service of the metadata, before it is united with the compose file."""

    entry: ServiceEntry
    path: tuple[Key, ...]
    nodes: tuple[str, ...]
    compose: Path


class _Reading:
    def __init__(self, folder: Folder, layers: Layers, problems: Problems) -> None:
        self.folder, self.layers, self.problems = folder, layers, problems
        self.directory = folder.path
        self.file = metadata_file(self.directory)
        present = [n for n in METADATA_NAMES if (self.directory / n).is_file()]
        if len(present) > 1 and self.file.suffix != ".toml" and METADATA_NAMES[2] in present:
            problems.add(
                self.directory / METADATA_NAMES[2], 0, "", f"{self.file.name} is there too", "keep one of them"
            )
        elif len(present) > 1:
            problems.warn(self.directory / present[1], 0, "", f"is not read: {self.file.name} is there too")
        self.document = load_document(self.file, problems, layers.environ) if present else Document(self.file)
        if present and not self.document.data and not problems.items:
            hint = "say at least `name:`, or remove the file"
            problems.add(self.file, 0, "", "is empty", hint)
        metadata, self.doubt = salvage(self.document, MetadataFile, problems)
        self.metadata = metadata or MetadataFile()
        self.composes: dict[Path, ComposeFile] = {}
        env = first(self.directory, ENV_NAMES)
        self.env_file = env
        self.env = self._env(env) if env else {}

    def _env(self, path: Path) -> dict[str, str]:
        """What compose will see. Compose reads lines that we do not, so those are no problem; `validate-env` is strict."""
        strange = Problems()
        found = read_env_file(path, strange)
        for problem in strange.items:
            self.problems.warn(problem.file, problem.line, problem.key, problem.message, problem.hint)
        learn(found)
        return found

    def wrong(self, path: tuple[Key, ...], message: str, hint: str = "") -> None:
        self.problems.add(self.file, self.document.line(*path), dotted(path), message, hint)

    def lacks(self, needs: Sequence[tuple[Key, ...]], path: tuple[Key, ...], message: str, hint: str = "") -> None:
        """Note that something is missing at ``path``, unless one of its ``needs`` stands there, and is wrong itself."""
        if not self.doubt.about(*needs):
            self.wrong(path, message, hint)

    # -- the whole ------------------------------------------------------------------------------------------------

    def scenario(self) -> Scenario:
        meta, shared = self.metadata, self.layers.scenarios.execution_config
        if not _SAFE_NAME.fullmatch(self.folder.name) or self.folder.name in (".", ".."):
            self.problems.add(self.directory, 0, "", f"{self.folder.name!r} cannot be the name of a scenario")
        services = self._services()
        concurrency = [
            meta.concurrent_execution,
            shared.concurrent_deployment,
            self.layers.defaults.concurrent_execution,
        ]
        execution, place = self._test_execution()
        mode = self._collection_mode(execution, len(services))
        benchmark, timeout = self._benchmark(execution, place)
        return Scenario(
            name=self.folder.name,
            directory=self.directory,
            benchmark=benchmark,
            services=services,
            load=Load(meta.load.concurrency, meta.load.rate, meta.load.requests, meta.load.duration),
            collectors=self._collectors(mode, execution),
            env_file=self.env_file,
            uploads=self._uploads(),
            description=meta.description or self.folder.description,
            tags=tuple(str(t) for t in meta.tags),
            enabled=self.folder.enabled and meta.enabled is not False,
            depends_on=tuple(meta.dependencies),
            estimated_duration=meta.estimated_duration,
            max_concurrent_services=max(1, _said(concurrency, "max_concurrent_services") or 5),
            max_concurrent_checks=max(
                1,
                _said(concurrency, "max_concurrent_health_checks")
                or _said(concurrency, "max_workers_health_check")
                or 10,
            ),
            retry=self._retry(),
            timeouts=self._timeouts(concurrency, timeout),
            info=self._info(mode),
            faults=faults.plans(meta.faults, self.document, self.problems),
        )

    def _info(self, mode: str) -> dict[str, Any]:
        meta = self.metadata
        info: dict[str, Any] = {
            "version": str(meta.version), "author": meta.author, "collection_mode": mode,
            "created": None if meta.created is None else str(meta.created),
            "title": meta.name, "requirements": self._requirements(),
            "resource_requirements": {k: v for k, v in asdict(meta.resource_requirements).items() if v is not None},
        }  # fmt: skip
        return {k: v for k, v in info.items() if v}

    def _requirements(self) -> dict[str, float]:
        """What discovery checks: sizes in bytes, and a count of nodes."""
        wanted = self.metadata.resource_requirements
        found: dict[str, float] = {}
        for key in ("min_gpu_memory", "min_memory_gb"):
            value = getattr(wanted, key)
            said = f"{value}GB" if key.endswith("_gb") and isinstance(value, (int, float)) else value
            size = None if said is None else bytes_of(said)
            if value is not None and size is None:
                self.wrong(("resource_requirements", key), f"expected GB or a text such as 80GiB, got {value!r}")
            elif size is not None:
                found[key.removesuffix("_gb")] = size
        if wanted.min_nodes is not None:
            enabled = sum(n.enabled for n in self.layers.nodes.values())
            if wanted.min_nodes > enabled:
                self.wrong(("resource_requirements", "min_nodes"), f"{wanted.min_nodes} are needed, {enabled} enabled")
            found["min_nodes"] = wanted.min_nodes
        return found

    # -- services -------------------------------------------------------------------------------------------------

    def _entries(self) -> tuple[list[Mapping[str, Any]], tuple[Key, ...]]:
        """Both homes of services; the top-level one wins where both are given, and that is said."""
        meta = self.metadata
        below = meta.deployment.services if meta.deployment else None
        if meta.services:
            if below:
                where = self.document.line("deployment", "services")
                self.problems.warn(self.file, where, "deployment.services", "is not used: services is given too")
            return meta.services, ("services",)
        return (below, ("deployment", "services")) if below else ([], ("services",))

    def _services(self) -> tuple[Service, ...]:
        raw, home = self._entries()
        placed = self._placed(raw, home) if raw else self._everything()
        placed = self._with_companions(placed)
        by_name = {p.entry.name: p for p in placed}
        services = [self._service(p, by_name) for p in placed]
        self._check_circles(services)
        return tuple(services)

    def _placed(self, raw: Sequence[Mapping[str, Any]], home: tuple[Key, ...]) -> list[_Placed]:
        placed: list[_Placed] = []
        for index, item in enumerate(raw):
            path = (*home, index)
            entry, doubt = salvage(self.document, ServiceEntry, self.problems, path, item)
            self.doubt |= doubt
            if entry is None:
                continue
            if any(p.entry.name == entry.name for p in placed):
                self.wrong((*path, "name"), f"service {entry.name!r} comes twice")
                continue
            nodes = self._nodes_of(entry, path)
            if entry.kubectl or any(self._is_cluster(n) for n in nodes):
                self._check_cluster_service(entry, path, nodes)
                placed.append(_Placed(entry, path, nodes, self.file))
                continue
            compose = self._compose_path(entry.compose_file, (*path, "compose_file"))
            placed.append(_Placed(entry, path, nodes, compose))
        return placed

    def _is_cluster(self, name: str) -> bool:
        node = self.layers.nodes.get(name)
        return node is not None and node.composer == CLUSTER

    def _check_cluster_service(self, entry: ServiceEntry, path: tuple[Key, ...], nodes: Sequence[str]) -> None:
        """Its composer reads `kubectl` itself; here only what other services of the file must know is checked."""
        if not entry.kubectl:
            text = f"service {entry.name!r} is on a cluster, and says no kubectl.steps"
            self.lacks([(*path, "kubectl")], path, text)
        for name in nodes:
            if not self._is_cluster(name):
                self.wrong(
                    (*path, "kubectl"), f"{name!r} is no cluster", "clusters stand below `kubernetes` in the nodes file"
                )

    def _nodes_of(self, entry: ServiceEntry, path: tuple[Key, ...]) -> tuple[str, ...]:
        single, several = ([v] if isinstance(v, str) else v or [] for v in (entry.node, entry.nodes))
        if several and single and several != single:
            self.wrong((*path, "node"), "node and nodes say different things", "keep one of them")
        names = several or single
        if not names:
            only = self._only_node(cluster=bool(entry.kubectl))
            if only is None and self.layers.nodes_doc is not None and not self.layers.nodes:
                return ()
            if only is None:
                needs = [(*path, "nodes"), (*path, "node")]
                self.lacks(needs, path, f"service {entry.name!r} is placed on no node", "add nodes: [NAME]")
                return ()
            return (only,)
        key = "nodes" if several else "node"
        return tuple(name for name in dict.fromkeys(names) if self._is_node(name, (*path, key)))

    def _is_node(self, name: str, path: tuple[Key, ...], *more: str) -> bool:
        """Whether a node can be used; a node of which something else is wrong is not said to be missing, too."""
        node = self.layers.nodes.get(name)
        if node is None and not self.layers.is_unreadable(name):
            known = list(dict.fromkeys([*more, *self.layers.nodes]))
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known nodes: {', '.join(known) or 'none'}"
            if name == "local":  # it is there by itself only where there is no nodes file
                hint += (
                    "; this machine: `local: {host: localhost, transport: local, composer: process}` in the nodes file"
                )
            self.wrong(path, f"there is no node {name!r}", hint)
        elif node is not None and not node.enabled:
            self.wrong(path, f"node {name!r} is disabled")
        return node is not None

    def _only_node(self, *, cluster: bool = False) -> str | None:
        enabled = [n.name for n in self.layers.nodes.values() if n.enabled and self._is_cluster(n.name) is cluster]
        return enabled[0] if len(enabled) == 1 else None

    def _everything(self) -> list[_Placed]:
        """Without placement the whole compose file goes to the one enabled node."""
        only = self._only_node()
        if only is None and self.layers.nodes_doc is not None and not self.layers.nodes:
            return []  # that there are no nodes is told of their file
        if only is None:
            self.lacks(
                [("services",), ("deployment", "services")],
                ("services",),
                "nothing says which node each service runs on",
                "add services: [{name: ..., nodes: [...]}] to the metadata",
            )
            return []
        compose = self._compose_path(None, ("services",))
        return [
            _Placed(ServiceEntry(name), ("services",), (only,), compose) for name in self._compose(compose).services
        ]

    def _with_companions(self, placed: list[_Placed]) -> list[_Placed]:
        """A compose dependency that is placed nowhere goes along with whoever depends on it."""
        result = list(placed)
        known = {p.entry.name for p in result}
        for one in result:  # grows while it is walked
            service = self._compose(one.compose).services.get(one.entry.name)
            for name in service.depends_on if service else ():
                if name not in known and name in self._compose(one.compose).services:
                    known.add(name)
                    result.append(_Placed(ServiceEntry(name), one.path, one.nodes, one.compose))
        return result

    def _service(self, placed: _Placed, by_name: Mapping[str, _Placed]) -> Service:
        entry, path = placed.entry, placed.path
        compose = self._compose(placed.compose)
        described = compose.services.get(entry.name)
        if described is None and compose.services:
            self.lacks(
                [(*path, "compose_file")],
                (*path, "name"),
                f"there is no service {entry.name!r} in {placed.compose.name}",
                f"it has: {', '.join(compose.services)}",
            )
        after: dict[str, Condition] = dict.fromkeys(entry.depends_on, "healthy")
        for name in entry.depends_on:
            if name not in by_name and not self.doubt.within(path[:-1], "name"):
                near = difflib.get_close_matches(name, by_name, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"known services: {', '.join(by_name)}"
                self.wrong((*path, "depends_on"), f"there is no service {name!r}", hint)
        for name, condition in (described.depends_on if described else {}).items():
            if name in by_name:
                after[name] = _stricter(after.get(name), condition)
        one_shot = any(
            self._compose(p.compose).services[p.entry.name].depends_on.get(entry.name) == "completed"
            for p in by_name.values()
            if p.entry.name in self._compose(p.compose).services
        )
        check = health.merged(entry.health_check, self.layers.defaults.service_health_check)
        policy = health.policy(check, self._health_timeout())
        strategy = entry.health_check.strategy
        if strategy is not None and strategy.lower() not in health.STRATEGIES:
            where = (*path, "health_check", "strategy")
            known = f"known: {', '.join(health.STRATEGIES)}"
            text = f"{strategy!r} is not known; standard is used"
            self.problems.warn(self.file, self.document.line(*where), dotted(where), text, known)
        checks: tuple[Check, ...] = ()
        if policy.enabled and not one_shot:
            source, where = self.document, (*path, "health_check")
            if entry.health_check.checks is None and check.checks is not None:
                source, where = self.layers.defaults_doc, ("service_health_check",)
            checks = health.checks(check, source, where, self.problems)
        edges = tuple(Edge(n, c) for n, c in after.items() if n in by_name)
        # nobody is asked about a file that is not there: that is told once
        nodes = placed.nodes if entry.kubectl or is_file(placed.compose) else ()
        return Service(entry.name, nodes, placed.compose, edges, checks, policy, one_shot, dict(entry.kubectl))

    def _health_timeout(self) -> float | None:
        shared = self.layers.scenarios.execution_config.concurrent_deployment
        layers = [self.metadata.concurrent_execution, shared, self.layers.defaults.concurrent_execution]
        return pick(*(layer.health_check_timeout for layer in layers))

    def _check_circles(self, services: Sequence[Service]) -> None:
        after = {s.name: [e.service for e in s.after] for s in services}
        done: set[str] = set()

        def visit(name: str, trail: tuple[str, ...]) -> None:
            if name in trail:
                circle = " -> ".join((*trail[trail.index(name) :], name))
                self.wrong(("services",), f"services wait for one another: {circle}")
            elif name not in done:
                for wanted in after.get(name, ()):
                    visit(wanted, (*trail, name))
                done.add(name)

        for name in after:
            visit(name, ())

    # -- compose files --------------------------------------------------------------------------------------------

    def _compose_path(self, name: str | None, where: tuple[Key, ...]) -> Path:
        if name is None:
            if (found := first(self.directory, COMPOSE_NAMES)) is not None:
                return found
            if not self.doubt.about(where):
                self.problems.add(
                    self.directory, 0, "", f"there is no {COMPOSE_NAMES[0]} in it", rename(self.directory)
                )
            return self.directory / COMPOSE_NAMES[0]
        path = self.directory / name
        if not path.resolve().is_relative_to(self.directory.resolve()):
            self.wrong(where, f"{name!r} leads out of the scenario's folder")
        elif not is_file(path):
            self.wrong(where, f"there is no file {name!r} in {self.directory}")
        return path

    def _compose(self, path: Path) -> ComposeFile:
        if path not in self.composes:
            readable = is_file(path) and path != self.file
            empty = ComposeFile(path, Document(path))
            self.composes[path] = compose_file.load(path, self.env, self.problems) if readable else empty
            for service in self.composes[path].services.values():
                learn({k: v for k, v in service.environment.items() if v})
                for file in (self.directory / f for f in service.env_files):
                    learn(read_env_file(file, Problems()) if is_file(file) else {})
        return self.composes[path]

    def _uploads(self) -> tuple[Path, ...]:
        names = [f for c in self.composes.values() for s in c.services.values() for f in s.files]
        if list(self.composes) == [self.file] and (self.directory / MANIFESTS).is_dir():
            names.append(MANIFESTS)  # only a cluster's: nobody copies them, but a run goes on only if they are the same
        found = []
        for name in dict.fromkeys([*names, *self.metadata.upload]):
            path = self.directory / name
            if not path.resolve().is_relative_to(self.directory.resolve()):
                if name in self.metadata.upload:
                    self.wrong(("upload",), f"{name!r} leads out of the scenario's folder")
            elif is_there(path):
                found.append(path)
            elif name in self.metadata.upload:
                self.wrong(("upload",), f"there is no {name!r} in {self.directory}")
        self._tell_missing_env_files()
        return tuple(found)

    def _tell_missing_env_files(self) -> None:
        """Only a warning: the earlier tool uploaded none, so that existing users have them on their nodes."""
        for compose in self.composes.values():
            for service in compose.services.values():
                for name in service.env_files:
                    if not (self.directory / name).exists():
                        where = ("services", service.name, "env_file")
                        text = f"{name} is not in the scenario's folder: Compose will look for it on the node"
                        self.problems.warn(compose.path, compose.document.line(*where), dotted(where), text)

    # -- the test -------------------------------------------------------------------------------------------------

    def _test_execution(self) -> tuple[TestExecution, tuple[Key, ...]]:
        """Both homes united, the top-level one first; then the defaults."""
        meta = self.metadata
        homes = [meta.test_execution, meta.deployment.test_execution if meta.deployment else None]
        given = [h for h in homes if h is not None]
        place: tuple[Key, ...] = ("test_execution",) if meta.test_execution else ("deployment", "test_execution")
        merged = TestExecution()
        for layer in (*given, self.layers.defaults.test_execution):
            gaps = {
                name: value
                for name in ("node", "script", "timeout", "result_paths", "wait_for_all_services", "collection_mode")
                if getattr(merged, name) is None and (value := getattr(layer, name)) is not None
            }
            if "result_paths" in gaps:
                gaps["result_paths"] = self._within(layer, gaps["result_paths"])
            merged = evolve(merged, **gaps)
        return merged, place

    def _within(self, said: TestExecution, paths: list[str]) -> list[str]:
        """The result paths that stay where they begin; others are told."""
        own = said is not self.layers.defaults.test_execution
        document = self.document if own else self.layers.defaults_doc
        home: tuple[Key, ...] = ("deployment",) if own and said is not self.metadata.test_execution else ()
        for number, path in enumerate(paths):
            if leads_out(path):
                where = (*home, "test_execution", "result_paths", number)
                text = f"{path!r} leads out of the folder that the script runs in"
                hint = "let the script write below it, or give an absolute path"
                self.problems.add(document.file, document.line(*where), dotted(where), text, hint)
        return [path for path in paths if not leads_out(path)]

    def _benchmark(self, execution: TestExecution, place: tuple[Key, ...]) -> tuple[DriverRef, float | None]:
        chosen = self.metadata.benchmark
        node = self._script_node(execution, place)
        if chosen is not None:
            return named_driver(chosen, self.document, "benchmark"), execution.timeout
        meta = self.metadata
        own = [meta.test_execution, meta.deployment.test_execution if meta.deployment else None]
        named = next((e.script for e in own if e is not None and e.script), None)
        script = execution.script or "run_test.sh"
        config = first(self.directory, TEST_CONFIG_NAMES)
        if named or is_file(self.directory / script):
            self._look_at(config)
            options: dict[str, Any] = {"script": script, "node": node}
            if execution.result_paths is not None:
                options["result_paths"] = execution.result_paths
            return DriverRef("script", options, self.document.origin(*place)), execution.timeout
        if config is not None:
            given = {"config": str(config.resolve())}
            if execution.node:
                given["node"] = node
            return DriverRef("aicp", given, str(config)), execution.timeout
        self.lacks(
            [("benchmark",), ("test_execution",), ("deployment", "test_execution")],
            ("test_execution",),
            f"nothing to run: no benchmark is set, and there is neither {script} nor {TEST_CONFIG_NAMES[0]}",
        )
        return DriverRef("noop"), None

    def _look_at(self, config: Path | None) -> None:
        """Only a warning about a file that the script reads: it may make JSON of it first."""
        try:
            if config is not None:
                load_config(config)
        except (OSError, ValueError) as error:
            file, _, rest = str(error).removeprefix(str(config)).partition(": ")
            line = file.strip(":")
            self.problems.warn(config, int(line) if line.isdigit() else 0, "", f"is not JSON: {rest or error}")

    def _script_node(self, execution: TestExecution, place: tuple[Key, ...]) -> str:
        name = execution.node or "local"
        if name not in ("local", "auto", "remote"):
            self._is_node(name, (*place, "node"), "local", "auto", "remote")
        return name

    def _collection_mode(self, execution: TestExecution, services: int) -> str:
        config = self.layers.scenarios.execution_config
        own, defaults = self.metadata.collection_mode, self.layers.defaults.collection_mode
        said = pick(own, execution.collection_mode, defaults, config.default_collection_mode)
        if said is None:
            return "comprehensive" if services >= 3 else "standard"
        mode = COLLECTION_MODES.get(said.lower())
        if mode is None:
            document, where = self._mode_place()
            text = f"unknown mode {said!r}"
            hint = f"known: {', '.join(COLLECTION_MODES)}"
            self.problems.add(document.file, document.line(*where), dotted(where), text, hint)
        return mode or "standard"

    def _mode_place(self) -> tuple[Document, tuple[Key, ...]]:
        """Where the mode that counts was said."""
        layers = self.layers
        return next(
            (document, path)
            for document, path in mode_layers(self.document, layers.defaults_doc, layers.scenarios_doc)
            if document.at(*path) is not None
        )

    def _collectors(self, mode: str, execution: TestExecution) -> tuple[DriverRef, ...]:
        paths = list(execution.result_paths or ())
        artifacts = DriverRef("artifacts", {"paths": paths, "node": execution.node or "local"})
        own = (artifacts,) if mode == "basic" else (artifacts, DriverRef("logs", {"mode": mode}))
        defaults, document = self.layers.defaults.collectors, self.layers.defaults_doc
        more = [
            *(named_driver(entry, document, "collectors", n) for n, entry in enumerate(defaults)),
            *(named_driver(entry, self.document, "collectors", n) for n, entry in enumerate(self.metadata.collectors)),
        ]
        return (*own, *more)

    # -- patience -------------------------------------------------------------------------------------------------

    def _retry(self) -> RetryPolicy:
        config = self.layers.scenarios.execution_config
        strategy = config.retry_strategy
        smart = strategy.smart_timeout or config.smart_timeout
        retry = RetryPolicy(
            max(0, strategy.service_level_retries),
            {ERROR_CLASSES.get(k, k): n for k, n in strategy.by_error_class.items()},
            max(0.0, strategy.retry_delay),
        )
        if smart is None or not smart.enabled:
            return retry
        timeouts = {ERROR_CLASSES.get(k, k): float(v) for k, v in smart.timeout_by_error_type.items() if v > 0}
        patterns = {
            ERROR_CLASSES.get(k, k): tuple(map(str, v if isinstance(v, list) else [v]))
            for k, v in smart.error_patterns.items()
        }
        return evolve(retry, timeouts=timeouts, patterns=patterns)

    def _timeouts(self, concurrency: Sequence[Concurrency], benchmark: float | None) -> Timeouts:
        base = Timeouts()
        service = _said(concurrency, "deployment_timeout") or base.service
        return Timeouts(
            deploy=max(base.deploy, service),
            service=service,
            benchmark=benchmark or base.benchmark,
        )


def _said(layers: Sequence[Concurrency], key: str) -> Any:
    return pick(*(getattr(layer, key) for layer in layers))


def _stricter(one: Condition | None, other: Condition) -> Condition:
    rank: dict[Condition, int] = {"started": 0, "healthy": 1, "completed": 2}
    return other if one is None or rank[other] > rank[one] else one
