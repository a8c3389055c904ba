"""A world of fake services: a composer whose services do what a test says, and a probe that asks the same world."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import define, evolve, field
from playbook_kernel.api import (
    Check,
    Composer,
    Condition,
    DriverRef,
    Edge,
    Endpoint,
    Health,
    HealthPolicy,
    NoOptions,
    Probe,
    Residue,
    RetryPolicy,
    Scenario,
    Service,
    ServiceChanged,
    Session,
    Share,
    State,
    Target,
    TrialContext,
)
from playbook_kernel.loading import Loader
from playbook_kernel.testing import FakeSession, FakeTrial, fake_trial, node

Action = Callable[[], None]
GATE = Check(DriverRef("gate"))
PATIENT = HealthPolicy(grace=60)


@define(eq=False)
class World:
    """``on_start``: called by each start of an instance, by name; raises to fail it. ``ready``: asked by the probe."""

    on_start: dict[str, Action] = field(factory=dict)
    said: dict[str, str] = field(factory=dict)
    ready: dict[str, Callable[[], bool]] = field(factory=dict)
    states: dict[str, State] = field(factory=dict)
    starts: list[str] = field(factory=list)
    resets: list[str] = field(factory=list)
    downs: int = 0
    on_down: list[Exception] = field(factory=list)
    residue: list[Residue] = field(factory=list)
    active: set[str] = field(factory=set)
    most: int = 0
    lock: threading.Lock = field(factory=threading.Lock)

    def loader(self) -> Loader:
        made = Loader()
        made.add("fake", _composer(self))
        made.add("gate", _probe(self))
        return made

    def started(self, name: str) -> None:
        with self.lock:
            self.starts.append(name)
            self.active.add(name)
            self.most = max(self.most, len(self.active))
        self.on_start.get(name, lambda: None)()
        self.states.setdefault(name, State(name.partition("@")[0], "running"))

    def asked(self, name: str) -> bool:
        good = self.ready.get(name, lambda: True)()
        if good:
            with self.lock:
                self.active.discard(name)
        return good

    def trial(
        self, folder: Path, services: Sequence[Service], *, nodes: Sequence[str] = ("n1",), **more: Any
    ) -> FakeTrial:
        scenario = Scenario(
            "test", folder, DriverRef("noop"), tuple(services),
            **{"max_concurrent_services": 20, "retry": RetryPolicy(other=0, delay=0), **more},
        )  # fmt: skip
        sessions = {n: FakeSession(node=node(n)) for n in nodes}
        made = fake_trial(folder, sessions, scenario=scenario, loader=self.loader())
        made.ctx.facts.update({n: {"composer": "fake"} for n in nodes})
        return made


def service(name: str, after: Mapping[str, Condition] | Sequence[str] = (), **more: Any) -> Service:
    """A service of n1 whose readiness the gate says."""
    conditions = after if isinstance(after, Mapping) else dict.fromkeys(after, "healthy")
    edges = tuple(Edge(n, c) for n, c in conditions.items())  # type: ignore[arg-type]
    made = Service(name, ("n1",), Path("docker-compose.yml"), edges, (GATE,), PATIENT)
    return evolve(made, **more)


def statuses(trial: FakeTrial, name: str) -> list[str]:
    """The states that a service went through once everything was created."""
    return [e.status for e in trial.of(ServiceChanged) if e.service == name and e.status not in ("creating", "waiting")]


def _composer(world: World) -> type[Composer[NoOptions]]:
    class FakeComposer(Composer[NoOptions]):
        def fit(self, session: Session) -> str | None:
            return None

        def prepare(self, ctx: TrialContext, session: Session, share: Share) -> None:
            pass

        def start(self, ctx: TrialContext, session: Session, share: Share, service: str) -> Mapping[str, Any]:
            world.started(f"{service}@{share.node.name}")
            return {"number": len(world.starts)}

        def reset(self, ctx: TrialContext, session: Session, share: Share, service: str) -> None:
            world.resets.append(f"{service}@{share.node.name}")
            world.states.pop(f"{service}@{share.node.name}", None)

        def states(self, session: Session, share: Share) -> Mapping[str, State]:
            found = {s.name: world.states.get(f"{s.name}@{share.node.name}") for s in share.services}
            return {name: state or State(name, "created") for name, state in found.items()}

        def endpoint(self, share: Share, service: str) -> Endpoint | None:
            return Endpoint(f"http://{share.node.name}/{service}")

        def logs(self, session: Session, share: Share, service: str, into: Path, *, limit: int) -> Path | None:
            if service not in world.said:
                return None
            (into / "said.log").write_text(world.said[service])
            return into / "said.log"

        def stop(self, ctx: TrialContext, session: Session, share: Share, service: str) -> None:
            pass

        def down(self, ctx: TrialContext, session: Session, project: str) -> None:
            world.downs += 1
            if world.on_down:
                raise world.on_down.pop(0)

        def residue(self, session: Session, project: str) -> Sequence[Residue]:
            return list(world.residue)

    return FakeComposer


def _probe(world: World) -> type[Probe[NoOptions]]:
    class Gate(Probe[NoOptions]):
        def check(self, target: Target) -> Health:
            good = world.asked(f"{target.service.name}@{target.node.name}")
            return Health(ok=good, detail="open" if good else "the gate is shut")

    return Gate
