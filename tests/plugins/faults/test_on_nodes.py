"""Faults on real engines and networks: they break what they say, heal it, and later processes can undo them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from playbook_kernel.api import Deployment, DriverRef, Fault, FaultPlan, PhaseFailed, Wound, within
from playbook_kernel.testing import FakeTrial, check_fault
from playbook_plugins import injection, isolation
from playbook_plugins.deployment import cleanup, composer_for, deploy, share_for
from playbook_plugins.injection.schedule import EFFECT

from tests.lab.core import Lab
from tests.plugins.composers.helpers import NODE_OF, LabTrial, lab_node, opened, scenario_of, trial

pytestmark = pytest.mark.lab
BOTH = pytest.mark.parametrize("generation", ["v1", "v2"])
IMAGE = "lab/busybox:1"
SERVES = {
    "image": IMAGE, "command": ["httpd", "-f", "-p", "8090"], "stop_grace_period": "1s", "ports": ["8090:8090"],
}  # fmt: skip
ASKS = {"image": IMAGE, "command": ["sleep", "600"], "stop_grace_period": "0s"}
Make = Callable[..., LabTrial]


@pytest.fixture
def make(lab: Lab, tmp_path: Path) -> Iterator[Make]:
    """Brings services up, each on its node; all is gone afterwards."""
    with ExitStack() as stack, within(150):

        def made(places: Mapping[str, str], services: Mapping[str, Any], generations: Mapping[str, str]) -> LabTrial:
            path = tmp_path / "docker-compose.yml"
            path.write_text(json.dumps({"services": services}))
            nodes = [lab_node(lab, n) for n in generations]
            scenario = scenario_of(path, [n.name for n in nodes])
            services_ = tuple(evolve(s, nodes=(places[s.name],)) for s in scenario.services)
            scenario = evolve(scenario, services=services_)
            one = stack.enter_context(opened(trial(scenario, nodes, tmp_path, ident="pk-fault")))
            stack.callback(clean, one)
            for name, generation in generations.items():
                one.ctx.facts[name] = {"composer": generation}
            deploy(one.ctx, scenario)
            return one

        yield made


def clean(one: LabTrial) -> None:
    with within(90):
        assert injection.playbook_cleanup(one.ctx, None) == []
        assert cleanup(one.ctx, None) == []
        assert [r for r in isolation.playbook_cleanup(one.ctx, None) if not r.foreign] == []


def status(one: LabTrial, node: str, service: str) -> str:
    return composer_for(one.ctx, node).states(one.ctx.session(node), share_for(one.ctx, node))[service].status


def fault(one: LabTrial, use: str, **options: Any) -> Fault[Any]:
    made: Fault[Any] = one.ctx.build(Fault, DriverRef(use, options))
    return made


def checked(one: LabTrial, driver: Fault[Any], broken: Callable[[], bool]) -> list[Wound]:
    return list(check_fault(driver, FakeTrial(one.ctx, one.events, one.records), broken, Deployment()))


@BOTH
@pytest.mark.parametrize("use", ["kill", "stop", "pause"])
def test_a_service_is_out_of_order_and_comes_back(make: Make, lab: Lab, generation: str, use: str) -> None:
    node = NODE_OF[generation]
    one = make({"web": node}, {"web": SERVES}, {node: generation})
    wounds = checked(one, fault(one, use, service="web"), lambda: status(one, node, "web") != "running")
    assert [(w.node, w.service) for w in wounds] == [(node, "web")]


def test_a_restarted_service_is_another_process(make: Make, lab: Lab) -> None:
    one = make({"web": "n2"}, {"web": SERVES}, {"n2": "v2"})
    pid = ["docker", "inspect", "-f", "{{.State.Pid}}", "pk-fault-web-1"]
    before = lab.run("n2", pid).stdout
    driver = fault(one, "restart", service="web@n2")
    [wound] = driver.plan(one.ctx, Deployment())
    driver.strike(one.ctx, wound)
    assert status(one, "n2", "web") == "running"
    assert lab.run("n2", pid).stdout != before


def reaches(lab: Lab, node: str, container: str, address: str) -> bool:
    argv = ["docker", "exec", container, "nc", "-w", "2", address, "8090"]
    return lab.run(node, ["sh", "-c", 'exec "$@" </dev/null', "-", *argv], check=False).returncode == 0


@pytest.mark.parametrize("host", [False, True], ids=["bridge", "host network"])
def test_a_cut_between_nodes_cuts_nothing_else(make: Make, lab: Lab, host: bool) -> None:
    web = {**SERVES, "network_mode": "host"} if host else SERVES
    if host:
        del web["ports"]
    asks = {**ASKS, "network_mode": "host"} if host else ASKS
    one = make(
        {"web": "n1", "asks": "n2", "other": "n1"}, {"web": web, "asks": asks, "other": ASKS}, {"n1": "v1", "n2": "v2"}
    )
    address = lab.nodes["n1"].addr
    driver = fault(one, "cut", between=["web", "asks"])
    wounds = checked(one, driver, lambda: not reaches(lab, "n2", "pk-fault-asks-1", address))
    assert sorted(w.node for w in wounds) == ["n1", "n2"]
    for wound in wounds:
        driver.strike(one.ctx, wound)
    assert not reaches(lab, "n2", "pk-fault-asks-1", address)
    assert one.ctx.session("n1").run(["true"]).ok, "we still reach both"
    assert one.ctx.session("n2").run(["true"]).ok
    others = f"import socket; socket.create_connection(({address!r}, 8090), 5)"
    assert lab.run("n3", ["python3", "-c", others], check=False).returncode == 0, "another node still reaches it"
    for wound in wounds:
        driver.undo(one.ctx, wound)
    assert reaches(lab, "n2", "pk-fault-asks-1", address)
    for node in ("n1", "n2"):
        assert "playbook" not in lab.run(node, ["iptables-save"]).stdout


def test_a_cut_within_one_node(make: Make, lab: Lab) -> None:
    one = make({"web": "n2", "asks": "n2"}, {"web": SERVES, "asks": ASKS}, {"n2": "v2"})
    checked(one, fault(one, "cut", between=["web", "asks"]), lambda: not reaches(lab, "n2", "pk-fault-asks-1", "web"))


def test_services_that_share_a_nodes_network_need_ports(make: Make, lab: Lab) -> None:
    host = {"network_mode": "host"}
    web = {k: v for k, v in SERVES.items() if k != "ports"}
    one = make({"web": "n2", "asks": "n2"}, {"web": {**web, **host}, "asks": {**ASKS, **host}}, {"n2": "v2"})
    with pytest.raises(PhaseFailed, match="both use the network of n2 itself"):
        fault(one, "cut", between=["web", "asks"]).plan(one.ctx, Deployment())
    driver = fault(one, "cut", between=["web", "asks"], ports=[8090])
    checked(one, driver, lambda: not reaches(lab, "n2", "pk-fault-asks-1", "127.0.0.1"))


def test_a_limit_is_kept_in_both_directions_and_goes(make: Make, lab: Lab) -> None:
    one = make({"web": "n1", "asks": "n2"}, {"web": SERVES, "asks": ASKS}, {"n1": "v1", "n2": "v2"})
    driver = fault(one, "limit", between=["web", "asks"], mbit=2)

    def limited() -> bool:
        shown = []
        for node, name in (("n1", "pk-fault_web_1"), ("n2", "pk-fault-asks-1")):
            pid = lab.run(node, ["docker", "inspect", "-f", "{{.State.Pid}}", name]).stdout.strip()
            shown.append(
                "rate 2Mbit" in lab.run(node, ["nsenter", "-t", pid, "-n", "tc", "class", "show", "dev", "eth0"]).stdout
            )
        assert len(set(shown)) == 1
        return shown[0]

    checked(one, driver, limited)


def test_what_a_kernel_cannot_do_is_said_before_anything_is_deployed(make: Make, lab: Lab) -> None:
    one = make({"web": "n1", "asks": "n2"}, {"web": SERVES, "asks": ASKS}, {"n1": "v1", "n2": "v2"})
    said = fault(one, "delay", between=["web", "asks"], ms=50).fit(one.ctx)
    if said is None:
        pytest.skip("this kernel has netem")
    assert said.startswith("n1: its kernel cannot do it: ")
    scenario = evolve(
        one.ctx.trial.scenario, faults=(FaultPlan(DriverRef("delay", {"between": ["web", "asks"], "ms": 5}), at=1.0),)
    )
    with pytest.raises(PhaseFailed, match="fault delay cannot be made here: n1: its kernel cannot do it"):
        next(injection.playbook_deploy(one.ctx, scenario))


def test_a_disk_is_full_and_free_again(make: Make, lab: Lab) -> None:
    one = make({"asks": "n2"}, {"asks": ASKS}, {"n2": "v2"})

    def full() -> bool:
        done = lab.run(
            "n2",
            [
                "sh",
                "-c",
                "dd if=/dev/zero of=/opt/inference/probe bs=1M count=2; s=$?; rm -f /opt/inference/probe; exit $s",
            ],
            check=False,
        )
        return done.returncode != 0

    checked(one, fault(one, "fill-disk", node="n2", path="/opt/inference"), full)


def test_a_later_process_undoes_what_the_journal_knows(make: Make, lab: Lab) -> None:
    """As after a crash between strike and heal."""
    one = make({"web": "n1", "asks": "n2"}, {"web": SERVES, "asks": ASKS}, {"n1": "v1", "n2": "v2"})
    for use, options in (
        ("cut", {"between": ["web", "asks"]}),
        ("pause", {"service": "web"}),
        ("kill", {"service": "asks"}),
    ):
        driver = fault(one, use, **options)
        for wound in driver.plan(one.ctx, Deployment()):
            words = {"what": wound.what, "service": wound.service, "data": dict(wound.data), "index": 0}
            one.ctx.effects.intend(EFFECT, wound.node, driver=use, options=options, **words)
            driver.strike(one.ctx, wound)
    with opened(one.later()) as later, within(60):
        for name, facts in one.ctx.facts.items():
            later.ctx.facts[name] = facts
        assert injection.playbook_cleanup(later.ctx, None) == []
        assert later.ctx.effects.open(EFFECT) == []
    assert status(one, "n1", "web") == "running"
    for node in ("n1", "n2"):
        assert "playbook" not in lab.run(node, ["iptables-save"]).stdout
