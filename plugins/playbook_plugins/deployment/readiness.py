"""When is a service ready? Our own probes say, from the moment it starts."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from attrs import evolve
from playbook_kernel.api import (
    Check,
    Deployment,
    Endpoint,
    Health,
    PhaseTimeout,
    Probe,
    Service,
    ServiceFailed,
    Session,
    State,
    Target,
    TrialContext,
    current,
    run_all,
    within,
)

from playbook_plugins.exit_status import by_signal
from playbook_plugins.web import refuses

from .choose import composer_for, share_for
from .watch import TICK, Watch, pause

SETTLE = 1.0
"""Seconds that a service must have run when nothing but its state is asked: one that exits at once runs at first, too."""

LOOK_AGAIN = 5.0
"""Seconds after which a service is looked at anew even if nothing seems to have happened to it."""

CRASH_LOOP = 3
"""So many restarts by the engine while we wait mean that it will never be ready."""

_AGAIN = 3
_AGAIN_PAUSE = 0.5


def wait_ready(ctx: TrialContext, watch: Watch, service: Service, started: Callable[[], None]) -> State:
    """Wait until a started service is ready; returns its state then.

    Raises ServiceFailed as soon as it can never be (it exited, it restarts again and again, or a required check still
    fails when its policy's patience is over).
    """
    policy, node = service.health, watch.share.node.name
    began = time.monotonic()
    patience = min(policy.timeout, policy.grace + (policy.retries + 1) * policy.interval)
    seen = "it did not start"
    probes = [(c, ctx.build(Probe, c.probe)) for c in service.checks if c.required] if policy.enabled else []
    addresses = [a for _, p in probes if (a := p.address(watch.session.node.host))]
    settle = SETTLE if all(c.probe.use == "docker" for c, _ in probes) else 0.0
    running_since: float | None = None
    while True:
        refused = None
        state = watch.state(service.name)
        if state.status != "running":
            running_since = None
        elif not service.one_shot:
            running_since = running_since or time.monotonic()
            started()
        _refuse(state, service, node)
        if service.one_shot:
            if state.status == "exited":
                return state
            seen = state.detail or f"it is {state.status}"
        elif refused := next((a for a in addresses if state.status == "running" and refuses(*a)), None):
            seen = f"nothing accepts connections at {refused[0]}:{refused[1]} (connection refused)"
        elif state.status == "running":
            bad = next((h for c, p in probes if not (h := _ask(ctx, c, p, service, watch.session, state)).ok), None)
            if bad is None and time.monotonic() - (running_since or began) >= settle:
                watch.forget()
                if (after := watch.state(service.name)).status == "running":
                    return after
                continue  # whoever answered, it was not this service
            seen = f"{bad.probe}: {bad.detail}" if bad else "it runs, but not for long enough to be trusted"
        waited = time.monotonic() - began
        late = waited > policy.grace and policy.abort and state.status == "running"
        if late or waited > patience:
            how = "at the first failure after its grace period" if late else f"within {waited:.0f} s"
            raise ServiceFailed(service.name, node, f"not ready {how}: {seen}", error_class="health")
        if refused:
            over = policy.grace if policy.abort and waited <= policy.grace else patience
            watch.until_open(service.name, refused, began, min(over - waited + TICK, LOOK_AGAIN))
        else:
            current().sleep(pause(waited))


def _refuse(state: State, service: Service, node: str) -> None:
    if state.status == "exited" and not (service.one_shot and state.exit_code == 0):
        why = f"exited with {state.exit_code}" + by_signal(state.exit_code)
        hint = None
        if state.oom_killed:
            why = f"was killed for want of memory: it {why}"
            hint = "give it more (mem_limit, deploy.resources.limits.memory, or a node with more), or make it need less"
        raise ServiceFailed(service.name, node, why + (f": {state.detail}" if state.detail else ""), hint=hint)
    if state.restarts >= CRASH_LOOP:
        why = f"restarts again and again ({state.restarts} times), last with {state.exit_code}{by_signal(state.exit_code)}"
        hint = "`restart:` of the compose file hides why it ends; what it said last tells"
        raise ServiceFailed(service.name, node, f"{why}: {state.detail}", hint=hint)
    if state.status == "paused":
        hint = f"somebody paused its container: `docker unpause {state.handle.get('container', '')[:12]}` on {node}"
        raise ServiceFailed(service.name, node, "is paused", hint=hint)


def _ask(
    ctx: TrialContext, check: Check, probe: Probe[object], service: Service, session: Session, state: State
) -> Health:
    """Ask a probe once, within its time; the verdict carries its names."""
    node = session.node
    target = Target(service, node, node.host, session, state, owner=ctx.trial.id)
    began = time.monotonic()
    try:
        with within(check.timeout):
            health = probe.check(target)
    except PhaseTimeout:
        current().check()  # it may have been the phase's own deadline
        health = Health(ok=False, detail=f"no answer within {check.timeout:g} s")
    return evolve(
        health,
        service=service.name,
        node=node.name,
        probe=check.probe.use,
        advisory=not check.required,
        seconds=round(time.monotonic() - began, 6),
    )


def healthcheck(ctx: TrialContext, deployment: Deployment) -> Sequence[Health]:
    """Ask every check of every instance once more, all together; a bad answer is asked again a few times."""
    scenario = ctx.trial.scenario
    watches = {n: Watch(composer_for(ctx, n), ctx.session(n), share_for(ctx, n)) for n in scenario.node_names}

    def ask(service: Service, node: str, check: Check) -> Health:
        probe = ctx.build(Probe, check.probe)
        for attempt in range(_AGAIN):
            health = _ask(ctx, check, probe, service, watches[node].session, watches[node].state(service.name))
            if health.ok or attempt + 1 == _AGAIN:
                break
            current().sleep(_AGAIN_PAUSE)
            watches[node].forget()
        return health

    calls = []
    for service in scenario.services:
        for node in service.nodes:
            calls.append(lambda s=service, n=node: _alive(s, n, watches[n].state(s.name)))
            if service.health.enabled and not service.one_shot:
                calls += [lambda s=service, n=node, c=check: ask(s, n, c) for check in service.checks]  # type: ignore[misc]
    verdicts = []
    for result in run_all(calls, limit=scenario.max_concurrent_checks):
        if isinstance(result, BaseException):
            raise result
        verdicts.append(result)
    return verdicts


def still_there(ctx: TrialContext) -> None:
    """Raise ServiceFailed if a service has gone while it was measured: what answered was not all of the engine.

    One that is out of order because of a fault of the scenario's own is as it should be.
    """
    broken = {(e.data.get("service"), e.node) for e in ctx.effects.open("fault")}
    for node in ctx.trial.scenario.node_names:
        share = share_for(ctx, node)
        states = composer_for(ctx, node).states(ctx.session(node), share)
        for service in share.services:
            state = states.get(service.name) or State(service.name, "absent")
            if (service.name, node) not in broken and not (health := _alive(service, node, state)).ok:
                raise ServiceFailed(service.name, node, f"was gone when the benchmark ended: {health.detail}")


def _alive(service: Service, node: str, state: State) -> Health:
    ok = state.status == "running" or (service.one_shot and state.status == "exited" and state.exit_code == 0)
    return Health(ok=ok, detail=state.detail or state.status, service=service.name, node=node, probe="state")


def endpoint_from_checks(service: Service, host: str) -> Endpoint | None:
    """Where a service answers, by its HTTP checks: what there is when it publishes no port."""
    for check in service.checks:
        url = check.probe.options.get("url")
        if isinstance(url, str):
            parts = urlsplit(url)
            if parts.scheme and parts.port:
                name = host if parts.hostname in ("localhost", "127.0.0.1") else parts.hostname
                return Endpoint(f"{parts.scheme}://{name}:{parts.port}", str(check.probe.options.get("model") or ""))
    return None
