"""Which services a scenario has, on which nodes, by which compose files."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import define
from playbook_kernel.api import Check, Condition, Edge, Problems, Service, learn

from playbook_plugins import compose_file
from playbook_plugins.compose_file import ComposeFile
from playbook_plugins.text import Document, Key, dotted, is_file, is_there, read_env_file

from . import health
from .folders import COMPOSE_NAMES, ENV_NAMES, first, rename
from .ground import Ground, pick
from .metadata import ServiceEntry
from .nodes import CLUSTER
from .salvage import salvage

MANIFESTS = "manifests"


@define
class _Placed:
    """A service of the metadata, before it is united with the compose file."""

    entry: ServiceEntry
    path: tuple[Key, ...]
    nodes: tuple[str, ...]
    compose: Path


class Placement:
    """The services of a scenario, and the files that go to nodes with them."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._composes: dict[Path, ComposeFile] = {}
        self.env_file = first(ground.directory, ENV_NAMES)
        self._env = self._read_env(self.env_file) if self.env_file else {}

    def _read_env(self, path: Path) -> dict[str, str]:
        """What compose will see. Compose reads lines that we do not, so those are no problem; `validate-env` is strict."""
        strange = Problems()
        found = read_env_file(path, strange)
        for problem in strange.items:
            self._ground.problems.warn(problem.file, problem.line, problem.key, problem.message, problem.hint)
        learn(found)
        return found

    def services(self) -> tuple[Service, ...]:
        """Those that the metadata place, or else all of the compose file, with whatever they need."""
        raw, home = self._entries()
        placed = self._placed(raw, home) if raw else self._everything()
        placed = self._with_companions(placed)
        by_name = {p.entry.name: p for p in placed}
        services = [self._service(p, by_name) for p in placed]
        self._check_circles(services)
        return tuple(services)

    def _entries(self) -> tuple[list[Mapping[str, Any]], tuple[Key, ...]]:
        """Both homes of services; the top-level one wins where both are given, and that is said."""
        meta = self._ground.metadata
        below = meta.deployment.services if meta.deployment else None
        if meta.services:
            if below:
                where = self._ground.document.line("deployment", "services")
                self._ground.problems.warn(
                    self._ground.file, where, "deployment.services", "is not used: services is given too"
                )
            return meta.services, ("services",)
        return (below, ("deployment", "services")) if below else ([], ("services",))

    def _placed(self, raw: Sequence[Mapping[str, Any]], home: tuple[Key, ...]) -> list[_Placed]:
        placed: list[_Placed] = []
        for index, item in enumerate(raw):
            path = (*home, index)
            entry, doubt = salvage(self._ground.document, ServiceEntry, self._ground.problems, path, item)
            self._ground.doubt |= doubt
            if entry is None:
                continue
            if any(p.entry.name == entry.name for p in placed):
                self._ground.wrong((*path, "name"), f"service {entry.name!r} comes twice")
                continue
            nodes = self._nodes_of(entry, path)
            if entry.kubectl or any(self._is_cluster(n) for n in nodes):
                self._check_cluster_service(entry, path, nodes)
                placed.append(_Placed(entry, path, nodes, self._ground.file))
                continue
            compose = self._compose_path(entry.compose_file, (*path, "compose_file"))
            placed.append(_Placed(entry, path, nodes, compose))
        return placed

    def _is_cluster(self, name: str) -> bool:
        node = self._ground.layers.nodes.get(name)
        return node is not None and node.composer == CLUSTER

    def _check_cluster_service(self, entry: ServiceEntry, path: tuple[Key, ...], nodes: Sequence[str]) -> None:
        """Its composer reads `kubectl` itself; here only what other services of the file must know is checked."""
        if not entry.kubectl:
            text = f"service {entry.name!r} is on a cluster, and says no kubectl.steps"
            self._ground.lacks([(*path, "kubectl")], path, text)
        for name in nodes:
            if not self._is_cluster(name):
                self._ground.wrong(
                    (*path, "kubectl"), f"{name!r} is no cluster", "clusters stand below `kubernetes` in the nodes file"
                )

    def _nodes_of(self, entry: ServiceEntry, path: tuple[Key, ...]) -> tuple[str, ...]:
        single, several = ([v] if isinstance(v, str) else v or [] for v in (entry.node, entry.nodes))
        if several and single and several != single:
            self._ground.wrong((*path, "node"), "node and nodes say different things", "keep one of them")
        names = several or single
        if not names:
            only = self._only_node(cluster=bool(entry.kubectl))
            if only is None and self._ground.layers.nodes_doc is not None and not self._ground.layers.nodes:
                return ()
            if only is None:
                needs = [(*path, "nodes"), (*path, "node")]
                self._ground.lacks(needs, path, f"service {entry.name!r} is placed on no node", "add nodes: [NAME]")
                return ()
            return (only,)
        key = "nodes" if several else "node"
        return tuple(name for name in dict.fromkeys(names) if self._ground.is_node(name, (*path, key)))

    def _only_node(self, *, cluster: bool = False) -> str | None:
        enabled = [
            n.name for n in self._ground.layers.nodes.values() if n.enabled and self._is_cluster(n.name) is cluster
        ]
        return enabled[0] if len(enabled) == 1 else None

    def _everything(self) -> list[_Placed]:
        """Without placement the whole compose file goes to the one enabled node."""
        only = self._only_node()
        if only is None and self._ground.layers.nodes_doc is not None and not self._ground.layers.nodes:
            return []  # that there are no nodes is told of their file
        if only is None:
            self._ground.lacks(
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
            self._ground.lacks(
                [(*path, "compose_file")],
                (*path, "name"),
                f"there is no service {entry.name!r} in {placed.compose.name}",
                f"it has: {', '.join(compose.services)}",
            )
        after: dict[str, Condition] = dict.fromkeys(entry.depends_on, "healthy")
        for name in entry.depends_on:
            if name not in by_name and not self._ground.doubt.within(path[:-1], "name"):
                near = difflib.get_close_matches(name, by_name, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"known services: {', '.join(by_name)}"
                self._ground.wrong((*path, "depends_on"), f"there is no service {name!r}", hint)
        for name, condition in (described.depends_on if described else {}).items():
            if name in by_name:
                after[name] = _stricter(after.get(name), condition)
        one_shot = any(
            self._compose(p.compose).services[p.entry.name].depends_on.get(entry.name) == "completed"
            for p in by_name.values()
            if p.entry.name in self._compose(p.compose).services
        )
        check = health.merged(entry.health_check, self._ground.layers.defaults.service_health_check)
        policy = health.policy(check, self._health_timeout())
        strategy = entry.health_check.strategy
        if strategy is not None and strategy.lower() not in health.STRATEGIES:
            where = (*path, "health_check", "strategy")
            known = f"known: {', '.join(health.STRATEGIES)}"
            text = f"{strategy!r} is not known; standard is used"
            self._ground.problems.warn(
                self._ground.file, self._ground.document.line(*where), dotted(where), text, known
            )
        checks: tuple[Check, ...] = ()
        if policy.enabled and not one_shot:
            source, where = self._ground.document, (*path, "health_check")
            if entry.health_check.checks is None and check.checks is not None:
                source, where = self._ground.layers.defaults_doc, ("service_health_check",)
            checks = health.checks(check, source, where, self._ground.problems)
        edges = tuple(Edge(n, c) for n, c in after.items() if n in by_name)
        # nobody is asked about a file that is not there: that is told once
        nodes = placed.nodes if entry.kubectl or is_file(placed.compose) else ()
        return Service(entry.name, nodes, placed.compose, edges, checks, policy, one_shot, dict(entry.kubectl))

    def _health_timeout(self) -> float | None:
        shared = self._ground.layers.scenarios.execution_config.concurrent_deployment
        layers = [self._ground.metadata.concurrent_execution, shared, self._ground.layers.defaults.concurrent_execution]
        return pick(*(layer.health_check_timeout for layer in layers))

    def _check_circles(self, services: Sequence[Service]) -> None:
        after = {s.name: [e.service for e in s.after] for s in services}
        done: set[str] = set()

        def visit(name: str, trail: tuple[str, ...]) -> None:
            if name in trail:
                circle = " -> ".join((*trail[trail.index(name) :], name))
                self._ground.wrong(("services",), f"services wait for one another: {circle}")
            elif name not in done:
                for wanted in after.get(name, ()):
                    visit(wanted, (*trail, name))
                done.add(name)

        for name in after:
            visit(name, ())

    # -- compose files --------------------------------------------------------------------------------------------

    def _compose_path(self, name: str | None, where: tuple[Key, ...]) -> Path:
        if name is None:
            if (found := first(self._ground.directory, COMPOSE_NAMES)) is not None:
                return found
            if not self._ground.doubt.about(where):
                self._ground.problems.add(
                    self._ground.directory,
                    0,
                    "",
                    f"there is no {COMPOSE_NAMES[0]} in it",
                    rename(self._ground.directory),
                )
            return self._ground.directory / COMPOSE_NAMES[0]
        path = self._ground.directory / name
        if not path.resolve().is_relative_to(self._ground.directory.resolve()):
            self._ground.wrong(where, f"{name!r} leads out of the scenario's folder")
        elif not is_file(path):
            self._ground.wrong(where, f"there is no file {name!r} in {self._ground.directory}")
        return path

    def _compose(self, path: Path) -> ComposeFile:
        if path not in self._composes:
            readable = is_file(path) and path != self._ground.file
            empty = ComposeFile(path, Document(path))
            self._composes[path] = compose_file.load(path, self._env, self._ground.problems) if readable else empty
            for service in self._composes[path].services.values():
                learn({k: v for k, v in service.environment.items() if v})
                for file in (self._ground.directory / f for f in service.env_files):
                    learn(read_env_file(file, Problems()) if is_file(file) else {})
        return self._composes[path]

    def uploads(self) -> tuple[Path, ...]:
        """Files and folders of the scenario that go to the nodes."""
        names = [f for c in self._composes.values() for s in c.services.values() for f in s.files]
        if list(self._composes) == [self._ground.file] and (self._ground.directory / MANIFESTS).is_dir():
            names.append(MANIFESTS)  # only a cluster's: nobody copies them, but a run goes on only if they are the same
        found = []
        for name in dict.fromkeys([*names, *self._ground.metadata.upload]):
            path = self._ground.directory / name
            if not path.resolve().is_relative_to(self._ground.directory.resolve()):
                if name in self._ground.metadata.upload:
                    self._ground.wrong(("upload",), f"{name!r} leads out of the scenario's folder")
            elif is_there(path):
                found.append(path)
            elif name in self._ground.metadata.upload:
                self._ground.wrong(("upload",), f"there is no {name!r} in {self._ground.directory}")
        self._tell_missing_env_files()
        return tuple(found)

    def _tell_missing_env_files(self) -> None:
        """Only a warning: the earlier tool uploaded none, so that existing users have them on their nodes."""
        for compose in self._composes.values():
            for service in compose.services.values():
                for name in service.env_files:
                    if not (self._ground.directory / name).exists():
                        where = ("services", service.name, "env_file")
                        text = f"{name} is not in the scenario's folder: Compose will look for it on the node"
                        self._ground.problems.warn(compose.path, compose.document.line(*where), dotted(where), text)


def _stricter(one: Condition | None, other: Condition) -> Condition:
    rank: dict[Condition, int] = {"started": 0, "healthy": 1, "completed": 2}
    return other if one is None or rank[other] > rank[one] else one
