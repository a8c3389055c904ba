"""A plugin built against release 0.1, with a driver of every kind and every hook. Not to be changed: that it still works,
and still passes mypy --strict, is what it is for.
"""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from playbook_kernel.api import (
    Artifact,
    Benchmark,
    CampaignContext,
    CampaignResult,
    Collector,
    Composer,
    Configuration,
    Deployment,
    DriverRef,
    Endpoint,
    Event,
    Fact,
    Health,
    Instance,
    Load,
    LoadExecutor,
    Measurement,
    Metric,
    Node,
    NoOptions,
    Place,
    Probe,
    Problems,
    Process,
    Reader,
    Registry,
    Reporter,
    Residue,
    Scenario,
    Secret,
    Service,
    Session,
    Share,
    Sources,
    State,
    Target,
    TransferFailed,
    Transport,
    TrialContext,
    current,
    field,
    frozen,
    hookimpl,
)

SEEN: list[str] = []


@frozen
class Options:
    """``speed``: what is measured."""

    speed: float = 1.0
    tags: list[str] = field(factory=list)
    token: Secret | None = None
    mode: Literal["fast", "slow"] = "fast"


class OldProcess(Process):
    """Prints its words."""

    def __init__(self, words: str) -> None:
        self.words = words

    def write(self, data: bytes) -> None: ...

    def end_input(self) -> None: ...

    def chunks(self) -> Iterator[tuple[Literal["stdout", "stderr"], bytes]]:
        yield "stdout", self.words.encode()

    def wait(self) -> int:
        return 0

    def kill(self) -> None: ...


class OldSession(Session):
    """Answers every command with its own words."""

    def __init__(self, node: Node, owner: str) -> None:
        self.node, self.owner = node, owner

    def start(
        self,
        argv: Sequence[object],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        timeout: float | None = None,
        sudo: bool = False,
        stdin: bool = False,
    ) -> Process:
        current().check()
        return OldProcess(" ".join(map(str, argv)))

    def put(self, local: Path, remote: str, *, mode: int = 0o644) -> None: ...

    def put_bytes(self, data: bytes, remote: str, *, mode: int = 0o644) -> None: ...

    def get(self, remote: str, local: Path, *, limit: int | None = None) -> int:
        raise TransferFailed(self.node.name, f"there is no {remote}")

    def put_tree(self, local: Path, remote: str) -> None: ...

    def get_tree(self, remote: str, local: Path) -> None: ...

    def dial(self, host: str, port: int, *, timeout: float = 10.0) -> socket.socket:
        raise ConnectionRefusedError(port)

    def close(self) -> None: ...


class OldTransport(Transport[Options]):
    """Reaches nothing."""

    def connect(self, node: Node, *, owner: str = "") -> Session:
        return OldSession(node, owner)


class OldComposer(Composer[NoOptions]):
    """Runs services in a dictionary."""

    running: ClassVar[set[str]] = set()

    def fit(self, session: Session) -> str | None:
        return None

    def prepare(self, ctx: TrialContext, session: Session, share: Share) -> None:
        ctx.effects.done(ctx.effects.intend("v01", share.node.name, project=share.project), id=1)

    def start(self, ctx: TrialContext, session: Session, share: Share, service: str) -> Mapping[str, Any]:
        self.running.add(service)
        return {"id": service}

    def reset(self, ctx: TrialContext, session: Session, share: Share, service: str) -> None:
        self.running.discard(service)

    def states(self, session: Session, share: Share) -> Mapping[str, State]:
        return {s.name: State(s.name, "running" if s.name in self.running else "created") for s in share.services}

    def endpoint(self, share: Share, service: str) -> Endpoint | None:
        return Endpoint(f"http://{share.node.host}:8000", "model")

    def logs(self, session: Session, share: Share, service: str, into: Path, *, limit: int) -> Path | None:
        return None

    def stop(self, ctx: TrialContext, session: Session, share: Share, service: str) -> None:
        self.running.discard(service)

    def down(self, ctx: TrialContext, session: Session, project: str) -> None:
        self.running.clear()

    def residue(self, session: Session, project: str) -> Sequence[Residue]:
        return [Residue(session.node.name, "service", name) for name in sorted(self.running)]


class OldBenchmark(Benchmark[Options]):
    """Measures what it is told."""

    def run(self, ctx: TrialContext, deployment: Deployment, load: Load) -> Measurement:
        done = ctx.session(next(iter(ctx.nodes))).run(["measure", load.concurrency or 1])
        places = ctx.build(LoadExecutor, DriverRef("v01")).places(ctx)
        metrics = {"speed": Metric(self.options.speed, "1", 3), "places": Metric(float(len(places)), "1")}
        return Measurement(metrics, requests=3, errors=0, method=done.text)


class OldExecutor(LoadExecutor[NoOptions]):
    """Sends from nowhere."""

    def places(self, ctx: TrialContext) -> Sequence[Place]:
        return [Place("here", 0.0, 0.0)]

    def run(self, ctx: TrialContext, program: bytes, shares: Mapping[str, bytes]) -> Mapping[str, bytes]:
        return dict(shares)


class OldProbe(Probe[NoOptions]):
    """Believes the state."""

    def check(self, target: Target) -> Health:
        return Health(ok=target.state.status == "running", detail=target.state.status)


class OldCollector(Collector[NoOptions]):
    """Keeps one file."""

    def collect(self, ctx: TrialContext, deployment: Deployment | None, into: Path) -> Sequence[Artifact]:
        (into / "old.txt").write_bytes(b"old")
        return [Artifact("log", "old.txt", size=3, sha256=hashlib.sha256(b"old").hexdigest())]


class OldReporter(Reporter[NoOptions]):
    """Counts what was completed."""

    def write(self, result: CampaignResult, into: Path) -> Sequence[Path]:
        path = into / "old_report.txt"
        path.write_text(f"{result.count('completed')} of {len(result.scenarios)}")
        return [path]


class OldReader(Reader[NoOptions]):
    """Reads one scenario out of nothing."""

    def read(self, sources: Sources, problems: Problems) -> Configuration:
        if not sources.config_dir.is_dir():
            problems.add(sources.config_dir, 0, "", "is not there")
        node = Node("n1", DriverRef("v01"))
        service = Service("engine", ("n1",), sources.config_dir / "compose.yml")
        return Configuration({"n1": node}, (Scenario("old", sources.config_dir, DriverRef("v01"), (service,)),))


@hookimpl
def playbook_register(registry: Registry) -> None:
    SEEN.append("register")


@hookimpl
def playbook_plan(ctx: CampaignContext, scenarios: Sequence[Scenario]) -> Sequence[Scenario] | None:
    SEEN.append("plan")
    return None


@hookimpl
def playbook_discover(ctx: TrialContext, node: Node, session: Session) -> Mapping[str, Fact]:
    return {"v01": session.run(["uname"]).text, "node": node.name}


@hookimpl
def playbook_deploy(ctx: TrialContext, scenario: Scenario) -> Deployment:
    composer = ctx.build(Composer, DriverRef("v01"))
    instances: list[Instance] = []
    endpoints: dict[str, Endpoint] = {}
    for name, node in ctx.nodes.items():
        session, share = ctx.session(name), Share(node, ctx.trial.id, scenario.directory, scenario.services)
        composer.prepare(ctx, session, share)
        for service in share.services:
            composer.start(ctx, session, share, service.name)
            instances.append(Instance(service.name, name, "ready"))
            if endpoint := composer.endpoint(share, service.name):
                endpoints[service.name] = endpoint
    return Deployment(tuple(instances), endpoints, dict.fromkeys(ctx.nodes, "v01"))


@hookimpl
def playbook_healthcheck(ctx: TrialContext, deployment: Deployment) -> Iterable[Health]:
    probe = ctx.build(Probe, DriverRef("v01"))
    for instance in deployment.instances:
        service = next(s for s in ctx.trial.scenario.services if s.name == instance.service)
        node = ctx.nodes[instance.node]
        state = State(service.name, "running")
        yield probe.check(Target(service, node, node.host, ctx.session(node.name), state))


@hookimpl(wrapper=True)
def playbook_benchmark(
    ctx: TrialContext, deployment: Deployment, load: Load
) -> Generator[None, Measurement | None, Measurement | None]:
    SEEN.append("before")
    measured = yield
    SEEN.append("after")
    return measured or ctx.build(Benchmark, ctx.trial.scenario.benchmark).run(ctx, deployment, load)


@hookimpl
def playbook_collect(ctx: TrialContext, deployment: Deployment | None) -> Iterable[Artifact]:
    return ctx.build(Collector, DriverRef("v01")).collect(ctx, deployment, ctx.directory)


@hookimpl
def playbook_cleanup(ctx: TrialContext, deployment: Deployment | None) -> Iterable[Residue]:
    composer = ctx.build(Composer, DriverRef("v01"))
    for effect in ctx.effects.open("v01"):
        session = ctx.session(effect.node)
        composer.down(ctx, session, str(effect.data["project"]))
        yield from composer.residue(session, ctx.trial.id)
        ctx.effects.undone(effect)


@hookimpl
def playbook_event(ctx: CampaignContext, event: Event) -> None:
    SEEN.append(type(event).__name__)


@hookimpl
def playbook_report(ctx: CampaignContext, result: CampaignResult) -> Iterable[Path]:
    return ctx.build(Reporter, DriverRef("v01")).write(result, ctx.folder)
