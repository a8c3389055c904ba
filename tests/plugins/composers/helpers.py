"""A trial on nodes of the lab, as the composers see it, with a journal that is a list."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import define, field
from playbook_kernel import logs
from playbook_kernel.api import (
    Composer,
    DriverRef,
    Edge,
    Effect,
    Event,
    Node,
    Problems,
    Scenario,
    Service,
    ServiceChanged,
    Share,
    Trial,
    TrialContext,
)
from playbook_kernel.engine.effects import TrialEffects
from playbook_kernel.engine.sessions import SessionPool
from playbook_kernel.loading import Loader
from playbook_plugins import compose_file
from playbook_plugins.composers.compose import ComposeBase
from playbook_plugins.composers.v1 import ComposeV1
from playbook_plugins.composers.v2 import ComposeV2
from playbook_plugins.text import env_lines

from tests.lab.core import Lab

STAGE = "/opt/inference"
COMPOSERS: Mapping[str, type[ComposeBase]] = {"v1": ComposeV1, "v2": ComposeV2}
NODE_OF = {"v1": "n1", "v2": "n2"}
"""The node of the lab that has only this generation."""


def lab_node(lab: Lab, name: str, *, composer: str = "auto", stage_dir: str = STAGE) -> Node:
    options = {
        "host": lab.nodes[name].addr, "username": "root", "key_filename": str(lab.key_filename),
        "known_hosts": str(lab.known_hosts),
    }  # fmt: skip
    return Node(name, DriverRef("ssh", options), lab.nodes[name].addr, composer=composer, stage_dir=stage_dir)


@define(eq=False)
class LabTrial:
    """One trial; ``later()`` gives what a new process would have of it."""

    ctx: TrialContext
    pool: SessionPool
    events: list[Event] = field(factory=list)
    records: list[tuple[str, Mapping[str, Any]]] = field(factory=list)

    def later(self) -> LabTrial:
        ctx = self.ctx
        return trial(
            ctx.trial.scenario, list(ctx.nodes.values()), ctx.directory, ident=ctx.trial.id, effects=ctx.effects.open()
        )

    def changes(self, service: str) -> list[str]:
        """The states that a service went through, in order."""
        return [e.status for e in self.events if isinstance(e, ServiceChanged) and e.service == service]


def trial(
    scenario: Scenario, nodes: Sequence[Node], results: Path, *, ident: str = "pk-test", effects: Sequence[Effect] = ()
) -> LabTrial:
    loader = Loader()
    by_name = {n.name: n for n in nodes}
    pool = SessionPool(by_name, ident, loader.build)
    records: list[tuple[str, Mapping[str, Any]]] = []
    events: list[Event] = []
    journal = TrialEffects(lambda kind, data: records.append((kind, data)), tuple(reversed(effects)))
    ctx = TrialContext(
        "run", Trial(ident, scenario), by_name, results, pool, journal, events.append, loader.build, logs.logger("test")
    )
    return LabTrial(ctx, pool, events, records)


@contextmanager
def opened(made: LabTrial) -> Iterator[LabTrial]:
    """Close its sessions at the end."""
    try:
        yield made
    finally:
        made.pool.close()


def scenario_of(definition: Path, nodes: Sequence[str], *, names: Sequence[str] | None = None, **more: Any) -> Scenario:
    """Every service of a compose file without a profile (or those named), each on all these nodes."""
    directory = definition.parent
    env_file = directory / ".env"
    env = {name: value for _, name, value in env_lines(env_file, Problems())} if env_file.exists() else {}
    described = compose_file.load(definition, env, Problems()).services
    chosen = [s for n, s in described.items() if (n in names if names else not s.profiles)]
    waited_for = {n for s in chosen for n, condition in s.depends_on.items() if condition == "completed"}
    services = tuple(
        Service(
            s.name, tuple(nodes), definition, tuple(Edge(n, c) for n, c in s.depends_on.items()),
            one_shot=s.name in waited_for,
        )
        for s in chosen
    )  # fmt: skip
    files = dict.fromkeys(directory / f for s in chosen for f in s.files)
    return Scenario(
        definition.stem, directory, DriverRef("noop"), services,
        env_file=env_file if env_file.exists() else None, uploads=tuple(f for f in files if f.exists()), **more,
    )  # fmt: skip


def share_of(made: LabTrial, node: str) -> Share:
    scenario = made.ctx.trial.scenario
    return Share(
        made.ctx.nodes[node], made.ctx.trial.id, scenario.directory, scenario.services, scenario.env_file,
        scenario.uploads,
    )  # fmt: skip


def composer(generation: str) -> Composer[Any]:
    return COMPOSERS[generation](ComposeBase.options_type())
