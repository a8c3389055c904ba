"""One trial, phase by phase. A failure before ``collect`` skips to it; ``cleanup`` always runs.

=============  ==========================================================================================
phase          it has failed when
=============  ==========================================================================================
discover       a node cannot be reached, a plugin raises, two plugins contradict one another
deploy         no plugin brings the services up, or one raises
healthcheck    a verdict is bad, or there are services and no verdict at all
benchmark      no plugin measures, one raises, or the measurement is empty
collect        never: what could not be brought home is a warning
cleanup        a plugin raises, or something of ours is left on a node
=============  ==========================================================================================
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from attrs import define, evolve, field

from playbook_kernel.context import TrialContext
from playbook_kernel.errors import (
    Cancelled,
    PhaseFailed,
    PhaseTimeout,
    PlaybookError,
    PluginError,
    PluginTimeout,
    words,
)
from playbook_kernel.loading import HookManager, called, origin, signed
from playbook_kernel.model import (
    Artifact,
    Deployment,
    Event,
    FactsFound,
    Health,
    HealthChecked,
    Measurement,
    Phase,
    PhaseEnded,
    PhaseOutcome,
    PhaseStarted,
    PhaseStatus,
    Residue,
    ResidueFound,
    Status,
    TrialResult,
    Warned,
)
from playbook_kernel.scope import Cancel, run_all, within

from .store import is_full, now

T = TypeVar("T")


@define(eq=False)
class TrialRun:
    """Runs the phases of one trial; ``cancel`` stops whichever measures or deploys, never the cleaning up."""

    ctx: TrialContext
    hooks: HookManager
    cancel: Cancel
    grace: float
    _started: str = field(factory=now)
    _began: float = field(factory=time.monotonic)
    _outcomes: list[PhaseOutcome] = field(factory=list)
    _deployment: Deployment | None = None
    _health: list[Health] = field(factory=list)
    _measurement: Measurement | None = None
    _artifacts: list[Artifact] = field(factory=list)
    _residue: list[Residue] = field(factory=list)
    _warnings: list[str] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        emit = self.ctx.emit

        def noting(event: Event) -> None:
            emit(event)  # first: one that cannot be told must not be in the result, which could not be told either
            if isinstance(event, Warned):
                self._warnings.append(f"{event.node}: {event.message}" if event.node else event.message)

        self.ctx.emit = noting

    def run(self) -> TrialResult:
        """Pass through every phase; never raises."""
        steps: Sequence[tuple[Phase, Callable[[], None]]] = (
            ("discover", self._discover),
            ("deploy", self._deploy),
            ("healthcheck", self._healthcheck),
            ("benchmark", self._benchmark),
        )
        good = True
        for phase, step in steps:
            good = good and self._phase(phase, step, self.cancel)
        # Evidence and order are wanted all the more after a cancellation, so these two have a flag of their own.
        self._phase("collect", self._collect, Cancel())
        clean = self._phase("cleanup", self._cleanup, Cancel())
        cancelled = any(o.status == "cancelled" for o in self._outcomes)
        status: Status = "cancelled" if cancelled else "completed" if good else "failed"
        return self._result(status, clean=clean)

    def clean_up_only(self) -> TrialResult:
        """What a later process does for one that died: nothing but the cleanup."""
        return self._result("failed", clean=self._phase("cleanup", self._cleanup, Cancel()))

    def survey(self) -> TrialResult:
        """Find out what is true of the nodes, and nothing else."""
        return self._result(
            "completed" if self._phase("discover", self._discover, self.cancel) else "failed", clean=True
        )

    def _result(self, status: Status, *, clean: bool) -> TrialResult:
        trial = self.ctx.trial
        return TrialResult(
            trial.id,
            trial.scenario.name,
            status,
            trial.attempt,
            self._started,
            now(),
            round(time.monotonic() - self._began, 6),
            tuple(self._outcomes),
            dict(self.ctx.facts),
            self._deployment,
            tuple(self._health),
            self._measurement,
            tuple(self._artifacts),
            tuple(self._residue),
            clean,
            tuple(self._warnings),
        )

    def _tell(self, make: Callable[..., Event], *args: Any) -> None:
        self.ctx.emit(make(*args, trial=self.ctx.trial.id, scenario=self.ctx.trial.scenario.name))

    def _phase(self, phase: Phase, step: Callable[[], None], cancel: Cancel) -> bool:
        self._tell(PhaseStarted, phase)
        started, began = now(), time.monotonic()
        outcome = PhaseOutcome(phase, "ok", 0.0, started)
        try:
            with within(self.ctx.trial.scenario.timeouts.of(phase), cancel):
                cancel.check()
                step()
        except Exception as error:  # noqa: BLE001 - whatever a plugin raises is this phase's outcome
            outcome = self._failed(outcome, error)
        outcome = evolve(outcome, seconds=round(time.monotonic() - began, 6))
        self._outcomes.append(outcome)
        self._tell(PhaseEnded, outcome)
        return outcome.status == "ok"

    def _failed(self, outcome: PhaseOutcome, error: Exception) -> PhaseOutcome:
        status: PhaseStatus = (
            "cancelled" if isinstance(error, Cancelled)
            else "timeout" if isinstance(error, PhaseTimeout | PluginTimeout)
            else "failed"
        )  # fmt: skip
        if not isinstance(error, PlaybookError):
            self.ctx.log.error("a plugin raised", phase=outcome.phase, exc_info=error)
        return evolve(
            outcome,
            status=status,
            error=words(error),
            error_class=error.error_class if isinstance(error, PlaybookError) else "plugin",
            plugin=origin(error),
            node=str(getattr(error, "node", "")),
            hint=(error.hint or "") if isinstance(error, PlaybookError) else _hint(error),
        )

    def _ask(self, hook: str, **words: Any) -> Any:
        return called(functools.partial(getattr(self.hooks.hook, hook), ctx=self.ctx, **words), grace=self.grace)

    def _ask_for(self, kind: type[T], hook: str, **words: Any) -> T:
        value = self._ask(hook, **words)
        if value is None:
            raise PhaseFailed(f"no plugin took {hook} on")
        if not isinstance(value, kind):
            raise PluginError(f"{hook} gave {type(value).__name__}, not {kind.__name__}")
        return value

    # -- the phases -----------------------------------------------------------------------------------------------

    def _discover(self) -> None:
        names = self.ctx.trial.scenario.node_names
        results = run_all([functools.partial(self._facts_of, name) for name in names])
        errors = [r for r in results if isinstance(r, Exception)]
        if len(errors) > 1:
            errors[0].args = ("; ".join(map(str, errors)),)
        if errors:
            raise errors[0]

    def _facts_of(self, name: str) -> None:
        session = called(lambda: self.ctx.session(name), grace=self.grace)
        node = self.ctx.nodes[name]
        facts = self.ctx.facts.setdefault(name, {})
        said: dict[str, str] = {}
        for plugin, call in self.hooks.calls("playbook_discover", ctx=self.ctx, node=node, session=session):
            for key, value in (called(call, grace=self.grace) or {}).items():
                if key in facts and facts[key] != value:
                    raise signed(
                        PluginError(
                            f"{name}: plugins {said[key]} and {plugin} contradict one another: "
                            f"{key} is {facts[key]!r} or {value!r}"
                        ),
                        plugin,
                    )
                facts[key], said[key] = value, plugin
        self._tell(FactsFound, name, dict(facts))

    def _deploy(self) -> None:
        self._deployment = self._ask_for(Deployment, "playbook_deploy", scenario=self.ctx.trial.scenario)

    def _healthcheck(self) -> None:
        said = self._ask("playbook_healthcheck", deployment=self._deployment)
        for verdict in (h for one in said for h in ([one] if isinstance(one, Health) else one or ())):
            self._health.append(verdict)
            self._tell(HealthChecked, verdict)
        if self.ctx.trial.scenario.services and not self._health:
            raise PhaseFailed("nothing was checked: there are services, and no plugin gave a verdict")
        if bad := [h for h in self._health if not h.ok and not h.advisory]:
            raise _unhealthy(bad)

    def _benchmark(self) -> None:
        measured = self._ask_for(
            Measurement, "playbook_benchmark", deployment=self._deployment, load=self.ctx.trial.scenario.load
        )
        unknown = [f"{name} is {m.value}" for name, m in measured.metrics.items() if not math.isfinite(m.value)]
        if unknown or not measured.metrics:
            raise PhaseFailed(f"nothing was measured: {', '.join(unknown) or 'the benchmark gave no metric at all'}")
        self._measurement = measured

    def _collect(self) -> None:
        for plugin, call in self.hooks.calls("playbook_collect", ctx=self.ctx, deployment=self._deployment):
            try:
                self._artifacts += called(call, grace=self.grace) or ()
            except Exception as error:  # noqa: BLE001 - isolated: the others still collect
                self.ctx.warn(f"{plugin} could not collect: {words(error)}")

    def _cleanup(self) -> None:
        failures: list[Exception] = []
        for _, call in self.hooks.calls("playbook_cleanup", ctx=self.ctx, deployment=self._deployment):
            try:
                self._residue += called(call, grace=self.grace) or ()
            except Exception as error:  # noqa: BLE001 - isolated: the others still clean up
                failures.append(error)
        for residue in self._residue:
            self._tell(ResidueFound, residue)
        if failures:
            raise failures[0]
        if left := [r for r in self._residue if not r.foreign]:
            things = ", ".join(f"{r.kind} {r.name} on {r.node}" for r in left[:5])
            more = f" and {len(left) - 5} more" if len(left) > 5 else ""
            raise PhaseFailed(f"left behind: {things}{more}")
        if still := self.ctx.effects.open():
            things = ", ".join(sorted({f"{e.kind} on {e.node}" for e in still})[:5])
            raise PhaseFailed(f"nobody says that this was undone: {things}")


def _hint(error: Exception) -> str:
    return "the disk of this machine is full" if isinstance(error, OSError) and is_full(error) else ""


def _unhealthy(bad: Sequence[Health]) -> PhaseFailed:
    words = "; ".join(f"{h.service or 'deployment'} on {h.node or '?'}: {h.detail}" for h in bad[:5])
    error = PhaseFailed(f"unhealthy: {words}")
    error.error_class = "health"
    return error
