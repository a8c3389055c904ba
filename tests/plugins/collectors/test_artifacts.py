"""What the test wrote comes home: whole, with its folders, never over one another, never from outside."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playbook_kernel.api import ArtifactKept, DriverRef, Node, Session, Warned
from playbook_kernel.testing import FakeTrial, check_collector, check_driver, fake_trial
from playbook_plugins.collectors.artifacts import ArtifactsCollector
from playbook_plugins.transports.local import LocalTransport


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    (tmp_path / "work").mkdir()
    node = Node("n1", DriverRef("local"), work_dir=str(tmp_path / "work"))
    with check_driver(LocalTransport).connect(node) as opened:
        yield opened


@pytest.fixture(params=["local", "n1"])
def place(request: pytest.FixtureRequest, tmp_path: Path, session: Session) -> tuple[FakeTrial, Path, str]:
    """A trial, the folder that relative paths are in, and the option ``node``."""
    trial = fake_trial(tmp_path, {"n1": session})
    base = trial.ctx.trial.scenario.directory if request.param == "local" else tmp_path / "work"
    return trial, base, request.param


def kept(trial: FakeTrial, node: str, *paths: str) -> dict[str, str]:
    driver = check_driver(ArtifactsCollector, {"paths": list(paths), "node": node})
    found = driver.collect(trial.ctx, None, trial.ctx.directory)
    return {a.path: (trial.ctx.directory / a.path).read_text() for a in found}


def test_files_and_folders_keep_their_place(place: tuple[FakeTrial, Path, str]) -> None:
    trial, base, node = place
    (base / "results/deep").mkdir(parents=True)
    (base / "results/a.json").write_text("a")
    (base / "results/deep/b c.txt").write_text("b")
    (base / "one.log").write_text("1")
    assert kept(trial, node, "results", "one.log") == {
        "artifacts/results/a.json": "a", "artifacts/results/deep/b c.txt": "b", "artifacts/one.log": "1",
    }  # fmt: skip
    assert len(trial.of(ArtifactKept)) == 3


def test_an_absolute_path(place: tuple[FakeTrial, Path, str], tmp_path: Path) -> None:
    trial, _, node = place
    (tmp_path / "elsewhere.txt").write_text("x")
    assert kept(trial, node, str(tmp_path / "elsewhere.txt")) == {"artifacts/elsewhere.txt": "x"}


def test_equal_names_are_both_kept(place: tuple[FakeTrial, Path, str], tmp_path: Path) -> None:
    trial, _, node = place
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "r.json").write_text(name)
    found = kept(trial, node, f"{tmp_path}/a/r.json", f"{tmp_path}/b/r.json")
    assert found == {"artifacts/r.json": "a", "artifacts/r-2.json": "b"}


def test_what_is_not_there_is_a_warning_and_costs_nothing_else(place: tuple[FakeTrial, Path, str]) -> None:
    trial, base, node = place
    (base / "there").write_text("x")
    assert kept(trial, node, "missing", "there") == {"artifacts/there": "x"}
    assert [w.message for w in trial.of(Warned)] == ["artifact missing is not there: the test did not write it"]


def test_it_conforms(place: tuple[FakeTrial, Path, str]) -> None:
    trial, base, node = place
    (base / "r").write_text("x")
    check_collector(check_driver(ArtifactsCollector, {"paths": ["r"], "node": node}), trial)
