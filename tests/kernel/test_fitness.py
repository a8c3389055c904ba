"""Nodes are looked at before they are used: what a look finds fails the scenarios that need the node, and no others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from playbook_kernel.api import (
    Benchmark,
    CampaignContext,
    Deployment,
    Health,
    Load,
    Measurement,
    Metric,
    Node,
    NodeError,
    NoOptions,
    Scenario,
    Session,
    Transport,
    TrialContext,
    hookimpl,
)
from playbook_kernel.engine.fitness import Fitness
from playbook_kernel.engine.guests import Guests
from playbook_kernel.loading import HookManager
from playbook_kernel.model import DriverRef, Policy
from playbook_kernel.scope import Cancel
from playbook_kernel.testing import FakeSession, run_campaign

from .campaigns import campaign, outside, scenario

LOOK = """
@hookimpl
def playbook_preflight(ctx, nodes, scenarios):
    return {n.name: "engine: it does not answer" for n in nodes if n.name == "n2"}
"""


class Site:
    """A fleet whose nodes fail as they are told: at each look (``looks``), or in the first trials (``broken``)."""

    def __init__(self, *looks: Mapping[str, str], broken: Sequence[str] = ()) -> None:
        self.looks, self.broken = list(looks), list(broken)
        self.asked: list[tuple[str, ...]] = []
        self.tried: list[str] = []

    @hookimpl
    def playbook_preflight(self, nodes: Sequence[Node]) -> Mapping[str, str]:
        self.asked.append(tuple(n.name for n in nodes))
        return self.looks.pop(0) if self.looks else {}

    @hookimpl
    def playbook_deploy(self, scenario: Scenario) -> Deployment:
        self.tried.append(scenario.name)
        if self.broken and (node := self.broken.pop(0)):
            raise NodeError(node, "it went away")
        return Deployment()

    @hookimpl
    def playbook_healthcheck(self) -> Health:
        return Health(ok=True)

    @hookimpl
    def playbook_benchmark(self, load: Load) -> Measurement:
        return Measurement({"speed": Metric(1.0, "1")})


class NoBenchmark(Benchmark[NoOptions]):
    def run(self, ctx: TrialContext, deployment: Deployment, load: Load) -> Measurement:
        raise AssertionError


class Near(Transport[NoOptions]):
    def connect(self, node: Node, *, owner: str = "") -> Session:
        return FakeSession(node=node)


def run(
    tmp_path: Path, site: Site, placed: Mapping[str, Sequence[str]], pause: float = 3600.0, retries: int = 0
) -> Any:
    nodes = [Node(n, DriverRef("near")) for n in ("n1", "n2", "n3")]
    scenarios = [scenario(n, tmp_path, on=on) for n, on in placed.items()]
    policy = Policy(wait_between=0, retries=retries, retry_interval=pause, continue_on_failure=True)
    drivers = {"near": Near, "unused": NoBenchmark}
    return run_campaign(
        tmp_path / "results", scenarios, nodes=nodes, hooks={"site": site}, drivers=drivers, policy=policy
    ).result


def test_a_node_that_cannot_serve_fails_those_that_need_it_and_no_others(tmp_path: Path) -> None:
    made = [scenario("a", tmp_path, on=("n1",)), scenario("b", tmp_path, on=("n1", "n2")), scenario("c", tmp_path)]
    outcome = campaign(tmp_path, made, LOOK, node_count=2)
    assert [(s.scenario, s.status, len(s.trials)) for s in outcome.result.scenarios] == [
        ("a", "completed", 1),
        ("b", "failed", 0),
        ("c", "completed", 1),
    ]
    assert outcome.result.scenarios[1].reason == "node n2 cannot be used: engine: it does not answer"
    assert outcome.result.warnings == ("node n2 cannot be used: engine: it does not answer",)
    assert outcome.exit_code == 1
    assert outside(tmp_path) == []


def test_only_nodes_that_are_used_are_looked_at_and_each_once(tmp_path: Path) -> None:
    site = Site()
    run(tmp_path, site, {"a": ["n1"], "b": ["n2", "n1"]})
    assert site.asked == [("n1", "n2")]


def test_a_node_that_a_trial_failed_on_is_looked_at_again_and_left_out_while_it_cannot_serve(tmp_path: Path) -> None:
    site = Site({}, {"n1": "connectivity: gone"}, broken=["n1"])
    result = run(tmp_path, site, {"a": ["n1"], "b": ["n2"], "c": ["n1"], "d": ["n1"]})
    assert site.asked == [("n1", "n2"), ("n1",)], "c looked again, d did not"
    assert site.tried == ["a", "b"]
    assert [s.status for s in result.scenarios] == ["failed", "completed", "failed", "failed"]
    assert result.scenarios[3].reason == "node n1 cannot be used: connectivity: gone"


def test_after_a_pause_a_node_is_tried_again(tmp_path: Path) -> None:
    site = Site({"n1": "connectivity: gone"}, {"n1": "connectivity: gone"})
    result = run(tmp_path, site, {"a": ["n1"], "b": ["n1"]}, pause=0.0)
    assert [s.status for s in result.scenarios] == ["failed", "completed"]
    assert result.warnings == ("node n1 cannot be used: connectivity: gone", "node n1 can be used again")


def test_a_second_attempt_is_not_made_on_a_node_that_is_gone(tmp_path: Path) -> None:
    site = Site({}, {"n1": "connectivity: gone"}, broken=["n1"])
    result = run(tmp_path, site, {"a": ["n1"]}, pause=0.0, retries=2)
    assert site.tried == ["a"]
    assert len(result.scenarios[0].trials) == 1
    assert result.scenarios[0].reason == "node n1 cannot be used: connectivity: gone"


def test_two_plugins_say_why_and_one_that_raises_harms_nobody(tmp_path: Path) -> None:
    class Other:
        @hookimpl
        def playbook_preflight(self, nodes: Sequence[Node]) -> Mapping[str, str]:
            return {"n1": "the licence has expired"}

    class Broken:
        @hookimpl
        def playbook_preflight(self) -> Any:
            return 3

    fitness, told = _fitness({"site": Site({"n1": "disk: full"}), "other": Other(), "broken": Broken()})
    made = scenario("a", tmp_path, on=("n1", "n2"))
    fitness.look([made], made.node_names)
    assert fitness.why_not(made) == "node n1 cannot be used: the licence has expired; disk: full"
    assert told == [
        "plugin broken failed in playbook_preflight: playbook_preflight gave int, not Mapping",
        "node n1 cannot be used: the licence has expired; disk: full",
    ]


def test_a_look_that_was_cancelled_says_nothing_of_the_nodes(tmp_path: Path) -> None:
    class Interrupted:
        @hookimpl
        def playbook_preflight(self) -> Mapping[str, str]:
            fitness.cancel.set("enough")
            return {"n1": "connectivity: cancelled"}

    fitness, told = _fitness({"interrupted": Interrupted()})
    made = scenario("a", tmp_path)
    fitness.look([made], made.node_names)
    assert (fitness.why_not(made), told) == ("", [])


def _fitness(plugins: Mapping[str, object]) -> tuple[Fitness, list[str]]:
    manager, told = HookManager(), []
    for name, plugin in plugins.items():
        manager.register(plugin, name)
    nodes = {n: Node(n, DriverRef("near")) for n in ("n1", "n2")}
    ctx = CampaignContext("run", Path(), nodes, None, lambda kind, ref: None)
    return Fitness(Guests(manager, ctx, told.append, 1.0, 1.0), nodes, Cancel(), 3600.0, told.append), told


def test_a_node_that_fails_again_and_again_is_left_out_and_what_needs_it_is_skipped(tmp_path: Path) -> None:
    site = Site(broken=["n1"] * 9)
    result = run(tmp_path, site, {"a": ["n1"], "b": ["n1", "n2"], "c": ["n1"], "d": ["n1"], "e": ["n1", "n3"]})
    assert site.tried == ["a", "b", "c"], "though each look found it good"
    assert [s.status for s in result.scenarios] == ["failed", "failed", "failed", "skipped", "skipped"]
    assert result.scenarios[4].reason == "node n1 is left out: 3 trials in a row failed on it"


def test_others_go_on_and_a_success_ends_the_row(tmp_path: Path) -> None:
    site = Site(broken=["n1", "n1", "", "n1", "n1"])
    result = run(tmp_path, site, {name: ["n1"] for name in "abcdef"})
    assert site.tried == list("abcdef")
    assert [s.status for s in result.scenarios] == ["failed", "failed", "completed", "failed", "failed", "completed"]


def test_further_attempts_end_too(tmp_path: Path) -> None:
    site = Site(broken=["n1"] * 3)
    result = run(tmp_path, site, {"a": ["n1"], "b": ["n2"]}, pause=0.0, retries=5)
    assert site.tried == ["a", "a", "a", "b"]
    assert [s.status for s in result.scenarios] == ["failed", "completed"]
