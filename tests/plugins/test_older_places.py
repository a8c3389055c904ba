"""test_config.json at its older place: on every node, before services start, and away again, whatever was there."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import evolve
from playbook_kernel.api import DriverRef, Node, Service
from playbook_kernel.testing import FakeTrial, check_cleanup, check_driver, fake_trial
from playbook_plugins import older_places
from playbook_plugins.transports.local import LocalTransport

from tests.cli.calls import spawn, workspace


@pytest.fixture
def name() -> Iterator[str]:
    """A scenario's name that nobody else uses: the older place is the same for all."""
    made = f"t{uuid.uuid4().hex[:12]}"
    yield made
    for path in Path("/tmp").glob(f"test_config_{made}*"):
        path.unlink()


def test_it_is_there_when_services_start_and_gone_afterwards(tmp_path: Path, name: str) -> None:
    place = f"/tmp/test_config_{name}.json"
    seen = tmp_path / "seen"
    look = f"stat -c %a {place} >{seen}.part; cat {place} >>{seen}.part; mv {seen}.part {seen}; sleep 60"
    root = workspace(
        tmp_path, name,
        files={
            f"config/scenarios/{name}/docker-compose.yml": f"services:\n  engine:\n    command: [sh, -c, '{look}']\n",
            f"config/scenarios/{name}/test_config.json": '{"model": "m"}',
            f"config/scenarios/{name}/run_test.sh":
                f"until [ -e {seen} ]; do sleep 0.05; done\ncat {place}\necho METRIC:throughput=1\n",
        },
    )  # fmt: skip
    done = spawn("run", name, cwd=root)
    assert done.code == 0, done.out + done.err
    assert '| {"model": "m"}' in done.err
    assert not Path(place).exists()
    assert seen.read_text() == '600\n{"model": "m"}'


def trial(tmp_path: Path, name: str) -> FakeTrial:
    node = Node("n1", DriverRef("local"))
    session = LocalTransport(check_driver(LocalTransport).options).connect(node, owner="pk-00000000-test-1")
    made = fake_trial(tmp_path, {"n1": session})
    scenario = evolve(
        made.ctx.trial.scenario, name=name, services=(Service("engine", ("n1",), tmp_path / "docker-compose.yml"),)
    )
    made.ctx.trial = evolve(made.ctx.trial, scenario=scenario)
    (scenario.directory / "test_config.json").write_text("ours")
    return made


def test_a_file_that_was_there_is_put_back(tmp_path: Path, name: str) -> None:
    place = Path(f"/tmp/test_config_{name}.json")
    place.write_text("of the earlier tool")
    place.chmod(0o644)
    made = trial(tmp_path, name)
    deploying = older_places.playbook_deploy(made.ctx, made.ctx.trial.scenario)
    next(deploying)
    assert (place.read_text(), place.stat().st_mode & 0o777) == ("ours", 0o600)
    assert [kind for kind, _ in made.records] == ["intent", "done"]
    older_places.place(made.ctx, made.ctx.session("n1"), "n1")
    assert len(made.records) == 2, "it is there already"
    deploying.close()
    assert check_cleanup(older_places, made) == []
    assert (place.read_text(), place.stat().st_mode & 0o777) == ("of the earlier tool", 0o644)


def test_a_name_that_leads_elsewhere_puts_nothing(tmp_path: Path) -> None:
    made = trial(tmp_path, "../../etc/x")
    older_places.place(made.ctx, made.ctx.session("n1"), "n1")
    assert made.records == []
