"""The users' folder of files: nodes, scenarios, defaults, and one folder a scenario."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from attrs import field, frozen
from playbook_kernel.api import (
    ConfigError,
    Configuration,
    DriverRef,
    Node,
    NoOptions,
    PluginPolicy,
    Policy,
    Problems,
    Reader,
    Setting,
    Sources,
    learn,
)

from playbook_plugins.home import at_home
from playbook_plugins.text import Document, dotted, is_dir, is_file, load_document, read_env_file

from . import effects
from .edit import set_member, set_value
from .folders import Folder, by_dependency, filtered, ordered
from .ground import Layers, metadata_file
from .metadata import MetadataFile
from .nodes import EMBEDDED, read_nodes, tell_secrets
from .notifications import notifications
from .salvage import salvage
from .scenario import read_scenario
from .schema import schema_of
from .vocabulary import DefaultsFile, NodesFile, ScenariosFile, named_driver

T = TypeVar("T")
REPORTERS = ("json", "csv", "markdown", "html", "classic")
_SUFFIXES = (".yaml", ".yml", ".toml")


@frozen
class Files:
    """All but the scenario folders, as it was read. ``root_origin`` says who chose the folder of scenarios."""

    environ: Mapping[str, str] = field(repr=False)
    scenarios_doc: Document
    defaults_doc: Document
    nodes_doc: Document | None
    scenarios: ScenariosFile
    defaults: DefaultsFile
    nodes: Mapping[str, Node]
    root: Path
    root_origin: str
    folders: Sequence[Folder] = ()

    @property
    def layers(self) -> Layers:
        """What stands below a scenario's own metadata."""
        return Layers(
            self.scenarios,
            self.defaults,
            self.environ,
            self.nodes,
            self.scenarios_doc,
            self.defaults_doc,
            self.nodes_doc,
        )

    @property
    def policy(self) -> Policy:
        """How the campaign as a whole behaves."""
        between, retry = self.scenarios.inter_scenario, self.scenarios.execution_config.retry_strategy
        retries = between.retry_count if between.retry_count is not None else retry.scenario_level_retries
        return Policy(
            max(0.0, between.wait_between_scenarios),
            between.continue_on_failure,
            1 if retries is None else max(0, retries),
            30.0 if between.retry_interval is None else max(0.0, between.retry_interval),
            self.scenarios.isolation,
            max_node_failures=max(0, self.scenarios.execution_config.max_node_failures),
        )


class PlaybookReader(Reader[NoOptions]):
    """Reads nodes, scenarios and defaults (.yaml, .yml or .toml) and the scenario folders."""

    def read(self, sources: Sources, problems: Problems) -> Configuration:
        files = read_files(sources, problems)
        layers = files.layers
        found = [read_scenario(folder, layers, problems) for folder in files.folders]
        documents = {scenario.name: document for scenario, document in found}
        if any(effects.is_ours(d.file) for d in (files.scenarios_doc, files.defaults_doc)):
            problems.notes[:] = [n for n in problems.notes if n.message != effects.NEWLY]
        chosen = filtered([s for s, _ in found], files.scenarios.filters, files.scenarios_doc, problems)
        return Configuration(
            nodes=files.nodes,
            scenarios=tuple(by_dependency(chosen, documents, problems)),
            policy=files.policy,
            plugins=_plugins(sources, files.defaults, files.defaults_doc, problems),
            reporters=(
                *_reporters(files),
                *notifications(files.scenarios.notifications, files.scenarios_doc, problems),
            ),
            warnings=tuple(str(w) for w in problems.warnings),
        )

    def plugins(self, sources: Sources, problems: Problems) -> PluginPolicy:
        document = _document(sources, "defaults", _environment(sources, problems), problems)
        return _plugins(sources, _file(DefaultsFile, document, "defaults", problems), document, problems)

    def disable(self, sources: Sources, plugin: str, *, disabled: bool) -> Path:
        """In ``plugins.disable`` of the defaults file, which is made if there is none."""
        file = _path(sources, "defaults", Problems()) or sources.config_dir / "defaults.yaml"
        if not file.exists() and not disabled:
            return file
        file.parent.mkdir(parents=True, exist_ok=True)
        set_member(file, ("plugins", "disable"), plugin, present=disabled)
        return file

    def explain(self, sources: Sources) -> Sequence[Setting]:
        from .explain import settings

        return settings(sources, read_files(sources, Problems()))

    def schemas(self) -> Mapping[str, Mapping[str, Any]]:
        files = {"nodes": NodesFile, "scenarios": ScenariosFile, "defaults": DefaultsFile, "metadata": MetadataFile}
        return {name: schema_of(cls, f"{name} file of playbook-kernel") for name, cls in files.items()}

    def enable(self, sources: Sources, scenario: str, *, enabled: bool) -> Path:
        """In the entry of ``custom_order`` where there is one, else in the scenario's metadata."""
        files = read_files(sources, Problems())
        folder = next((f for f in files.folders if f.name == scenario), None)
        if folder is None:
            names = [f.name for f in files.folders]
            near = difflib.get_close_matches(scenario, names, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(names) or 'none'}"
            raise ConfigError([f"no scenario is called {scenario!r}"], hint=hint)
        metadata = metadata_file(folder.path)
        if not folder.entry:
            set_value(metadata, ("enabled",), enabled)
            return metadata
        if enabled and load_document(metadata, Problems(), None).at("enabled") is False:
            set_value(metadata, ("enabled",), enabled)
        set_value(files.scenarios_doc.file, (*folder.entry, "enabled"), enabled)
        return files.scenarios_doc.file


def read_files(sources: Sources, problems: Problems) -> Files:
    """Read everything but the scenario folders, and find those."""
    if not sources.config_dir.is_dir() and sources.config_dir != sources.working_dir / "config":
        problems.add(sources.config_dir, 0, "", "there is no such folder", "see --config-dir")
    environ = _environment(sources, problems)
    scenarios_doc = _document(sources, "scenarios", environ, problems)
    defaults_doc = _document(sources, "defaults", environ, problems)
    scenarios = _file(ScenariosFile, scenarios_doc, "scenarios", problems)
    defaults = _file(DefaultsFile, defaults_doc, "defaults", problems)
    nodes_doc = _nodes_document(sources, environ, problems)
    nodes = {EMBEDDED.name: EMBEDDED} if nodes_doc is None else read_nodes(nodes_doc, problems)
    root, origin = scenarios_root(sources, scenarios, scenarios_doc)
    if not is_dir(root):
        problems.add(root, 0, "", "there is no such folder of scenarios", "see --scenarios-dir")
    stray = sources.config_dir / "benchmark.yaml"
    if stray.is_file():
        problems.warn(stray, 0, "", "has no effect: benchmark and load in a scenario's metadata take its place")
    folders = ordered(root, scenarios.execution, scenarios_doc, problems)
    return Files(environ, scenarios_doc, defaults_doc, nodes_doc, scenarios, defaults, nodes, root, origin, folders)


def _reporters(files: Files) -> list[DriverRef]:
    for said, document in ((files.defaults, files.defaults_doc), (files.scenarios, files.scenarios_doc)):
        if said.reports:
            return [named_driver(entry, document, "reports", n) for n, entry in enumerate(said.reports)]
    return [DriverRef(name) for name in REPORTERS]


def _plugins(sources: Sources, defaults: DefaultsFile, document: Document, problems: Problems) -> PluginPolicy:
    section = defaults.plugins
    paths = []
    for number, path in enumerate(section.paths):
        place = sources.working_dir / at_home(path)
        if path.endswith(".py") and not is_file(place):
            key = ("plugins", "paths", number)
            problems.add(document.file, document.line(*key), dotted(key), f"there is no file {place}")
        else:
            paths.append(str(place.resolve()) if path.endswith(".py") else path)
    if section.import_timeout <= 0:
        line = document.line("plugins", "import_timeout")
        problems.add(document.file, line, "plugins.import_timeout", "expected a number of seconds above 0")
    lists = (tuple(section.disable), dict(section.prefer), tuple(section.require), tuple(paths))
    return PluginPolicy(*lists, section.import_timeout)


def _nodes_document(sources: Sources, environ: Mapping[str, str], problems: Problems) -> Document | None:
    path = _path(sources, "nodes", problems)
    if path is None:
        return None
    raw = load_document(path, Problems(), None)
    tell_secrets(raw, problems)

    def unset(where: tuple[str | int, ...], name: str) -> str | None:
        off = len(where) > 1 and raw.at(*where[:2], "enabled") is False
        return f"variable {name} is not set; the node is disabled" if off else None

    return load_document(path, problems, environ, unset=unset)


def scenarios_root(sources: Sources, scenarios: ScenariosFile, document: Document) -> tuple[Path, str]:
    """Where scenarios are, and who says so: the flag, the file's scenarios_root, config/scenarios, scenarios."""
    if sources.scenarios_dir is not None:
        return sources.scenarios_dir, "--scenarios-dir"
    if scenarios.execution.scenarios_root:
        origin = f"{document.file}:{document.line('execution', 'scenarios_root')}"
        return sources.working_dir / at_home(scenarios.execution.scenarios_root), origin
    below = sources.config_dir / "scenarios"
    return (below if below.is_dir() else sources.working_dir / "scenarios"), "default"


def env_files(sources: Sources) -> list[Path]:
    """The env files that are read, the stronger one last."""
    return [p for p in (sources.working_dir / ".env", sources.config_dir / ".env") if p.is_file()]


def _environment(sources: Sources, problems: Problems) -> dict[str, str]:
    """The process environment, over config/.env, over .env: a file never overrides what is set."""
    found: dict[str, str] = {}
    for path in env_files(sources):
        found |= read_env_file(path, problems)
    learn(found)
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
    made, _ = salvage(document, cls, problems)
    effects.tell(document, kind, problems)
    effects.check_bounds(document, problems)
    return made if made is not None else cls()
