"""The keeping of time: a thread a fault waits for its moment, strikes, and heals."""

from __future__ import annotations

import contextvars
import json
import threading
import time
from types import TracebackType
from typing import Any, Self

from attrs import asdict, define, evolve, field
from playbook_kernel.api import (
    Benchmark,
    Deployment,
    DriverRef,
    Effect,
    Event,
    Fault,
    FaultChanged,
    FaultPlan,
    PhaseFailed,
    PlaybookError,
    PluginError,
    Progress,
    TrialContext,
    Wound,
    current,
)

from playbook_plugins.stats.faults import FILE, Struck

EFFECT = "fault"
_COUNTED = "requests"
_TICK, _PATIENCE = 0.2, 30.0


def healer(ctx: TrialContext, effect: Effect) -> tuple[Fault[object], Wound]:
    """Who undoes an effect of a fault, and what it is; also in a process that has nothing but the journal."""
    data: dict[str, Any] = dict(effect.data)
    ref = DriverRef(data["driver"], data["options"])
    return ctx.build(Fault, ref), Wound(effect.node, data["what"], data["service"], data["data"])


def moment(plan: FaultPlan) -> str:
    """When a fault is due, in words.

    >>> moment(FaultPlan(DriverRef("kill"), at=30.0)), moment(FaultPlan(DriverRef("kill"), share=0.5))
    ('30 s after the load began', 'when 50% of the requests have ended')
    """
    if plan.at is not None:
        return f"{plan.at:g} s after the load began"
    if plan.requests is not None:
        return f"when {plan.requests} requests have ended"
    return f"when {(plan.share or 0) * 100:g}% of the requests have ended"


@define(eq=False)
class Schedule:
    """The faults of one trial, from entering, which is when the benchmark begins, to leaving."""

    ctx: TrialContext
    deployment: Deployment
    _struck: list[Struck] = field(factory=list, init=False)
    _problems: list[str] = field(factory=list, init=False)
    _broken: list[Exception] = field(factory=list, init=False)
    _threads: list[threading.Thread] = field(factory=list, init=False)
    _changed: threading.Condition = field(factory=threading.Condition, init=False)
    _hands: threading.Lock = field(factory=threading.Lock, init=False)
    _began: float | None = field(default=None, init=False)
    _done: float = field(default=0.0, init=False)
    _total: float | None = field(default=None, init=False)
    _over: bool = field(default=False, init=False)
    _emit: Any = field(default=None, init=False)

    def __enter__(self) -> Self:
        scenario = self.ctx.trial.scenario
        self._emit, self.ctx.emit = self.ctx.emit, self._listen
        if not self.ctx.build(Benchmark, scenario.benchmark).counts:
            self._began = time.monotonic()
        for index, plan in enumerate(scenario.faults):
            # A thread of its own has no scope unless it is given one.
            work = contextvars.copy_context().run
            thread = threading.Thread(target=work, args=(self._run, index, plan), name=f"fault-{index}", daemon=True)
            thread.start()
            self._threads.append(thread)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        for thread in self._threads:
            thread.join(current().timeout(_PATIENCE))
        self.ctx.emit = self._emit
        for effect in self.ctx.effects.open(EFFECT):
            try:
                self._heal(effect, at_the_end=True)
            except PlaybookError as problem:  # cleanup tries once more
                self.ctx.log.warning("a fault could not be undone yet", error=str(problem))
        data = {"schema": 1, "faults": [asdict(s) for s in self._struck]}
        (self.ctx.directory / FILE).write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")

    def check(self) -> None:
        """Raise PhaseFailed if a fault was not made as it was asked for; a broken driver's own error, which bears its name."""
        if self._broken:
            raise self._broken[0]
        if self._problems:
            raise PhaseFailed("; ".join(self._problems), hint="what was measured is not what was asked for")

    def stop(self) -> None:
        """Strike no more; returns when nobody is about to."""
        with self._changed:
            self._over = True
            self._changed.notify_all()
        if self._hands.acquire(timeout=_PATIENCE):
            self._hands.release()

    def _listen(self, event: Event) -> None:
        """The load begins, and goes on, by what the benchmark says of it."""
        if isinstance(event, Progress) and event.what == _COUNTED:
            with self._changed:
                self._began = self._began or time.monotonic()
                self._done, self._total = event.done, event.total
                self._changed.notify_all()
        self._emit(event)

    def _due(self, plan: FaultPlan) -> float | None:
        """Seconds until a fault is due, 0 if it is; None: something else must happen first."""
        if self._began is None:
            return None
        if plan.at is not None:
            return max(0.0, self._began + plan.at - time.monotonic())
        wanted = plan.requests if plan.requests is not None else (plan.share or 0.0) * (self._total or float("inf"))
        return 0.0 if self._done >= wanted else None

    def _wait(self, plan: FaultPlan) -> bool:
        """Whether its moment came before the load was over."""
        with self._changed:
            while not self._over:
                due = self._due(plan)
                if due == 0.0:
                    return True
                current().check()
                self._changed.wait(min(due or _TICK, _TICK))
        return False

    def _run(self, index: int, plan: FaultPlan) -> None:
        use = plan.fault.use
        try:
            if not self._wait(plan):
                self._problems.append(f"fault {use} was due {moment(plan)}: the load was over before")
                return
            effects = self._strike(index, plan)
            if plan.lasts is None:
                return
            until = time.monotonic() + plan.lasts
            with self._changed:
                while not self._over and (left := until - time.monotonic()) > 0:
                    current().check()
                    self._changed.wait(min(left, _TICK))
                over = self._over
            if over:
                return  # undone at the end, with the others
            for effect in effects:
                self._heal(effect)
        except Exception as error:  # noqa: BLE001 - a thread's own error is told by check()
            words = str(error) if isinstance(error, PlaybookError) else f"{type(error).__name__}: {error}"
            if not isinstance(error, PlaybookError) or isinstance(error, PluginError):
                self._broken.append(error)
            self._problems.append(f"fault {use}: {words}")
            self._tell(FaultChanged(use, index, "failed", words, time.time()))

    def _strike(self, index: int, plan: FaultPlan) -> list[Effect]:
        driver = self.ctx.build(Fault, plan.fault)
        effects = []
        for wound in driver.plan(self.ctx, self.deployment):
            with self._hands:
                if self._over:
                    raise PhaseFailed("the load was over before it was made")
                current().check()
                words: dict[str, Any] = {
                    "what": wound.what,
                    "service": wound.service,
                    "data": dict(wound.data),
                    "index": index,
                }
                effect = self.ctx.effects.intend(
                    EFFECT, wound.node, driver=plan.fault.use, options=dict(plan.fault.options), **words
                )
                effects.append(effect)
                at = time.time()
                driver.strike(self.ctx, wound)
                settled = time.time()
                self.ctx.effects.done(effect)
            one = Struck(plan.fault.use, index, wound.what, wound.node, wound.service, moment(plan), at, settled)
            self._struck.append(one)
            self._tell(FaultChanged(one.fault, index, "struck", one.what, at, wound.node, wound.service))
        return effects

    def _heal(self, effect: Effect, *, at_the_end: bool = False) -> None:
        driver, wound = healer(self.ctx, effect)
        (driver.undo if at_the_end else driver.heal)(self.ctx, wound)
        at = time.time()
        self.ctx.effects.undone(effect)
        index: Any = effect.data["index"]
        for n, one in enumerate(self._struck):
            if (one.index, one.what) == (index, wound.what):
                self._struck[n] = evolve(one, ended=at, healed=not at_the_end)
        self._tell(FaultChanged(driver_name(effect), index, "healed", wound.what, at, wound.node, wound.service))

    def _tell(self, event: FaultChanged) -> None:
        self._emit(evolve(event, trial=self.ctx.trial.id, scenario=self.ctx.trial.scenario.name))


def driver_name(effect: Effect) -> str:
    """The name of the fault that an effect is of."""
    return str(effect.data["driver"])
