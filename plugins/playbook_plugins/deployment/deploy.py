"""Deploy: create everything on every node, then start each service the moment all it depends on is ready."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from attrs import define, field
from playbook_kernel.api import (
    CommandFailed,
    Condition,
    Deployment,
    Endpoint,
    Instance,
    NodeError,
    PlaybookError,
    PluginError,
    Scenario,
    Service,
    ServiceChanged,
    ServiceFailed,
    ServiceStatus,
    TrialContext,
    current,
    run_all,
    within,
)

from . import retries
from .choose import composer_for, share_for
from .evidence import with_evidence
from .order import Outcome, run_ready_first
from .ports import refuse_taken
from .readiness import endpoint_from_checks, wait_ready
from .watch import Watch


def deploy(ctx: TrialContext, scenario: Scenario) -> Deployment:
    """Bring every service of the scenario up on its nodes. Raises ServiceFailed, NodeError or CommandFailed."""
    return _Deploy(ctx, scenario).run()


def key(service: str, node: str) -> str:
    """The name of one instance."""
    return f"{service}@{node}"


@define(eq=False)
class _Deploy:
    ctx: TrialContext
    scenario: Scenario
    _watches: dict[str, Watch] = field(factory=dict)
    _attempts: dict[str, int] = field(factory=dict)
    _began: float = field(factory=time.monotonic)

    def run(self) -> Deployment:
        nodes = self.scenario.node_names
        for result in run_all([functools.partial(self._prepare, n) for n in nodes]):
            if isinstance(result, BaseException):
                raise result
        by_key = {key(s.name, n): (s, n) for s in self.scenario.services for n in s.nodes}
        outcomes = run_ready_first(
            self._graph(),
            lambda name, started: self._bring_up(*by_key[name], started),
            limit=self.scenario.max_concurrent_services,
            seconds=None,
        )
        current().check()
        self._raise_if_failed(outcomes, by_key)
        instances = tuple(o.value for o in outcomes.values() if o.value is not None)
        composers = {n: str(self.ctx.facts.get(n, {}).get("composer", "")) for n in nodes}
        return Deployment(instances, self._endpoints(), composers)

    def _graph(self) -> Mapping[str, Mapping[str, Condition]]:
        """Every instance waits for every instance of what its service depends on."""
        nodes = {s.name: s.nodes for s in self.scenario.services}
        return {
            key(s.name, n): {key(e.service, m): e.condition for e in s.after for m in nodes.get(e.service, ())}
            for s in self.scenario.services
            for n in s.nodes
        }

    def _prepare(self, node: str) -> None:
        session, composer, share = self.ctx.session(node), composer_for(self.ctx, node), share_for(self.ctx, node)
        self._watches[node] = Watch(composer, session, share)
        for service in share.services:
            refuse_taken(self.ctx, service, share.node)
        for service in share.services:
            self._tell(service, node, "creating")
        effect = self.ctx.effects.intend(
            "stack", node, project=share.project, composer=str(self.ctx.facts[node]["composer"])
        )
        composer.prepare(self.ctx, session, share)
        self.ctx.effects.done(effect)
        for service in share.services:
            self._tell(service, node, "waiting")

    def _bring_up(self, service: Service, node: str, started: Callable[[], None]) -> Instance:
        """Start one instance and see it ready; again if what went wrong deserves it."""
        watch = self._watches[node]
        began = time.monotonic()
        once = _Once(started)
        attempt = 1
        retry, failed_by = self.scenario.retry, ""
        while True:
            self._attempts[key(service.name, node)] = attempt
            self._tell(service, node, "starting", attempt=attempt)
            try:
                with within(retries.timeout(retry, failed_by, self.scenario.timeouts.service)):
                    if attempt > 1:
                        watch.composer.reset(self.ctx, watch.session, watch.share, service.name)
                    handle = watch.composer.start(self.ctx, watch.session, watch.share, service.name)
                    watch.forget()
                    wait_ready(self.ctx, watch, service, once)
            except PlaybookError as error:
                current().check()
                failed = self._blamed(error, service, node)
                failed_by = retries.class_of(retry, failed.error_class, str(failed))
                if attempt > retries.further(retry, failed_by):
                    self._tell(service, node, "failed", str(failed), attempt=attempt)
                    raise failed from error
                self._tell(service, node, "retrying", str(failed), attempt=attempt)
                current().sleep(retry.delay)
                attempt += 1
                continue
            seconds = time.monotonic() - began
            self._tell(service, node, "ready", f"after {seconds:.2f} s", attempt=attempt)
            return Instance(service.name, node, "ready", attempt, round(seconds, 6), handle=dict(handle))

    def _blamed(self, error: PlaybookError, service: Service, node: str) -> PlaybookError:
        """Say which service it was, and what it printed last, unless that is said already."""
        if isinstance(error, (NodeError, PluginError)):
            return error
        if not isinstance(error, ServiceFailed):
            kind = "start" if isinstance(error, CommandFailed) and error.error_class == "command" else error.error_class
            error = ServiceFailed(service.name, node, str(error), error_class=kind, hint=error.hint)
        return with_evidence(error, self._watches[node], service)

    def _raise_if_failed(self, outcomes: Mapping[str, Outcome[Any]], by_key: Mapping[str, tuple[Service, str]]) -> None:
        for name, outcome in outcomes.items():
            service, node = by_key[name]
            if outcome.status == "blocked":
                self._tell(service, node, "blocked", f"{outcome.because} is not ready")
        failures = [o.error for o in outcomes.values() if o.error is not None]
        if not failures:
            return
        first, *others = failures
        if others and isinstance(first, PlaybookError):
            first.args = (f"{first}; and {len(others)} more: " + "; ".join(str(e) for e in others[:3]),)
        raise first

    def _endpoints(self) -> dict[str, Endpoint]:
        """Those nobody waits for come first: behind them stands the whole engine (a router, a proxy)."""
        found: dict[str, Endpoint] = {}
        waited_for = {e.service for s in self.scenario.services for e in s.after}
        for service in sorted(self.scenario.services, key=lambda s: s.name in waited_for):
            for node in service.nodes:
                watch = self._watches[node]
                endpoint = endpoint_from_checks(service, watch.share.node.host) or watch.composer.endpoint(
                    watch.share, service.name
                )
                if endpoint is not None:
                    found.setdefault(service.name, endpoint)
                    found[key(service.name, node)] = endpoint
        return found

    def _tell(self, service: Service, node: str, status: ServiceStatus, detail: str = "", *, attempt: int = 1) -> None:
        trial, scenario = self.ctx.trial.id, self.scenario.name
        self.ctx.emit(ServiceChanged(service.name, node, status, detail, attempt, trial=trial, scenario=scenario))


@define(eq=False)
class _Once:
    """Passes the first call on, and no other: a service that is tried again has started only once."""

    call: Callable[[], None]
    _lock: threading.Lock = field(factory=threading.Lock)
    _called: bool = False

    def __call__(self) -> None:
        with self._lock:
            if self._called:
                return
            self._called = True
        self.call()
