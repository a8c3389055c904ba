"""Creating with Compose and starting through the engine gives what Compose's own ``up`` gives; docs/compose-equivalence.md."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from playbook_kernel.api import Session, current, within
from playbook_kernel.graph import batches
from playbook_plugins.composers.compose import ComposeBase, engine_of

from tests.lab.core import Lab

from .helpers import NODE_OF, STAGE, LabTrial, composer, lab_node, opened, scenario_of, share_of, trial
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

CASES = [
    (path, generation)
    for path in sorted(FILES.glob("*.yml"))
    for generation in ("v1", "v2")
    if generation == "v2" or not path.stem.startswith("v2_")
]


@pytest.mark.parametrize("path, generation", CASES, ids=[f"{p.stem}-{g}" for p, g in CASES])
def test_the_same_containers(lab: Lab, tmp_path: Path, path: Path, generation: str) -> None:
    node = lab_node(lab, NODE_OF[generation])
    scenario = scenario_of(path, [node.name])
    with opened(trial(scenario, [node], tmp_path, ident=PROJECT)) as made, within(60):
        session = made.pool(node.name)
        session.run(["sh", "-c", "rm -rf /opt/inference/*  /opt/inference/.[!.]*"])
        try:
            ours = create_then_start(made, session, generation)
            session.run(["sh", "-c", "rm -rf /opt/inference/* /opt/inference/.[!.]*"])
            theirs = compose_up(made, session, generation, path)
        finally:
            remove(session)
    assert ours, "there is something to compare"
    found = different(ours, theirs)
    assert not found, "\n".join(f"{where}: ours {ours.get(where)!r}, up {theirs.get(where)!r}" for where in found)


def create_then_start(made: LabTrial, session: Session, generation: str) -> dict[str, Any]:
    """As deploy does, with no patience for anything but what the file itself asks for."""
    tool, share = composer(generation), share_of(made, session.node.name)
    assert isinstance(tool, ComposeBase)
    assert tool.check(share) == []
    tool.prepare(made.ctx, session, share)
    wanted = {s.name: {e.service: e.condition for e in s.after} for s in share.services}
    for batch in batches(wanted):
        for service in batch:
            for needed, condition in wanted[service].items():
                wait_for(tool, session, share, needed, condition)
            tool.start(made.ctx, session, share, service)
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


def compose_up(made: LabTrial, session: Session, generation: str, path: Path) -> dict[str, Any]:
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


def remove(session: Session) -> None:
    engine = engine_of(session)
    for container in engine.containers(PROJECT):
        engine.call("DELETE", f"/containers/{container['Id']}", {"force": "1", "v": "1"})
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
