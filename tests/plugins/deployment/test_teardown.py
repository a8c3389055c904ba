"""Taking down: again when it must be, and true about what is left."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve
from playbook_kernel.api import CommandFailed, NodeError, PlaybookError, Residue, within
from playbook_kernel.testing import FakeTrial, later
from playbook_plugins.deployment import cleanup, composer_for, deploy

from .world import World, service


def deployed(world: World, folder: Path) -> FakeTrial:
    trial = world.trial(folder, [service("a")])
    with within(20):
        deploy(trial.ctx, trial.ctx.trial.scenario)
    return trial


def test_a_later_process_needs_only_the_journal(tmp_path: Path) -> None:
    world = World()
    trial = deployed(world, tmp_path)
    again = later(trial)
    assert list(cleanup(again.ctx, None)) == []
    assert world.downs == 1
    assert [kind for kind, _ in again.records] == ["undone"]
    assert list(cleanup(again.ctx, None)) == []
    assert world.downs == 1, "nothing is left to take down"


def test_an_engine_that_has_just_been_restarted_answers_the_second_time(tmp_path: Path) -> None:
    world = World(on_down=[CommandFailed("n1", ["docker"], 1)])
    trial = deployed(world, tmp_path)
    assert list(cleanup(trial.ctx, None)) == []
    assert world.downs == 2


@pytest.mark.parametrize("error", [NodeError("n1", "gone"), CommandFailed("n1", ["docker"], 1, "no engine")])
def test_what_cannot_be_looked_at_is_not_called_clean(tmp_path: Path, error: PlaybookError) -> None:
    world = World(on_down=[error] * 9)
    trial = deployed(world, tmp_path)
    [left] = cleanup(trial.ctx, None)
    assert (left.node, left.kind) == ("n1", "unverified")
    assert str(error) in left.detail
    assert trial.ctx.effects.open("stack"), "it is still to be done"


def test_what_is_left_is_told(tmp_path: Path) -> None:
    left = Residue("n1", "container", "stuck")
    world = World(residue=[left])
    trial = deployed(world, tmp_path)
    assert list(cleanup(trial.ctx, None)) == [left]
    assert trial.ctx.effects.open("stack")


def test_no_composer_without_a_discovery(tmp_path: Path) -> None:
    trial = World().trial(tmp_path, [service("a")])
    assert type(composer_for(trial.ctx, "n1")).__name__ == "FakeComposer"
    trial.ctx.facts.clear()
    trial.ctx.nodes = {"n1": evolve(trial.ctx.nodes["n1"], composer="auto")}
    with pytest.raises(PlaybookError, match="not known which composer"):
        composer_for(trial.ctx, "n1")
