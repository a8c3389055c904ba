"""Two campaigns on one node: the lock says who holds it, dies with its holder, and is given back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from playbook_kernel.api import DriverRef, NodeInUse, Scenario, Warned, within
from playbook_plugins import isolation

from tests.lab.core import Lab
from tests.plugins.composers.helpers import LabTrial, lab_node, opened, trial

from .nodes import sh
from .runs import Campaign

pytestmark = pytest.mark.lab
LOCK = "/tmp/playbook-claim.lock"


@pytest.fixture
def made(lab: Lab, tmp_path: Path) -> Iterator[Any]:
    """Makes contexts of campaigns, told apart by a digit."""
    with ExitStack() as stack, within(60):

        def make(digit: str, **options: Any) -> LabTrial:
            node = lab_node(lab, "n3", **options)
            one = trial(
                Scenario("claim", tmp_path, DriverRef("noop")), [node], tmp_path, ident=f"pk-{digit * 8}-claim-0"
            )
            return stack.enter_context(opened(one))

        yield make


def claim(one: LabTrial) -> Any:
    node = one.ctx.nodes["n3"]
    return isolation.playbook_claim(one.ctx, node, one.ctx.session("n3"))


def free(lab: Lab) -> bool:
    return lab.run("n3", ["flock", "-n", LOCK, "true"], check=False).returncode == 0


def test_the_second_is_refused_by_name_until_the_first_gives_the_node_back(lab: Lab, made: Any) -> None:
    first, second = made("a"), made("b")
    release = claim(first)
    assert claim(first) == release, "renewed, by the same process"
    with pytest.raises(
        NodeInUse, match=r"n3: is in use by another campaign: run, by .*, process \d+, since 20"
    ) as refused:
        claim(second)
    assert not refused.value.ours
    with pytest.raises(NodeInUse) as own:
        claim(made("a"))
    assert own.value.ours, "a process of this very run"
    release()
    assert sh(lab, "n3", f"ls {LOCK} 2>/dev/null; :") == "", "nothing stays"
    claim(second)()
    assert not [e for one in (first, second) for e in one.events]


def test_a_lock_dies_with_its_campaign_and_what_is_left_of_it_is_told(lab: Lab, made: Any) -> None:
    first, second = made("a"), made("b")
    claim(first)
    sh(lab, "n3", f"cat {LOCK} >/run/copy")
    first.pool.close()  # as when the process is killed: no goodbye
    while not free(lab):
        pass
    sh(lab, "n3", f"cp /run/copy {LOCK}")  # as when even the holder was killed, and could not remove it
    claim(second)()
    [warned] = [e for e in second.events if isinstance(e, Warned)]
    assert "took over the lock of a campaign that has died (run, by " in warned.message
    assert sh(lab, "n3", f"ls {LOCK} 2>/dev/null; :") == ""


def test_a_holder_that_hears_nothing_gives_up(lab: Lab, made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the controller lost its power, which no connection tells."""
    monkeypatch.setattr("playbook_plugins.isolation.claim.SILENCE", 1)
    claim(made("a"))
    while not free(lab):
        pass
    claim(made("b"))()


def test_a_lost_lock_is_taken_again_at_the_next_renewal(lab: Lab, made: Any) -> None:
    first, second = made("a"), made("b")
    claim(first)
    lab.svc("n3", "sshd", "restart")
    sh(lab, "n3", "for p in $(pgrep -x sshd); do [ $p = $(cat /run/sshd.pid) ] || kill -9 $p; done")
    while not free(lab):
        pass
    claim(first)
    with pytest.raises(NodeInUse):
        claim(second)


def test_another_user_of_the_node_sees_the_lock_too(lab: Lab, made: Any) -> None:
    first = made("a")
    claim(first)
    said = sh(lab, "n3", f"su ops -c 'flock -n {LOCK} true && echo free || cat {LOCK}'")
    assert "aaaaaaaa\trun, by " in said


def test_a_campaign_refuses_or_waits_for_nodes_that_another_one_uses(lab: Lab, tmp_path: Path) -> None:
    first, second = Campaign.make(lab, tmp_path / "first"), Campaign.make(lab, tmp_path / "second")
    (first.folder / "scenarios/001_victim/run_test.sh").write_text("sleep 600\n")
    fifo = tmp_path / "fifo"
    lab_sh = ["sh", "-c", f"mkfifo {fifo}; echo >{fifo}"]
    running = first.start("run", "001_victim", at={"001_victim PhaseStarted benchmark": [lab_sh]})
    while not fifo.exists():
        assert running.poll() is None
    fifo.read_text()
    refused = second.call("run", "--all")
    assert refused.returncode == 4
    assert f"is in use by another campaign: {first.run.name}, by " in refused.stderr
    assert "--wait" in refused.stderr
    assert not (second.folder / "results").exists() or not list((second.folder / "results").iterdir()), (
        "no run of nothing"
    )
    refused = second.call("cleanup", "--all-orphans")
    assert refused.returncode == 4, "what lives is no orphan"
    moments = {"Waiting": [["kill", "-INT", str(running.pid)]]}
    waited = second.call("run", "002_next", "--wait", at=moments)
    assert waited.returncode == 0, waited.stderr
    assert "waiting" in waited.stderr
    running.communicate()
    assert running.returncode == 130
    assert json.loads((first.run / "campaign.json").read_text())["scenarios"][0]["trials"][0]["clean"]
