"""Creating with Compose and starting through the engine gives what Compose's own ``up`` gives; docs/compose-equivalence.md."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from playbook_kernel.api import Session, current, run_all, within
from playbook_kernel.cli.plan import batches
from playbook_kernel.engine.sessions import SessionPool
from playbook_kernel.loading import Loader
from playbook_plugins.composers.compose import ComposeBase, engine_of

from tests.lab.core import Lab

from .helpers import NODE_OF, STAGE, LabTrial, composer, lab_node, scenario_of, share_of, trial
from .snapshot import snapshot

pytestmark = pytest.mark.lab

FILES = Path(__file__).with_name("files")
PROJECT = "pk-equal"
BINARY = {"v1": "docker-compose", "v2": "docker compose"}

ALLOWED: Mapping[str, str] = {
    r"container .*/Config/Labels/playbook\.trial": "ours, by which everybody sees whose it is",
    r"container .*/Config/Labels/com\.docker\.compose\.config-hash": "it covers our label",
    r"container .*/Config/Labels/com\.docker\.compose\.project\.config_files": "our label stands in a second file",
    r"container .*/Config/Labels/com\.docker\.compose\.project\.environment_file": "we name the .env, up finds it",
    r"container .*/Config/Labels/com\.docker\.compose\.depends_on": "V2 drops those that it is not asked about",
    r"container .*/NetworkSettings/Networks/[^/]*/IPAMConfig": "V1 connects a second time to say nothing more",
}
"""What may differ, and why."""

FILES_OF_BOTH = sorted(FILES.glob("*.yml"))


@pytest.fixture(scope="module")
def sessions(lab: Lab) -> Iterator[SessionPool]:
    nodes = {name: lab_node(lab, name) for name in NODE_OF.values()}
    pool = SessionPool(nodes, PROJECT, Loader().build)
    yield pool
    pool.close()


@pytest.mark.parametrize("path", FILES_OF_BOTH, ids=[p.stem for p in FILES_OF_BOTH])
def test_the_same_containers(sessions: SessionPool, tmp_path: Path, path: Path) -> None:
    generations = ["v2"] if path.stem.startswith("v2_") else ["v1", "v2"]
    with within(120):
        compared = run_all([functools.partial(compare, sessions, tmp_path, path, g) for g in generations])
    for generation, result in zip(generations, compared, strict=True):
        if isinstance(result, BaseException):
            raise result
        assert not result, f"{generation}:\n" + "\n".join(result)


def compare(sessions: SessionPool, tmp_path: Path, path: Path, generation: str) -> list[str]:
    node = sessions.nodes[NODE_OF[generation]]
    scenario = scenario_of(path, [node.name])
    made, session = trial(scenario, [node], tmp_path, ident=PROJECT), sessions(node.name)
    clear = ["sh", "-c", f"rm -rf {STAGE}/* {STAGE}/.[!.]*"]
    try:
        session.run(clear)
        ours = create_then_start(made, session, generation)
        session.run(clear)
        theirs = compose_up(session, generation, path)
    finally:
        remove(session)
        session.run(clear)
    assert ours, "there is something to compare"
    found = different(ours, theirs)
    return [f"{where}: ours {ours.get(where)!r}, up {theirs.get(where)!r}" for where in found]


def create_then_start(made: LabTrial, session: Session, generation: str) -> dict[str, Any]:
    """As deploy does, with no patience for anything but what the file itself asks for."""
    tool, share = composer(generation), share_of(made, session.node.name)
    assert isinstance(tool, ComposeBase)
    assert tool.check(share) == []
    tool.prepare(made.ctx, session, share)
    wanted = {s.name: {e.service: e.condition for e in s.after} for s in share.services}
    for batch in batches(wanted):
        for needed, condition in {(n, c) for service in batch for n, c in wanted[service].items()}:
            wait_for(tool, session, share, needed, condition)
        raised(run_all([functools.partial(tool.start, made.ctx, session, share, service) for service in batch]))
    settled(session)
    seen = snapshot(session, engine_of(session), PROJECT)
    tool.down(made.ctx, session, PROJECT)
    assert tool.residue(session, PROJECT) == []
    return seen


def wait_for(tool: ComposeBase, session: Session, share: Any, service: str, condition: str) -> None:
    while True:
        state = tool.states(session, share)[service]
        if condition == "started" or state.health == "healthy" or (condition == "completed" and state.exit_code == 0):
            return
        current().sleep(0.05)


def compose_up(session: Session, generation: str, path: Path) -> dict[str, Any]:
    """As a person does, in the folder."""
    session.put_tree(FILES, STAGE)
    script = f'cd {STAGE} && exec {BINARY[generation]} -p "$1" -f "$2" up -d'
    session.run(["sh", "-c", script, "-", PROJECT, path.name])
    settled(session)
    return snapshot(session, engine_of(session), PROJECT)


def settled(session: Session) -> None:
    """Containers that end by themselves have ended: they hold no ``sleep``."""
    engine = engine_of(session)
    while True:
        busy = [
            c for c in engine.containers(PROJECT)
            if c["State"] == "running" and not c["Command"].startswith('"sleep') and "sleep" not in c["Command"]
            and "/bin/sh" not in c["Command"]
        ]  # fmt: skip
        if not busy:
            return
        current().sleep(0.05)


def raised(results: Sequence[Any]) -> None:
    for result in results:
        if isinstance(result, BaseException):
            raise result


def remove(session: Session) -> None:
    engine = engine_of(session)
    force = {"force": "1", "v": "1"}
    ids = [c["Id"] for c in engine.containers(PROJECT)]
    raised(run_all([functools.partial(engine.call, "DELETE", f"/containers/{i}", force) for i in ids], limit=4))
    for network in engine.networks(PROJECT):
        engine.call("DELETE", f"/networks/{network['Id']}")
    for volume in engine.volumes(PROJECT):
        engine.call("DELETE", f"/volumes/{volume['Name']}", {"force": "1"})
    engine.close()


def different(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    return [
        path
        for path in sorted({*ours, *theirs})
        if ours.get(path) != theirs.get(path) and not any(re.fullmatch(a, path) for a in ALLOWED)
    ]
