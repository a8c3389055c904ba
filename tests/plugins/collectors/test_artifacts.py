"""What the test wrote comes home: whole, with its folders, never over one another, never from outside."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playbook_kernel.api import ArtifactKept, DriverRef, Node, Scenario, Session, TransferFailed, Warned
from playbook_kernel.testing import FakeTrial, check_collector, check_driver, fake_trial
from playbook_plugins.collectors.artifacts import ArtifactsCollector
from playbook_plugins.transports.local import LocalSession, LocalTransport


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    (tmp_path / "work").mkdir()
    node = Node("n1", DriverRef("local"), work_dir=str(tmp_path / "work"))
    with check_driver(LocalTransport).connect(node) as opened:
        yield opened


@pytest.fixture(params=["local", "n1"])
def place(request: pytest.FixtureRequest, tmp_path: Path, session: Session) -> tuple[FakeTrial, Path, str]:
    """A trial, the folder that relative paths are in, and the option ``node``."""
    trial = fake_trial(tmp_path, {"n1": session}, scenario=Scenario("test", tmp_path / "scenario", DriverRef("script")))
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


def test_a_name_that_is_not_safe_everywhere_keeps_its_ending(place: tuple[FakeTrial, Path, str]) -> None:
    trial, base, node = place
    names = ["a:b.json", "a?b.json", "run 1:x.tar.gz", f"{'n' * 130}.csv", "what?"]
    for name in names:
        (base / name).write_text(name)
    found = kept(trial, node, *names)
    assert list(found.values()) == names
    shapes = [re.sub("-[0-9a-f]{8}", "-#", path.removeprefix("artifacts/")) for path in found]
    assert shapes == ["a_b-#.json", "a_b-#.json", "run 1_x-#.tar.gz", f"{'n' * 116}-#.csv", "what_-#"]


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


def test_what_a_script_wrote_elsewhere_is_told(tmp_path: Path, session: Session) -> None:
    trial = fake_trial(tmp_path, {"n1": session}, scenario=Scenario("test", tmp_path / "scenario", DriverRef("script")))
    base = trial.ctx.trial.scenario.directory
    (base / "metadata.yaml").write_text("name: old\n")
    os.utime(base / "metadata.yaml", (1, 1))
    (base / "results").mkdir()
    (base / "out.json").write_text("{}")
    assert kept(trial, "local") == {}
    assert kept(trial, "local", "output/") == {}
    names = "out.json, results/"
    told = f"the test wrote {names} in the scenario's folder, where it stays: result_paths: [{names}] brings it home"
    missing = "artifact output/ is not there: the test did not write it"
    assert [w.message for w in trial.of(Warned)] == [told, missing, told]


def test_paths_of_a_script_are_not_owed_by_another_benchmark(tmp_path: Path, session: Session) -> None:
    trial = fake_trial(tmp_path, {"n1": session}, scenario=Scenario("test", tmp_path / "scenario", DriverRef("aicp")))
    assert kept(trial, "local", "results/") == {}
    assert kept(trial, "n1", "results/") == {}
    assert trial.of(Warned) == []


def test_it_conforms(place: tuple[FakeTrial, Path, str]) -> None:
    trial, base, node = place
    (base / "r").write_text("x")
    check_collector(check_driver(ArtifactsCollector, {"paths": ["r"], "node": node}), trial)


class Unlike(LocalSession):
    """A node that goes on writing to a file while it is copied."""

    def get(self, remote: str, local: Path, *, limit: int | None = None) -> int:
        size = super().get(remote, local, limit=limit)
        Path(remote).write_text("more than was copied")
        return size


def test_what_is_not_what_the_node_has_is_marked(tmp_path: Path, session: Session) -> None:
    session.__class__ = Unlike
    (tmp_path / "work/a.txt").write_text("a")
    trial = fake_trial(tmp_path, {"n1": session})
    driver = check_driver(ArtifactsCollector, {"paths": ["a.txt"], "node": "n1"})
    [artifact] = driver.collect(trial.ctx, None, trial.ctx.directory)
    assert artifact.partial
    assert "differs from the file on the node" in artifact.note
    assert any("differs" in w.message for w in trial.events if isinstance(w, Warned))


class Breaking(LocalSession):
    """A node that is lost in the middle of a folder."""

    def get_tree(self, remote: str, local: Path) -> None:
        local.mkdir(parents=True)
        (local / "half.bin").write_bytes(b"ha")
        raise TransferFailed("n1", "the connection was lost")


def test_what_came_of_a_copy_that_broke_off_is_kept_and_marked(tmp_path: Path, session: Session) -> None:
    session.__class__ = Breaking
    (tmp_path / "work/out").mkdir()
    trial = fake_trial(tmp_path, {"n1": session})
    driver = check_driver(ArtifactsCollector, {"paths": ["out"], "node": "n1"})
    [artifact] = driver.collect(trial.ctx, None, trial.ctx.directory)
    assert (artifact.partial, artifact.path, artifact.size) == (True, "artifacts/out/half.bin", 2)
    assert "broke off" in artifact.note


def test_names_that_need_escapes_do_no_harm(tmp_path: Path, session: Session) -> None:
    (tmp_path / "work/out").mkdir()
    for name in ("back\\slash", "new\nline", " space ", "-n", "größe"):
        (tmp_path / "work/out" / name).write_text(name)
    trial = fake_trial(tmp_path, {"n1": session})
    driver = check_driver(ArtifactsCollector, {"paths": ["out"], "node": "n1"})
    found = driver.collect(trial.ctx, None, trial.ctx.directory)
    assert len(found) == 5
    assert not any(a.partial for a in found)
