"""Every effective value with the place that it comes from, for ``config show``.

Values are those of the objects that the campaign works with; what is looked up here is only who said them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attrs import NOTHING, Factory, fields, has, resolve_types
from playbook_kernel.api import Problems, Scenario, Service, Setting, Sources

from playbook_plugins.text import Document, Key, dotted

from .execution import mode_layers
from .notifications import notifications
from .scenario import read_scenario
from .vocabulary import ClusterEntry, DefaultsFile, NodeEntry, ScenariosFile

if TYPE_CHECKING:
    from .playbook import Files

DEFAULT = "default"
Layers = Sequence[tuple[Document, tuple[Key, ...]]]

_HEALTH: Mapping[str, tuple[str, ...]] = {
    "enabled": ("enabled",),
    "grace": ("startup_grace_period",),
    "interval": ("retry_delay", "check_interval"),
    "retries": ("max_retries",),
    "timeout": ("startup_timeout",),
    "abort": ("failure_action",),
}
"""Fields of the health policy, and the keys that decide them, the stronger first."""


def settings(sources: Sources, files: Files) -> list[Setting]:
    """List them: folders, nodes, the scenarios and defaults files, then each scenario."""
    notifications(
        files.scenarios.notifications, files.scenarios_doc, Problems()
    )  # what is secret in there is known then
    usual = sources.config_dir == sources.working_dir / "config"
    found = [
        Setting("config_dir", str(sources.config_dir), DEFAULT if usual else "--config-dir"),
        Setting("scenarios_dir", str(files.root), files.root_origin),
    ]
    for name, node in files.nodes.items():
        if files.nodes_doc is None:
            found.append(Setting(f"nodes.{name}.transport", node.transport.use, DEFAULT))
            found.append(Setting(f"nodes.{name}.composer", node.composer, DEFAULT))
        else:
            cluster = files.nodes_doc.at("kubernetes", name) is not None
            found += (
                _said(ClusterEntry, files.nodes_doc, ("kubernetes", name))
                if cluster
                else _said(NodeEntry, files.nodes_doc, ("nodes", name))
            )
    found += _said(ScenariosFile, files.scenarios_doc, ())
    found += _between(files)
    found += _said(DefaultsFile, files.defaults_doc, ())
    for folder in files.folders:
        scenario, document = read_scenario(folder, files.layers, Problems())
        entry = (files.scenarios_doc, folder.entry) if folder.entry else None
        found += _scenario(scenario, document, files, entry)
    return found


def _between(files: Files) -> Iterator[Setting]:
    """What counts between scenarios where the file leaves it open."""
    between, policy = files.scenarios.inter_scenario, files.policy
    if between.retry_count is None:
        retry = [(files.scenarios_doc, ("execution_config", "retry_strategy"))]
        yield Setting("inter_scenario.retry_count", policy.retries, _origin(retry, "scenario_level_retries") or DEFAULT)
    if between.retry_interval is None:
        yield Setting("inter_scenario.retry_interval", policy.retry_interval, DEFAULT)


def _said(cls: type[Any], document: Document, path: tuple[Key, ...]) -> Iterator[Setting]:
    """Every key of a mapping: as the file has it, or its default; what is left open to the layer below is left out."""
    resolve_types(cls)
    for item in fields(cls):
        where = (*path, item.name)
        value, kind = document.at(*where), item.type
        if isinstance(kind, type) and has(kind) and item.default is not None:
            yield from _said(kind, document, where)
        elif value is not None:
            yield Setting(dotted(where), value, _place(document, where))
        elif item.default is not NOTHING and (default := _made(item.default)) not in (None, [], {}):
            yield Setting(dotted(where), default, DEFAULT)


def _made(default: Any) -> Any:
    return default.factory() if isinstance(default, Factory) else default  # type: ignore[arg-type]


def _place(document: Document, path: tuple[Key, ...]) -> str:
    return f"{document.file}:{document.line(*path)}"


def _origin(layers: Layers, *keys: str) -> str:
    """The first layer that says one of the keys, the stronger key first."""
    for key in keys or ("",):
        for document, path in layers:
            where = (*path, key) if key else path
            if document.at(*where) is not None:
                return _place(document, where)
    return ""


def _scenario(
    scenario: Scenario, own: Document, files: Files, entry: tuple[Document, tuple[Key, ...]] | None
) -> Iterator[Setting]:
    test = [
        (own, ("test_execution",)),
        (own, ("deployment", "test_execution")),
        (files.defaults_doc, ("test_execution",)),
    ]
    shared = [
        (own, ("concurrent_execution",)),
        (files.scenarios_doc, ("execution_config", "concurrent_deployment")),
        (files.defaults_doc, ("concurrent_execution",)),
    ]
    top: Layers = [(own, ())]
    benchmark, retry = scenario.benchmark, ("execution_config", "retry_strategy")
    kept = next((c.options["mode"] for c in scenario.collectors if "mode" in c.options), "basic")
    script, mode = benchmark.use == "script", _origin(_mode(own, files))
    rows: list[tuple[str, Any, str]] = [
        ("enabled", scenario.enabled, _origin([*([entry] if entry else []), (own, ())], "enabled")),
        ("tags", list(scenario.tags), _origin(top, "tags")),
        ("dependencies", list(scenario.depends_on), _origin(top, "dependencies")),
        ("benchmark", benchmark.use, _origin(top, "benchmark") or (_origin(test, "script") if script else "")),
        ("test_execution.node", benchmark.options.get("node") if script else None, _origin(test, "node")),
        ("test_execution.script", benchmark.options.get("script") if script else None, _origin(test, "script")),
        ("test_execution.result_paths", benchmark.options.get("result_paths"), _origin(test, "result_paths")),
        ("test_execution.timeout", scenario.timeouts.benchmark, _origin(test, "timeout")),
        ("collection_mode", kept, mode),
        ("collectors", [c.use for c in scenario.collectors], mode),
        (
            "max_concurrent_services",
            scenario.max_concurrent_services,
            _origin(shared, "max_concurrent_services"),
        ),
        (
            "max_concurrent_health_checks",
            scenario.max_concurrent_checks,
            _origin(shared, "max_concurrent_health_checks", "max_workers_health_check"),
        ),
        ("deployment_timeout", scenario.timeouts.service, _origin(shared, "deployment_timeout")),
        (
            "service_level_retries",
            scenario.retry.other,
            _origin([(files.scenarios_doc, retry)], "service_level_retries"),
        ),
        ("retry_delay", scenario.retry.delay, _origin([(files.scenarios_doc, retry)], "retry_delay")),
    ]
    for key, value, origin in rows:
        if value not in (None, [], ""):
            yield Setting(f"scenario {scenario.name}: {key}", value, origin or DEFAULT)
    for service in scenario.services:
        yield from _service(scenario, service, own, files, shared)


def _mode(own: Document, files: Files) -> Layers:
    return mode_layers(own, files.defaults_doc, files.scenarios_doc)


def _service(scenario: Scenario, service: Service, own: Document, files: Files, shared: Layers) -> Iterator[Setting]:
    home: tuple[Key, ...] = ()
    for place in (("services",), ("deployment", "services")):
        for index, item in enumerate(own.at(*place) or ()):
            if isinstance(item, Mapping) and item.get("name") == service.name and not home:
                home = (*place, index)
    layers: Layers = [(own, (*home, "health_check"))] if home else []
    layers = [*layers, (files.defaults_doc, ("service_health_check",))]
    key = f"scenario {scenario.name}: services.{service.name}"
    nodes = _origin([(own, home)], "nodes", "node") if home else ""
    yield Setting(f"{key}.nodes", list(service.nodes), nodes or DEFAULT)
    if service.after:
        said = _origin([(own, home)], "depends_on") if home else ""
        yield Setting(
            f"{key}.after", [f"{e.service} ({e.condition})" for e in service.after], said or str(service.definition)
        )
    strategy = _origin(layers, "strategy")
    for name, keys in _HEALTH.items():
        origin = _origin(layers, *keys)
        if not origin and name == "timeout":
            origin = _origin(shared, "health_check_timeout")
        if not origin and name in ("grace", "interval", "retries") and strategy:
            origin = f"{strategy} (strategy)"
        yield Setting(f"{key}.health.{name}", getattr(service.health, name), origin or DEFAULT)
    probes = [c.probe.use + ("" if c.required else " (advisory)") for c in service.checks]
    yield Setting(f"{key}.checks", probes, _origin(layers, "checks") or DEFAULT)
