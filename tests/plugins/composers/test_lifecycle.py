"""What the Compose composers and the deployment make of good and bad days, on real engines."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from playbook_kernel.api import (
    Check,
    DriverRef,
    Event,
    HealthPolicy,
    NodeError,
    RetryPolicy,
    Scenario,
    ServiceChanged,
    ServiceFailed,
    Share,
    within,
)
from playbook_plugins import isolation
from playbook_plugins.composers.compose import engine_of
from playbook_plugins.deployment import cleanup, composer_for, deploy, discover, share_for

from tests.lab.core import GATEWAY, Lab

from .helpers import NODE_OF, STAGE, LabTrial, composer, lab_node, opened, scenario_of, trial

pytestmark = pytest.mark.lab

IMAGE = "lab/busybox:1"
SLEEP = {"image": IMAGE, "command": "sleep 600"}
PLANTED = "planted-secret-77aa"
BOTH = pytest.mark.parametrize("generation", ["v1", "v2"])
Make = Callable[..., LabTrial]


@pytest.fixture
def make(lab: Lab, tmp_path: Path) -> Iterator[Make]:
    """Makes trials of a compose file given as data; whatever they leave is removed afterwards."""
    with ExitStack() as stack:
        used: list[LabTrial] = []

        def made(
            generation: str, services: Mapping[str, Any], *, env: str = "", ident: str = "pk-life", node: str = "",
            stage: str = STAGE, **more: Any,
        ) -> LabTrial:  # fmt: skip
            folder = tmp_path / ident
            folder.mkdir()
            (folder / "docker-compose.yml").write_text(json.dumps({"services": services}))
            if env:
                (folder / ".env").write_text(env)
            where = lab_node(lab, node or NODE_OF[generation], stage_dir=stage)
            scenario = scenario_of(folder / "docker-compose.yml", [where.name], **more)
            one = stack.enter_context(opened(trial(scenario, [where], tmp_path, ident=ident)))
            one.ctx.facts[where.name] = {"composer": generation}
            stack.enter_context(within(90))
            used.append(one)
            return one

        yield made
        for one in used:
            clean(one)


def up(one: LabTrial) -> Any:
    return deploy(one.ctx, one.ctx.trial.scenario)


def clean(one: LabTrial) -> list[Any]:
    return [*cleanup(one.ctx, None), *isolation.playbook_cleanup(one.ctx, None)]


def answering(scenario: Scenario, port: int, **policy: Any) -> Scenario:
    """The scenario with a check of its only service: it accepts connections on its node's port."""
    check = Check(DriverRef("tcp", {"port": port, "via": "node"}))
    service = evolve(scenario.services[0], checks=(check,), health=HealthPolicy(**policy))
    return evolve(scenario, services=(service, *scenario.services[1:]))


def docker(lab: Lab, node: str, *words: str) -> str:
    return lab.run(node, ["docker", *words], check=False).stdout.strip()


def when(one: LabTrial, service: str, status: str, call: Callable[[], object]) -> threading.Thread:
    """Call something, on a thread, once a service is in a state."""
    came = threading.Event()
    emit = one.ctx.emit

    def watching(event: Event) -> None:
        emit(event)
        if isinstance(event, ServiceChanged) and (event.service, event.status) == (service, status):
            came.set()

    one.ctx.emit = watching

    def wait() -> None:
        if came.wait(60):
            call()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def test_which_generation_serves_a_node(lab: Lab, make: Make) -> None:
    found = {}
    for name in lab.nodes:
        one = make("v2", {"a": SLEEP}, ident=f"pk-fit-{name}", node=name)
        session = one.ctx.session(name)
        found[name] = [g for g in ("v1", "v2") if composer(g).fit(session) is None]
    assert found == {"n1": ["v1"], "n2": ["v2"], "n3": ["v1", "v2"], "n4": []}


@pytest.mark.parametrize("node, asked, chosen", [("n3", "auto", "v2"), ("n3", "v1", "v1"), ("n1", "auto", "v1")])
def test_detected_or_forced(make: Make, node: str, asked: str, chosen: str) -> None:
    one = make("v2", {"a": SLEEP}, node=node)
    wanted = evolve(one.ctx.nodes[node], composer=asked)
    assert discover(one.ctx, wanted, one.ctx.session(node)) == {"composer": chosen}


@pytest.mark.parametrize("node, asked", [("n4", "auto"), ("n1", "v2")])
def test_a_node_that_none_serves_is_told_with_each_reason(make: Make, node: str, asked: str) -> None:
    one = make("v2", {"a": SLEEP}, node=node)
    with pytest.raises(NodeError, match="v2: no docker compose"):
        discover(one.ctx, evolve(one.ctx.nodes[node], composer=asked), one.ctx.session(node))


@BOTH
def test_down_needs_only_the_journal(lab: Lab, make: Make, generation: str) -> None:
    node = NODE_OF[generation]
    services = {"a": {**SLEEP, "volumes": ["data:/data", "./conf/note.txt:/note.txt", "./made/deep:/made"]}}
    lab.run(node, ["sh", "-c", f"find {STAGE} -mindepth 1 -delete; echo before >{STAGE}/.env; chmod 640 {STAGE}/.env"])
    try:
        one = make(generation, services, env=f"TOKEN={PLANTED}\n")
        directory = one.ctx.trial.scenario.directory
        (directory / "docker-compose.yml").write_text(json.dumps({"services": services, "volumes": {"data": {}}}))
        (directory / "conf").mkdir()
        (directory / "conf/note.txt").write_text("note")
        one.ctx.trial = evolve(
            one.ctx.trial, scenario=evolve(one.ctx.trial.scenario, uploads=(directory / "conf/note.txt",))
        )
        up(one)
        assert lab.run(node, ["cat", f"{STAGE}/.env"]).stdout == f"TOKEN={PLANTED}\n"
        assert lab.run(node, ["stat", "-c", "%a", f"{STAGE}/.env"]).stdout.strip() == "600"
        session = one.ctx.session(node)
        assert lab.run(node, ["test", "-d", f"{STAGE}/made/deep"], check=False).returncode == 0
        kinds = {r.kind for r in composer_for(one.ctx, node).residue(session, "pk-life")}
        assert kinds == {"container", "network", "volume"}
        (directory / "docker-compose.yml").unlink()
        with opened(one.later()) as later:
            assert clean(later) == []
            assert later.ctx.effects.open() == []
        assert docker(lab, node, "ps", "-aq") == ""
        assert docker(lab, node, "volume", "ls", "-q") == ""
        assert lab.run(node, ["sh", "-c", f"cd {STAGE}; find . -mindepth 1; cat .env; stat -c %a .env"]).stdout.split() == [
            "./.env", "before", "640",
        ]  # fmt: skip
    finally:
        lab.run(node, ["sh", "-c", f"rm -f {STAGE}/.env {STAGE}/*"])


class _EmptyRegistry(BaseHTTPRequestHandler):
    """A registry that has nothing."""

    def do_GET(self) -> None:
        found = self.path == "/v2/"
        body = b"{}" if found else b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}'
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body if self.command == "GET" else b"")

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def registry(lab: Lab) -> Iterator[str]:
    """Where the nodes find an empty registry."""
    with ThreadingHTTPServer((GATEWAY, 5000), _EmptyRegistry) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"{GATEWAY}:5000"
        server.shutdown()


@BOTH
def test_an_image_that_is_missing_fails_its_service_alone(
    registry: str, make: Make, caplog: pytest.LogCaptureFixture, generation: str
) -> None:
    caplog.set_level(logging.DEBUG)
    services = {
        "good": {**SLEEP, "environment": {"TOKEN": "${TOKEN}"}},
        "bad": {"image": f"{registry}/no-such-image:${{TAG}}", "environment": {"TOKEN": "${TOKEN}"}},
        "after": {**SLEEP, "depends_on": ["bad"]},
    }
    retry = RetryPolicy(other=3, attempts={"image": 1}, delay=0)
    one = make(generation, services, env=f"TOKEN={PLANTED}\nTAG=7\n", retry=retry)
    with pytest.raises(ServiceFailed) as failed:
        up(one)
    assert (failed.value.service, failed.value.error_class) == ("bad", "image")
    assert failed.value.hint
    assert one.changes("bad")[-4:] == ["starting", "retrying", "starting", "failed"]
    assert one.changes("good")[-2:] == ["starting", "ready"]
    assert one.changes("after")[-1] == "blocked"
    texts = [*map(str, one.events), *map(str, one.records), str(failed.value), str(failed.value.__cause__), caplog.text]
    assert not [t for t in texts if PLANTED in t]


@BOTH
def test_a_port_that_is_taken_is_named(lab: Lab, make: Make, generation: str) -> None:
    node = NODE_OF[generation]
    docker(lab, node, "run", "-d", "--name", "holder", "-p", "18470:80", IMAGE, "sleep", "600")
    try:
        one = make(generation, {"a": {**SLEEP, "ports": ["18470:80"]}}, retry=RetryPolicy(other=0))
        with pytest.raises(ServiceFailed, match=r"18470.*port is already allocated") as failed:
            up(one)
        assert (failed.value.service, failed.value.error_class) == ("a", "start")
    finally:
        docker(lab, node, "rm", "-f", "holder")


def test_a_container_that_is_killed_while_it_starts_is_tried_again(lab: Lab, make: Make) -> None:
    port = 18471
    command = f"sh -c 'sleep 1; exec httpd -f -p {port}'"
    services = {"a": {"image": IMAGE, "command": command, "network_mode": "host"}, "b": SLEEP}
    one = make("v2", services, retry=RetryPolicy(delay=0))
    one.ctx.trial = evolve(one.ctx.trial, scenario=answering(one.ctx.trial.scenario, port))

    def kill() -> None:
        while not docker(lab, "n2", "kill", "pk-life-a-1"):
            pass

    killer = when(one, "a", "starting", kill)
    deployment = up(one)
    killer.join()
    assert one.changes("a")[-4:] == ["starting", "retrying", "starting", "ready"]
    assert "exited with 137" in next(e.detail for e in one.events if getattr(e, "status", "") == "retrying")
    assert {i.service: i.attempts for i in deployment.instances} == {"a": 2, "b": 1}


def test_an_engine_that_restarts_while_services_start_is_survived(lab: Lab, make: Make) -> None:
    port = 18472
    slow = {
        "image": IMAGE, "command": f"sh -c 'sleep 2; exec httpd -f -p {port}'", "network_mode": "host",
        "stop_signal": "SIGKILL",
    }  # fmt: skip
    one = make("v2", {"a": slow}, retry=RetryPolicy(other=5, delay=0.5))
    one.ctx.trial = evolve(one.ctx.trial, scenario=answering(one.ctx.trial.scenario, port))

    def restart() -> None:
        while "a-1" not in docker(lab, "n2", "ps", "--format", "{{.Names}}"):
            pass
        lab.svc("n2", "dockerd", "restart")

    restarter = when(one, "a", "starting", restart)
    deployment = up(one)
    restarter.join()
    assert deployment.instances[0].attempts > 1
    assert one.changes("a")[-1] == "ready"


def test_what_runs_to_its_end(make: Make) -> None:
    services = {
        "after": {**SLEEP, "depends_on": {"convert": {"condition": "service_completed_successfully"}}},
        "convert": {"image": IMAGE, "command": "sh -c 'sleep 0.5; exit 0'"},
        "never": {**SLEEP, "depends_on": {"broken": {"condition": "service_completed_successfully"}}},
        "broken": {"image": IMAGE, "command": "sh -c 'exit 4'"},
    }
    one = make("v1", services, retry=RetryPolicy(other=0))
    with pytest.raises(ServiceFailed, match="broken on n1: exited with 4"):
        up(one)
    order = [(e.service, e.status) for e in one.events if isinstance(e, ServiceChanged)]
    assert order.index(("convert", "ready")) < order.index(("after", "starting"))
    assert ("after", "ready") in order
    assert one.changes("never")[-1] == "blocked"


@BOTH
def test_what_is_not_ours_stays(lab: Lab, make: Make, generation: str) -> None:
    node = NODE_OF[generation]
    foreign = docker(lab, node, "run", "-d", "--name", "foreign", IMAGE, "sleep", "600")
    try:
        first = make(generation, {"same": SLEEP}, ident="pk-first")
        services = {"same": {**SLEEP, "volumes": ["/anonymous"]}}
        second = make(generation, services, ident="pk-second", stage="/tmp/pk-second")
        up(first)
        kept = up(second).instances[0].handle["containers"]
        assert clean(first) == []
        assert sorted(docker(lab, node, "ps", "-q", "--no-trunc").split()) == sorted([foreign, *kept])
        assert clean(second) == []
        assert docker(lab, node, "volume", "ls", "-q") == ""
        assert docker(lab, node, "ps", "-q", "--no-trunc") == foreign
    finally:
        docker(lab, node, "rm", "-f", "foreign")
        lab.run(node, ["rm", "-rf", "/tmp/pk-second"])


def test_logs_are_cut_from_their_beginning(make: Make, tmp_path: Path) -> None:
    one = make("v2", {"a": {"image": IMAGE, "command": "sh -c 'seq 1 2000; echo last >&2; exec sleep 600'"}})
    up(one)
    session, share = one.ctx.session("n2"), share_for(one.ctx, "n2")
    tool = composer_for(one.ctx, "n2")
    cut = tool.logs(session, share, "a", tmp_path, limit=500)
    assert cut is not None
    assert cut.stat().st_size == 500
    whole = tool.logs(session, share, "a", tmp_path, limit=1_000_000)
    assert whole is not None
    text = whole.read_text()
    assert len(text.splitlines()) == 2001
    assert {line.split(" ", 1)[1] for line in text.splitlines()} >= {"1", "2000", "last"}
    tool.down(one.ctx, session, "pk-life")
    assert tool.logs(session, share, "a", tmp_path, limit=500) is None


@BOTH
def test_a_goodbye_is_for_those_who_hear_it(lab: Lab, make: Make, generation: str) -> None:
    """The one that handles TERM ends by itself; the one that cannot hear it is not waited for, whatever its grace."""
    trap = "sh -c 'trap \"echo said >/out/goodbye; exit 0\" TERM; while :; do sleep 0.1; done'"
    services = {
        "polite": {"image": IMAGE, "command": trap, "volumes": ["/tmp/goodbye:/out"]},
        "deaf": {**SLEEP, "stop_grace_period": "1h"},
        "quick": {"image": IMAGE, "command": trap.replace("/out/goodbye", "/out/never"), "stop_grace_period": "0s"},
    }
    services["quick"]["volumes"] = ["/tmp/goodbye:/out"]
    node = NODE_OF[generation]
    one = make(generation, services)
    up(one)
    try:
        assert clean(one) == []
        assert lab.run(node, ["ls", "/tmp/goodbye"]).stdout.split() == ["goodbye"]
    finally:
        lab.run(node, ["rm", "-rf", "/tmp/goodbye"])


def test_looking_again_asks_nothing_as_long_as_nothing_happens(lab: Lab, make: Make) -> None:
    one = make("v2", {"a": SLEEP})
    up(one)
    session = one.ctx.session("n2")
    share: Share = share_for(one.ctx, "n2")
    tool, engine = composer_for(one.ctx, "n2"), engine_of(session)
    first = tool.states(session, share)
    assert first["a"].status == "running"
    assert tool.states(session, share) is first
    docker(lab, "n2", "pause", "pk-life-a-1")
    with within(20):
        while tool.states(session, share)["a"].status != "paused":
            session.run(["true"])
    docker(lab, "n2", "kill", "pk-life-a-1")
    with within(20):
        while tool.states(session, share)["a"].status != "exited":
            session.run(["true"])
    engine.close()
    assert tool.states(session, share)["a"].exit_code == 137
