"""Two campaigns on one node: the lock says who holds it, dies with its holder, and is given back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from attrs import define, field
from playbook_kernel import logs
from playbook_kernel.api import CampaignContext, NodeInUse, within
from playbook_kernel.loading import Loader
from playbook_plugins import isolation
from playbook_plugins.isolation.claims import Claims

from tests.lab.core import Lab
from tests.plugins.composers.helpers import lab_node

from .nodes import sh
from .runs import Campaign

pytestmark = pytest.mark.lab
LOCK = "/tmp/playbook-claim.lock"


@define(eq=False)
class Holder:
    """One campaign that wants a node of the lab: ``n3``; ``warned``: what its user was told."""

    claims: Claims
    warned: list[str] = field(factory=list)

    def kept(self) -> bool:
        return self.claims.renew() == []


@pytest.fixture
def made(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Holder]]:
    """Makes campaigns that hold nothing yet, told apart by the folders of their runs; they renew when a test says so."""
    monkeypatch.setattr("playbook_plugins.isolation.claims.RENEW", 3600)
    with ExitStack() as stack, within(60):

        def make(run: str) -> Holder:
            node, warned = lab_node(lab, "n3"), list[str]()
            ctx = CampaignContext(
                run, tmp_path / run, {"n3": node}, logs.logger("test"), Loader().build, warn=warned.append
            )
            holder = Holder(Claims(ctx, [node]), warned)
            stack.callback(lambda: [session.close() for _, session in holder.claims.held.values()])
            return holder

        yield make


Make = Callable[[str], Holder]


def free(lab: Lab) -> bool:
    return lab.run("n3", ["flock", "-n", LOCK, "true"], check=False).returncode == 0


def test_the_second_is_refused_by_name_until_the_first_gives_the_node_back(lab: Lab, made: Make) -> None:
    first, second = made("a"), made("b")
    first.claims.take()
    assert first.kept(), "renewed, by the same process"
    with pytest.raises(
        NodeInUse, match=r"n3: is in use by another campaign: a, by .*, process \d+, since 20"
    ) as refused:
        second.claims.take()
    assert not refused.value.ours
    with pytest.raises(NodeInUse) as own:
        made("a").claims.take()
    assert own.value.ours, "a process of this very run"
    first.claims.give_back()
    assert sh(lab, "n3", f"ls {LOCK} 2>/dev/null; :") == "", "nothing stays"
    second.claims.take()
    second.claims.give_back()
    assert not first.warned + second.warned


def test_a_run_that_was_moved_knows_the_lock_that_its_dead_process_has_left(
    lab: Lab, made: Make, tmp_path: Path
) -> None:
    """Whoever resumes it waits for that lock to be given up, and is not told that somebody else is at work."""
    for folder, mark in (("was-here", "0a1b2c3d"), ("is-there", "0a1b2c3d"), ("other", "4d5e6f70")):
        (tmp_path / folder).mkdir()
        line = {"v": 1, "seq": 1, "type": "campaign", "data": {"run": "was-here", "mark": mark}}
        (tmp_path / folder / "journal.jsonl").write_text(json.dumps(line) + "\n")
    made("was-here").claims.take()
    for folder, ours in (("is-there", True), ("other", False)):
        with pytest.raises(NodeInUse) as refused:
            made(folder).claims.take()
        assert refused.value.ours is ours, folder


def test_whoever_cannot_have_all_nodes_holds_none(lab: Lab, made: Make, tmp_path: Path) -> None:
    first = made("a")
    first.claims.take()
    both = [lab_node(lab, "n2"), lab_node(lab, "n3")]
    ctx = CampaignContext("b", tmp_path / "b", {n.name: n for n in both}, logs.logger("test"), Loader().build)
    with pytest.raises(NodeInUse, match="n3"):
        isolation.playbook_claim(ctx, both)
    assert sh(lab, "n2", f"ls {LOCK} 2>/dev/null; :") == ""
    first.claims.give_back()
    isolation.playbook_claim(ctx, both)()
    assert sh(lab, "n2", f"ls {LOCK} 2>/dev/null; :") == ""


def test_a_lock_dies_with_its_campaign_and_what_is_left_of_it_is_told(lab: Lab, made: Make) -> None:
    first, second = made("a"), made("b")
    first.claims.take()
    sh(lab, "n3", f"cat {LOCK} >/run/copy")
    first.claims.held["n3"][1].close()  # as when the process is killed: no goodbye
    while not free(lab):
        pass
    sh(lab, "n3", f"cp /run/copy {LOCK}")  # as when even the holder was killed, and could not remove it
    second.claims.take()
    second.claims.give_back()
    [warned] = second.warned
    assert "n3: took over the lock of a campaign that has died (a, by " in warned
    assert sh(lab, "n3", f"ls {LOCK} 2>/dev/null; :") == ""


def test_a_holder_that_hears_nothing_gives_up(lab: Lab, made: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the controller lost its power, which no connection tells."""
    monkeypatch.setattr("playbook_plugins.isolation.claim.SILENCE", 1)
    made("a").claims.take()
    while not free(lab):
        pass
    second = made("b")
    second.claims.take()
    second.claims.give_back()


def test_a_holder_that_speaks_keeps_its_lock(lab: Lab, made: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The node waits two seconds for a word, and hears one ten times as often."""
    monkeypatch.setattr("playbook_plugins.isolation.claim.SILENCE", 2)
    first = made("a")
    monkeypatch.setattr("playbook_plugins.isolation.claims.RENEW", 0.2)
    first.claims.take()
    born = sh(lab, "n3", f"stat -c %i {LOCK}")
    sh(lab, "n3", "sleep 5")
    assert sh(lab, "n3", f"stat -c %i {LOCK}") == born
    assert not free(lab)
    first.claims.give_back()


def test_a_lost_lock_is_taken_again_at_the_next_renewal(lab: Lab, made: Make) -> None:
    first, second = made("a"), made("b")
    first.claims.take()
    lab.svc("n3", "sshd", "restart")
    sh(lab, "n3", "for p in $(pgrep -x sshd); do [ $p = $(cat /run/sshd.pid) ] || kill -9 $p; done")
    while not free(lab):
        pass
    assert first.kept()
    with pytest.raises(NodeInUse):
        second.claims.take()


def test_a_lock_whose_holder_ended_by_itself_is_removed_all_the_same(lab: Lab, made: Make) -> None:
    """As when the node could not start one more process: the shell that holds the lock ends, and says so to nobody."""
    one = made("one")
    one.claims.take()
    holder = sh(
        lab, "n3", "pgrep -f '[p]laybook-claim' | while read p; do readlink /proc/$p/fd/9 >/dev/null && echo $p; done"
    )
    sh(lab, "n3", f"kill -KILL {holder.split()[0]}; test -e {LOCK}")
    one.claims.give_back()
    assert sh(lab, "n3", f"ls {LOCK} 2>/dev/null; :") == ""


def test_another_user_of_the_node_sees_the_lock_too(lab: Lab, made: Make) -> None:
    made("a").claims.take()
    said = sh(lab, "n3", f"su ops -c 'flock -n {LOCK} true && echo free || cat {LOCK}'")
    assert "\ta, by " in said


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
    assert "waiting without limit for a node" in waited.stderr
    running.communicate()
    assert running.returncode == 130
    assert json.loads((first.run / "campaign.json").read_text())["scenarios"][0]["trials"][0]["clean"]
