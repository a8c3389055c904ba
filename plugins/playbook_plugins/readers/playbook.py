"""The users' folder of files: nodes, scenarios, defaults, and one folder a scenario."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from playbook_kernel.api import (
    Configuration,
    Document,
    DriverRef,
    Node,
    NoOptions,
    PluginPolicy,
    Policy,
    Problems,
    Reader,
    Sources,
    load_document,
    read_env_file,
)

from .folders import by_dependency, filtered, ordered
from .nodes import EMBEDDED, read_nodes
from .scenario import Layers, read_scenario
from .vocabulary import NO_EFFECT, DefaultsFile, ScenariosFile

T = TypeVar("T")
REPORTERS = ("json", "csv", "markdown", "html")
_SUFFIXES = (".yaml", ".yml", ".toml")


class PlaybookReader(Reader[NoOptions]):
    """Reads nodes, scenarios and defaults (.yaml, .yml or .toml) and the scenario folders."""

    def read(self, sources: Sources, problems: Problems) -> Configuration:
        if not sources.config_dir.is_dir() and sources.config_dir != sources.working_dir / "config":
            problems.add(sources.config_dir, 0, "", "there is no such folder", "see --config-dir")
        environ = _environment(sources, problems)
        scenarios_doc = _document(sources, "scenarios", environ, problems)
        defaults_doc = _document(sources, "defaults", environ, problems)
        scenarios = _file(ScenariosFile, scenarios_doc, "scenarios", problems)
        defaults = _file(DefaultsFile, defaults_doc, "defaults", problems)
        nodes = self._nodes(sources, environ, problems)
        layers = Layers(scenarios, defaults, environ, nodes)
        root = scenarios_root(sources, scenarios)
        if not root.is_dir():
            problems.add(root, 0, "", "there is no such folder of scenarios", "see --scenarios-dir")
        folders = ordered(root, scenarios.execution, scenarios_doc, problems)
        found = [read_scenario(folder, layers, problems) for folder in folders]
        arranged = by_dependency(filtered(found, scenarios.filters, scenarios_doc, problems), problems)
        between = scenarios.inter_scenario
        reports = defaults.reports or scenarios.reports
        return Configuration(
            nodes=nodes,
            scenarios=tuple(arranged),
            policy=Policy(
                max(0.0, between.wait_between_scenarios),
                between.continue_on_failure,
                max(0, between.retry_count),
                30.0 if between.retry_interval is None else max(0.0, between.retry_interval),
                scenarios.isolation,
            ),
            plugins=PluginPolicy(
                tuple(defaults.plugins.disable), dict(defaults.plugins.prefer), tuple(defaults.plugins.require)
            ),
            reporters=tuple(DriverRef(name) for name in reports or REPORTERS),
            warnings=tuple(str(w) for w in problems.warnings),
        )

    def _nodes(self, sources: Sources, environ: Mapping[str, str], problems: Problems) -> dict[str, Node]:
        path = _path(sources, "nodes", problems)
        if path is None:
            return {EMBEDDED.name: EMBEDDED}
        raw = load_document(path, Problems(), None)

        def unset(where: tuple[str | int, ...], name: str) -> str | None:
            off = len(where) > 1 and raw.at(*where[:2], "enabled") is False
            return f"variable {name} is not set; the node is disabled" if off else None

        return read_nodes(load_document(path, problems, environ, unset=unset), problems)


def scenarios_root(sources: Sources, scenarios: ScenariosFile) -> Path:
    """Where scenarios are: the flag, the file's scenarios_root, config/scenarios, scenarios."""
    if sources.scenarios_dir is not None:
        return sources.scenarios_dir
    if scenarios.execution.scenarios_root:
        return sources.working_dir / Path(scenarios.execution.scenarios_root).expanduser()
    below = sources.config_dir / "scenarios"
    return below if below.is_dir() else sources.working_dir / "scenarios"


def _environment(sources: Sources, problems: Problems) -> dict[str, str]:
    """The process environment, over config/.env, over .env: a file never overrides what is set."""
    found: dict[str, str] = {}
    for path in (sources.working_dir / ".env", sources.config_dir / ".env"):
        if path.is_file():
            found |= read_env_file(path, problems)
    return {**found, **sources.environ}


def _path(sources: Sources, stem: str, problems: Problems) -> Path | None:
    present = [p for s in _SUFFIXES if (p := sources.config_dir / f"{stem}{s}").is_file()]
    if len(present) > 1:
        problems.add(present[1], 0, "", f"{present[0].name} is there too", "keep one of them")
    return present[0] if present else None


def _document(sources: Sources, stem: str, environ: Mapping[str, str], problems: Problems) -> Document:
    path = _path(sources, stem, problems)
    return load_document(path, problems, environ) if path else Document(sources.config_dir / f"{stem}.yaml")


def _file(cls: type[T], document: Document, kind: str, problems: Problems) -> T:
    made = document.structure(cls, problems)
    for key, why in NO_EFFECT[kind].items():
        if document.data.get(key) is not None:
            problems.warn(document.file, document.line(key), key, f"has no effect: {why}")
    return made if made is not None else cls()
