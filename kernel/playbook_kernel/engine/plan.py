"""What a campaign will do, all of it known and checked before the first connection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import evolve, field, frozen

from playbook_kernel import graph, logs
from playbook_kernel.config import Problems
from playbook_kernel.context import CampaignContext
from playbook_kernel.drivers import Benchmark, Collector, Composer, Driver, Probe, Reporter, Share, Transport
from playbook_kernel.errors import ConfigError, PlaybookError, PluginError
from playbook_kernel.loading import HookManager, Loader, signed
from playbook_kernel.model import Configuration, DriverRef, Node, Scenario


@frozen
class Plan:
    """Scenarios in the order they run; those with ``skip`` or ``enabled=False`` are told, and not run."""

    config: Configuration
    scenarios: tuple[Scenario, ...]
    warnings: tuple[str, ...] = ()
    composers: Mapping[str, tuple[str, ...]] = field(factory=dict)

    @property
    def runnable(self) -> tuple[Scenario, ...]:
        """Those that will really run."""
        return tuple(s for s in self.scenarios if s.enabled and not s.skip)

    def describe(self) -> dict[str, Any]:
        """Describe the plan as data, for ``--dry-run``."""
        return {
            "scenarios": [self._scenario(s) for s in self.scenarios],
            "nodes": sorted({n for s in self.runnable for n in s.node_names}),
            "policy": {
                "wait_between": self.config.policy.wait_between,
                "continue_on_failure": self.config.policy.continue_on_failure,
                "retries": self.config.policy.retries,
            },
            "reporters": [r.use for r in self.config.reporters],
            "warnings": list(self.warnings),
        }

    def _scenario(self, scenario: Scenario) -> dict[str, Any]:
        after = {s.name: [e.service for e in s.after] for s in scenario.services}
        estimates = {s.name: 1.0 for s in scenario.services}
        path = graph.critical_path(after, estimates)[0] if after else ()
        return {
            "name": scenario.name,
            "runs": scenario.enabled and not scenario.skip,
            "why_not": "" if scenario.enabled and not scenario.skip else scenario.skip or "disabled",
            "description": scenario.description,
            "directory": str(scenario.directory),
            "services": [
                {
                    "name": s.name,
                    "nodes": list(s.nodes),
                    "after": [{"service": e.service, "condition": e.condition} for e in s.after],
                    "checks": [c.probe.use for c in s.checks],
                }
                for s in scenario.services
            ],
            "batches": [list(batch) for batch in graph.batches(after)],
            "critical_path": list(path),
            "composers": {n: list(self.composers.get(n, ())) for n in scenario.node_names},
            "benchmark": scenario.benchmark.use,
            "collectors": [c.use for c in scenario.collectors],
            "depends_on": list(scenario.depends_on),
            "timeouts": {"deploy": scenario.timeouts.deploy, "benchmark": scenario.timeouts.benchmark},
        }


def select(config: Configuration, names: Sequence[str] | None) -> tuple[Scenario, ...]:
    """The scenarios that were named, in order and whatever the filters say; all of them for None. Raises ConfigError."""
    if names is None:
        return config.scenarios
    known = {s.name: s for s in config.scenarios}
    missing = [n for n in names if n not in known]
    if missing:
        import difflib

        near = difflib.get_close_matches(missing[0], list(known), n=1)
        raise ConfigError(
            [f"no scenario is called {n!r}" for n in missing],
            hint=f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(known) or 'none'}",
        )
    return tuple(evolve(known[n], skip="") for n in known if n in names)


def replanned(
    scenarios: Sequence[Scenario], config: Configuration, loader: Loader, hooks: HookManager
) -> tuple[Scenario, ...]:
    """What the plugins make of the scenarios, each of what the one before it made.

    Raises PluginError if a name comes twice: it is that of a folder of results.
    """
    ctx = CampaignContext("", Path(), config.nodes, logs.logger("plan"), loader.build, config.reporters)
    for index in range(len(hooks.calls("playbook_plan", ctx=ctx, scenarios=scenarios))):
        plugin, call = hooks.calls("playbook_plan", ctx=ctx, scenarios=scenarios)[index]
        said = call()
        scenarios = tuple(scenarios) if said is None else tuple(said)
        names = [s.name for s in scenarios]
        if twice := sorted({n for n in names if names.count(n) > 1}):
            raise signed(PluginError(f"plugin {plugin!r} planned {', '.join(twice)} twice: give each a name"), plugin)
    return tuple(scenarios)


def make_plan(
    config: Configuration, names: Sequence[str] | None, loader: Loader, hooks: HookManager | None = None
) -> Plan:
    """Let plugins plan, resolve every driver, structure its options, ask it what it can see now; touches nothing.

    Raises ConfigError with every problem found, or PluginError if a plugin is what is wrong.
    """
    scenarios = select(config, names)
    if hooks is not None:
        scenarios = replanned(scenarios, config, loader, hooks)
    checks = _Checks(loader)
    composers: dict[str, tuple[str, ...]] = {}
    for reporter in config.reporters:
        checks.build(Reporter, reporter)
    for scenario in scenarios:
        if not scenario.enabled or scenario.skip:
            continue
        benchmark = checks.build(Benchmark, scenario.benchmark)
        if benchmark is not None:
            checks.note(benchmark.check(scenario.directory))
        for ref in scenario.collectors:
            checks.build(Collector, ref)
        for check in (c for s in scenario.services for c in s.checks):
            checks.build(Probe, check.probe)
        for name in scenario.node_names:
            node = config.nodes.get(name)
            if node is None:
                checks.note([f"{scenario.directory}: there is no node {name!r}"])
                continue
            checks.build(Transport, node.transport)
            composers[name] = checks.composers(node, scenario)
    checks.raise_if_any()
    return Plan(config, scenarios, config.warnings, composers)


class _Checks:
    """Builds drivers and keeps what goes wrong; the same complaint is kept once."""

    def __init__(self, loader: Loader) -> None:
        self.loader = loader
        self.problems: dict[str, None] = {}
        self.plugin_errors: list[PluginError] = []

    def note(self, problems: Sequence[str]) -> None:
        self.problems.update(dict.fromkeys(problems))

    def build(self, kind: type[Driver[Any]], ref: DriverRef) -> Any:
        try:
            return self.loader.build(kind, ref)
        except ConfigError as error:
            self.note(error.problems)
        except PluginError as error:
            self.note([f"{ref.origin}: {error}" if ref.origin else str(error)])
            self.plugin_errors.append(error)
        return None

    def composers(self, node: Node, scenario: Scenario) -> tuple[str, ...]:
        """The candidates for a node. What all of them object to is a problem; an explicit choice is the only candidate."""
        names = self.loader.names("composer") if node.composer == "auto" else [node.composer]
        services = tuple(s for s in scenario.services if node.name in s.nodes)
        share = Share(node, "plan", scenario.directory, services, scenario.env_file, scenario.uploads)
        objections: dict[str, Sequence[str]] = {}
        for name in names:
            composer = self.build(Composer, DriverRef(name, {}, f"node {node.name}"))
            if composer is not None:
                objections[name] = tuple(composer.check(share))
        good = tuple(n for n, problems in objections.items() if not problems)
        if objections and not good:
            self.note(next(iter(objections.values())))
        return good

    def raise_if_any(self) -> None:
        if not self.problems:
            return
        only_plugins = self.plugin_errors and len(self.problems) == len({str(e) for e in self.plugin_errors})
        if only_plugins:
            raise PluginError("\n".join(self.problems), hint=self.plugin_errors[0].hint)
        raise ConfigError(list(self.problems))


def problems_of(config_problems: Problems, error: PlaybookError | None) -> list[str]:
    """Everything that is wrong, from the files and from the plan, for ``validate``."""
    found = [str(p) for p in config_problems.items]
    if isinstance(error, ConfigError):
        found += error.problems
    elif error is not None:
        found.append(str(error))
    return found
