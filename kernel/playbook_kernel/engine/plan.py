"""What a campaign will do, all of it known and checked before the first connection."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import field, frozen

from playbook_kernel import logs
from playbook_kernel.context import CampaignContext
from playbook_kernel.drivers import Benchmark, Collector, Composer, Driver, Fault, Probe, Reporter, Share, Transport
from playbook_kernel.errors import ConfigError, PlaybookError, PluginError, words
from playbook_kernel.loading import HookManager, Loader, signed
from playbook_kernel.model import Configuration, DriverRef, Scenario
from playbook_kernel.scope import Hand, bounded, outcome, within

_PATIENCE, _GRACE = 60.0, 1.0
"""Seconds that a plugin may think about the plan, and until it is left behind then."""


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


def replanned(
    scenarios: Sequence[Scenario], config: Configuration, loader: Loader, hooks: HookManager
) -> tuple[Scenario, ...]:
    """What the plugins make of the scenarios, each of what the one before it made.

    Raises PluginError if a name comes twice: it is that of a folder of results.
    """
    ctx = CampaignContext("", Path(), config.nodes, logs.logger("plan"), loader.build, config.reporters)
    for index in range(len(hooks.calls("playbook_plan", ctx=ctx, scenarios=scenarios))):
        plugin, call = hooks.calls("playbook_plan", ctx=ctx, scenarios=scenarios)[index]
        try:
            with within(_PATIENCE):
                said = bounded(call, grace=_GRACE)
        except Exception as error:
            if isinstance(error, PlaybookError) and not isinstance(error, PluginError):
                raise
            raise signed(PluginError(f"plugin {plugin!r} failed in playbook_plan: {words(error)}"), plugin) from error
        scenarios = tuple(scenarios) if said is None else tuple(said)
        names = [s.name for s in scenarios]
        if twice := sorted({n for n in names if names.count(n) > 1}):
            raise signed(PluginError(f"plugin {plugin!r} planned {', '.join(twice)} twice: give each a name"), plugin)
    return tuple(scenarios)


def make_plan(config: Configuration, loader: Loader, hooks: HookManager | None = None) -> Plan:
    """Let plugins plan, resolve every driver, structure its options, ask it what it can see now; touches nothing.

    Raises ConfigError with every problem found, or PluginError if a plugin is what is wrong.
    """
    scenarios = config.scenarios
    if hooks is not None:
        scenarios = replanned(scenarios, config, loader, hooks)
    composers: dict[str, tuple[str, ...]] = {}
    checks = _Checks(loader, config)
    try:
        for reporter in config.reporters:
            checks.build(Reporter, reporter)
        for scenario in scenarios:
            if scenario.enabled and not scenario.skip:
                composers |= checks.scenario(scenario)
    finally:
        checks.hand.leave()
    checks.raise_if_any()
    return Plan(config, scenarios, config.warnings, composers)


@frozen
class _Question:
    """What a driver is asked; ``place`` stands before an objection that does not begin with a path of its own."""

    ref: DriverRef
    call: Callable[[], Sequence[str]]
    place: str = ""

    def placed(self, problems: Sequence[str]) -> list[str]:
        return [
            p
            if p.startswith(f"{self.ref.origin}:") or (p.startswith("/") and not self.place)
            else f"{self.place or _place(self.ref)}{p}"
            for p in problems
        ]


def _place(ref: DriverRef) -> str:
    return f"{ref.origin}: " if ref.origin else ""


class _Checks:
    """Builds drivers and keeps what goes wrong; the same complaint is kept once."""

    def __init__(self, loader: Loader, config: Configuration) -> None:
        self.loader, self.config = loader, config
        self.problems: dict[str, None] = {}
        self.plugin_errors: list[PluginError] = []
        self.hand = Hand()
        self._built: dict[tuple[type[Driver[Any]], str, int], Any] = {}

    def note(self, problems: Sequence[str]) -> None:
        self.problems.update(dict.fromkeys(problems))

    def build(self, kind: type[Driver[Any]], ref: DriverRef) -> Any:
        """The driver; None if there is none, which is noted. Many scenarios name the same options of one node."""
        key = (kind, ref.use, id(ref.options))
        if key not in self._built:
            self._built[key] = None
            try:
                self._built[key] = self.loader.build(kind, ref)
            except ConfigError as error:
                self.note(error.problems)
            except PluginError as error:
                self.blame(ref, error)
        return self._built[key]

    def blame(self, ref: DriverRef, error: PluginError) -> None:
        self.note([f"{_place(ref)}{error}"])
        self.plugin_errors.append(error)

    def scenario(self, scenario: Scenario) -> Mapping[str, tuple[str, ...]]:
        """Build all that a scenario names and ask it; returns the candidates among composers for each node."""
        asked: list[_Question] = []
        benchmark = self.build(Benchmark, scenario.benchmark)
        if benchmark is not None:
            asked.append(
                _Question(
                    scenario.benchmark,
                    functools.partial(benchmark.check, scenario.directory),
                    _place(scenario.benchmark),
                )
            )
        for fault in scenario.faults:
            driver = self.build(Fault, fault.fault)
            if driver is not None:
                asked.append(_Question(fault.fault, functools.partial(driver.check, scenario), _place(fault.fault)))
            if benchmark is not None and not benchmark.counts and fault.at is None:
                why = f"at: benchmark {scenario.benchmark.use} does not tell its requests: say seconds"
                self.note([f"{_place(fault.fault)}{why}"])
        for ref in scenario.collectors:
            self.build(Collector, ref)
        for check in (c for s in scenario.services for c in s.checks):
            self.build(Probe, check.probe)
        candidates = [(name, q) for name in scenario.node_names for q in self._composers(name, scenario)]
        said = self.answers([*asked, *(question for _, question in candidates)])
        for question, problems in zip(asked, said, strict=False):
            self.note(question.placed(problems or ()))
        objections: dict[str, dict[str, Sequence[str] | None]] = {name: {} for name, _ in candidates}
        for (name, question), problems in zip(candidates, said[len(asked) :], strict=True):
            objections[name][question.ref.use] = problems
        return {name: self._fitting(each) for name, each in objections.items()}

    def _composers(self, name: str, scenario: Scenario) -> Iterator[_Question]:
        """A question for each composer that may serve a node: an explicit choice is the only candidate."""
        node = self.config.nodes.get(name)
        if node is None:
            self.note([f"{scenario.directory}: there is no node {name!r}"])
            return
        self.build(Transport, node.transport)
        services = tuple(s for s in scenario.services if name in s.nodes)
        share = Share(node, "plan", scenario.directory, services, scenario.env_file, scenario.uploads)
        for use in self.loader.names("composer") if node.composer == "auto" else [node.composer]:
            ref = DriverRef(use, node.composer_options, node.transport.origin or f"node {name}")
            composer = self.build(Composer, ref)
            if composer is not None:
                yield _Question(ref, functools.partial(composer.check, share))

    def _fitting(self, objections: Mapping[str, Sequence[str] | None]) -> tuple[str, ...]:
        """The composers that object to nothing. What all of them object to is a problem."""
        good = tuple(use for use, problems in objections.items() if problems == [])
        if not good:
            self.note(next((problems for problems in objections.values() if problems), []))
        return good

    def answers(self, questions: Sequence[_Question]) -> list[Sequence[str] | None]:
        """What each driver objects to; None for one that could not be asked, which is noted and nobody else's problem.

        They are asked one after the other on a thread that is left behind if one does not come back.
        """
        said: list[Sequence[str] | Exception] = []
        while len(said) < len(questions):
            heard: list[Sequence[str] | Exception] = []
            call = functools.partial(_hear, questions[len(said) :], heard.append)
            try:
                with within(_PATIENCE):
                    outcome(self.hand.ask(call), grace=_GRACE)
                said += heard
            except PluginError as error:
                self.hand = Hand()
                said += [*heard, error]
        for question, answer in zip(questions, said, strict=True):
            if isinstance(answer, Exception):
                self.blame(question.ref, PluginError(f"{question.ref.use!r} failed in check: {words(answer)}"))
        return [None if isinstance(answer, Exception) else answer for answer in said]

    def raise_if_any(self) -> None:
        if not self.problems:
            return
        if self.plugin_errors and len(self.problems) == len({str(e) for e in self.plugin_errors}):
            raise PluginError("\n".join(self.problems), hint=self.plugin_errors[0].hint)
        raise ConfigError(list(self.problems))


def _hear(questions: Sequence[_Question], say: Callable[[Sequence[str] | Exception], None]) -> None:
    """Ask each; what a driver raises is an answer, too."""
    for question in questions:
        try:
            say(question.call())
        except Exception as error:  # noqa: BLE001 - a driver's fault, told with its name
            say(error)
