"""The plan: everything that can be wrong is found, all at once, before the first connection."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve, frozen
from playbook_kernel.cli.common import select
from playbook_kernel.cli.plan import describe
from playbook_kernel.drivers import Benchmark, Collector, Composer, Driver, Probe, Reporter, Share, Transport
from playbook_kernel.engine.plan import make_plan
from playbook_kernel.errors import ConfigError, PluginError
from playbook_kernel.loading import Loader
from playbook_kernel.model import (
    Check,
    Configuration,
    DriverRef,
    Edge,
    Node,
    Policy,
    Scenario,
    Service,
)


@frozen
class Options:
    speed: float = 1.0


def touched(self: Any, *_: Any, **__: Any) -> Any:
    raise AssertionError("the plan touched something")


def made(kind: type[Driver[Any]], **methods: Any) -> type[Any]:
    """A driver of a kind that fails the test when it does anything but what is given."""
    body = dict.fromkeys(kind.__abstractmethods__, touched) | {"options_type": Options} | methods
    return type(kind.__name__, (kind,), body)


class Tidy:
    """A benchmark's and a composer's complaints, by the folder's name."""

    @staticmethod
    def of_benchmark(_self: Any, directory: Path) -> Sequence[str]:
        return [f"{directory}/script: is missing"] if directory.name == "untidy" else []

    @staticmethod
    def of_composer(_self: Any, share: Share) -> Sequence[str]:
        return [f"{share.directory}/compose.yml:3: services.a: too new"] if share.directory.name == "new" else []


@pytest.fixture
def loader() -> Loader:
    loader = Loader(blocked=("playbook-kernel",))
    loader.add("bench", made(Benchmark, check=Tidy.of_benchmark))
    loader.add("old", made(Composer, check=Tidy.of_composer))
    loader.add("any", made(Composer))
    for kind in (Transport, Collector, Probe, Reporter):
        loader.add("plain", made(kind))
    return loader


NODES = {n: Node(n, DriverRef("plain"), composer="any") for n in ("n1", "n2")}


def scenario(name: str, *, directory: str = "tidy", **changes: Any) -> Scenario:
    after = (Edge("a", "started"),)
    services = (
        Service("a", ("n1",), Path("c.yml"), checks=(Check(DriverRef("plain")),)),
        Service("b", ("n2", "n1"), Path("c.yml"), after=after),
    )
    plain = Scenario(name, Path("/s") / directory, DriverRef("bench"), services, collectors=(DriverRef("plain"),))
    return evolve(plain, **changes)


def config(*scenarios: Scenario, **changes: Any) -> Configuration:
    return evolve(Configuration(NODES, scenarios, reporters=(DriverRef("plain"),)), **changes)


def test_a_good_plan_says_what_will_happen_and_touches_nothing(loader: Loader) -> None:
    scenarios = (
        scenario("one", description="the first"),
        scenario("two", enabled=False),
        scenario("three", skip="it is not Monday", depends_on=("one",)),
    )
    policy = Policy(wait_between=5.0, retries=2)
    plan = make_plan(config(*scenarios, policy=policy, warnings=("careful",)), loader)
    assert plan.runnable == scenarios[:1]
    told = json.loads(json.dumps(describe(plan)))
    assert told["nodes"] == ["n1", "n2"]
    assert told["policy"] == {"wait_between": 5.0, "continue_on_failure": False, "retries": 2}
    assert told["reporters"] == ["plain"]
    assert told["warnings"] == ["careful"]
    assert [(s["name"], s["runs"], s["why_not"]) for s in told["scenarios"]] == [
        ("one", True, ""), ("two", False, "disabled"), ("three", False, "it is not Monday"),
    ]  # fmt: skip
    one = told["scenarios"][0]
    assert one["services"] == [
        {"name": "a", "nodes": ["n1"], "after": [], "checks": ["plain"]},
        {"name": "b", "nodes": ["n2", "n1"], "after": [{"service": "a", "condition": "started"}], "checks": []},
    ]
    assert (one["batches"], one["critical_path"]) == ([["a"], ["b"]], ["a", "b"])
    assert one["composers"] == {"n1": ["any"], "n2": ["any"]}
    assert (one["benchmark"], one["collectors"], one["description"]) == ("bench", ["plain"], "the first")
    assert told["scenarios"][2]["depends_on"] == ["one"]


def test_no_thread_stays(loader: Loader) -> None:
    before = set(threading.enumerate())
    make_plan(config(scenario("one")), loader)
    with pytest.raises(PluginError):
        make_plan(config(scenario("two", benchmark=DriverRef("nobody"))), loader)
    for thread in set(threading.enumerate()) - before:
        thread.join(30)
        assert not thread.is_alive()


def test_every_problem_of_every_scenario_is_told_at_once_and_once(loader: Loader) -> None:
    services = (
        Service("a", ("n1", "nowhere"), Path("c.yml"), checks=(Check(DriverRef("tpc", {}, "a.yml:9: checks[0]")),)),
        Service("b", ("n3",), Path("c.yml")),
    )
    broken = scenario(
        "broken", services=services, benchmark=DriverRef("bench", {"sped": 1}, "a.yml:3: benchmark"),
        collectors=(
            DriverRef("none", {}, "a.yml:5: collectors[0]"), DriverRef("plain", {"speed": "x"}, "a.yml:6: collectors[1]"),
        ),
    )  # fmt: skip
    nodes = {**NODES, "n3": Node("n3", DriverRef("telnet", {}, "nodes.yaml:7: n3"), composer="v9")}
    reporters = (DriverRef("paper", {}, "defaults.yaml:2: reporters[0]"),)
    scenarios = (broken, scenario("untidy", directory="untidy"), evolve(broken, name="again"))
    with pytest.raises(ConfigError) as caught:
        make_plan(config(*scenarios, nodes=nodes, reporters=reporters), loader)
    problems = caught.value.problems
    expected = [
        "defaults.yaml:2: reporters[0]: no reporter is called 'paper'",
        "a.yml:3: benchmark: unknown key 'sped', did you mean 'speed'?",
        "a.yml:5: collectors[0]: no collector is called 'none'",
        "a.yml:6: collectors[1]: speed: expected a number, got 'x'",
        "a.yml:9: checks[0]: no probe is called 'tpc'",
        "there is no node 'nowhere'",
        "nodes.yaml:7: n3: no transport is called 'telnet'",
        "no composer is called 'v9'",
        "/s/untidy/script: is missing",
    ]
    for words in expected:
        assert sum(words in p for p in problems) == 1, words
    assert len(problems) == len(expected)
    assert caught.value.exit_code == 2


def chosen(there: Configuration, *names: str) -> Configuration:
    return evolve(there, scenarios=select(there, names))


def test_a_scenario_that_does_not_run_is_not_checked(loader: Loader) -> None:
    wrong = scenario("wrong", benchmark=DriverRef("none"))
    for quiet in (evolve(wrong, enabled=False), evolve(wrong, skip="no")):
        assert make_plan(config(quiet, scenario("good")), loader).runnable == (scenario("good"),)
    with pytest.raises(PluginError):
        make_plan(chosen(config(evolve(wrong, skip="no")), "wrong"), loader)


def test_a_plugin_that_is_missing_hurts_only_the_scenario_that_names_it(loader: Loader) -> None:
    plan = config(scenario("good"), scenario("bad", benchmark=DriverRef("none", {}, "m.yaml:1: benchmark")))
    assert make_plan(chosen(plan, "good"), loader).runnable == (scenario("good"),)
    with pytest.raises(PluginError, match=r"m\.yaml:1: benchmark: no benchmark is called 'none'") as caught:
        make_plan(plan, loader)
    assert caught.value.exit_code == 3, "nothing but plugins is wrong"


def test_auto_keeps_the_composers_that_object_to_nothing(loader: Loader) -> None:
    nodes = {n: evolve(node, composer="auto") for n, node in NODES.items()}
    assert make_plan(config(scenario("s"), nodes=nodes), loader).composers["n1"] == ("any", "old")
    new = scenario("s", directory="new")
    assert make_plan(config(new, nodes=nodes), loader).composers["n1"] == ("any",)
    only = {n: evolve(node, composer="old") for n, node in NODES.items()}
    with pytest.raises(ConfigError) as caught:
        make_plan(config(new, nodes=only), loader)
    assert caught.value.problems == ("/s/new/compose.yml:3: services.a: too new",)


def test_naming_scenarios_keeps_their_order_and_beats_the_filters() -> None:
    all_three = config(scenario("a"), scenario("b", skip="no"), scenario("c"))
    assert select(all_three, None) == all_three.scenarios
    assert [(s.name, s.skip) for s in select(all_three, ["c", "b"])] == [("b", ""), ("c", "")]
    with pytest.raises(ConfigError, match="no scenario is called 'bb'") as caught:
        select(all_three, ["bb", "a"])
    assert caught.value.hint == "did you mean 'b'?"
    with pytest.raises(ConfigError) as far:
        select(all_three, ["something else"])
    assert far.value.hint == "there are: a, b, c"
    with pytest.raises(ConfigError) as empty:
        select(config(), ["x"])
    assert empty.value.hint == "there are: none"
