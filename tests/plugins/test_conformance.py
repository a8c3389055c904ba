"""Our own plugins keep what the kernel expects, by the same checks that are published for everybody's.

The lists are what is installed: a new plugin is checked by being there. Sessions have their checks in ``transports/``; the
script benchmark and the artifacts collector in the files that are named after them.
"""

from __future__ import annotations

import http.server
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from playbook_kernel.api import (
    KINDS,
    Deployment,
    NoOptions,
    Service,
    Session,
    Share,
    State,
    Target,
    within,
)
from playbook_kernel.loading import Loader
from playbook_kernel.testing import (
    PLANTED,
    FakeSession,
    FakeTrial,
    check_benchmark,
    check_cleanup,
    check_collector,
    check_composer,
    check_driver,
    check_hooks,
    check_probe,
    check_reader,
    check_reporter,
    fake_trial,
    node,
)
from playbook_plugins.transports.local import LocalTransport

from tests.lab.core import Lab

from .composers.helpers import NODE_OF, lab_node
from .readers.reading import ENVIRON, examples, small, sources

LOADER = Loader()
NEEDED: Mapping[tuple[str, str], Mapping[str, Any]] = {
    ("transport", "ssh"): {"host": "10.0.0.1", "username": "root", "password": PLANTED},
    ("probe", "http"): {"url": "http://localhost:8000/health"},
    ("probe", "openai"): {"url": "http://localhost:8000", "api_key": PLANTED},
    ("probe", "tcp"): {"port": 8000},
    **{("fault", name): {"service": "engine"} for name in ("kill", "stop", "pause", "restart")},
    ("fault", "cut"): {"between": ["a", "b"]},
    ("fault", "delay"): {"between": ["a", "b"], "ms": 10},
    ("fault", "limit"): {"between": ["a", "b"], "mbit": 10},
    ("fault", "fill-disk"): {"node": "n1"},
}
"""The options without which a driver cannot be built."""
INSTALLED = [(kind, offer.name) for kind in KINDS for offer in LOADER.offers(kind) if offer.built_in]


def of(kind: str) -> list[str]:
    return [name for k, name in INSTALLED if k == kind]


@pytest.mark.parametrize("kind, name", INSTALLED, ids=lambda v: v)
def test_a_driver_is_as_it_should_be(kind: str, name: str) -> None:
    driver = check_driver(LOADER.driver(kind, name), NEEDED.get((kind, name)))
    assert PLANTED not in repr(driver.options)


@pytest.mark.parametrize("name", [n for n in of("reporter") if n != "notify"])  # it sends, and writes no file
def test_a_reporter_can_show_everything(name: str, tmp_path: Path) -> None:
    check_reporter(check_driver(LOADER.driver("reporter", name)), tmp_path)


@pytest.mark.parametrize("name", [o.name for o in LOADER.offers("hooks") if o.built_in])
def test_a_hook_plugin_fits(name: str) -> None:
    assert check_hooks(LOADER.hook_plugins()[name], name)


def test_the_reader_reads_and_complains(tmp_path: Path) -> None:
    good = sources(examples(tmp_path / "good"), ENVIRON)
    bad = {
        "nodes": small(tmp_path / "a", {"config/nodes.yaml": "nodes: [1, 2"}, s=""),
        "unknown": small(tmp_path / "b", s="services: [{name: engine, nodes: [nowhere]}]\n"),
        "cycle": small(tmp_path / "c", s="services: [{name: engine, nodes: [local], depends_on: [engine]}]\n"),
    }
    check_reader(LOADER.driver("reader", "playbook")(NoOptions()), good, [sources(root) for root in bad.values()])


# -- on this machine ----------------------------------------------------------------------------------------------


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    with LocalTransport(NoOptions()).connect(node("n1", work_dir=str(tmp_path)), owner="pk-conform") as opened:
        yield opened


Make = Callable[..., FakeTrial]


@pytest.fixture
def made(session: Session, tmp_path: Path) -> Iterator[Make]:
    """A trial on this machine, with services that run as plain processes."""
    trials: list[FakeTrial] = []

    def make(**commands: str) -> FakeTrial:
        folder = tmp_path / f"trial{len(trials)}"
        definition = folder / "scenario" / "docker-compose.yml"
        definition.parent.mkdir(parents=True)
        services = {n: {"command": ["sh", "-c", c]} for n, c in commands.items()}
        definition.write_text(json.dumps({"services": services}))
        placed = [Service(n, ("n1",), definition) for n in commands]
        ident = f"pk-conform-{os.getpid()}-{len(trials)}"
        trials.append(fake_trial(folder, {"n1": session}, services=placed, trial=ident))
        return trials[-1]

    yield make
    for trial in trials:
        assert not LOADER.hook_plugins()["isolation"].playbook_cleanup(trial.ctx, None)


def share_of(trial: FakeTrial) -> Share:
    scenario = trial.ctx.trial.scenario
    return Share(trial.ctx.nodes["n1"], trial.ctx.trial.id, scenario.directory, scenario.services)


def test_processes_live_and_end(made: Make, session: Session) -> None:
    trial = made(engine="echo up; exec sleep 600", other="exec sleep 600")
    with within(60):
        check_composer(check_driver(LOADER.driver("composer", "process")), trial, session, share_of(trial))


def test_the_logs_of_services_come_home(made: Make, session: Session) -> None:
    trial = made(engine="echo up; exec sleep 600")
    composer, share = LOADER.driver("composer", "process")(NoOptions()), share_of(trial)
    trial.ctx.facts["n1"] = {"composer": "process"}
    composer.prepare(trial.ctx, session, share)
    try:
        composer.start(trial.ctx, session, share, "engine")
        kept = check_collector(check_driver(LOADER.driver("collector", "logs"), {"mode": "comprehensive"}), trial)
    finally:
        composer.down(trial.ctx, session, share.project)
    assert {"logs/n1/engine.log", "logs/n1/system_resources.txt"} <= {a.path for a in kept}


def test_what_a_deploy_left_is_cleaned_up_by_a_later_process(made: Make) -> None:
    trial = made(engine="exec sleep 600")
    defaults = LOADER.hook_plugins()["defaults"]
    trial.ctx.facts["n1"] = {"composer": "process"}
    defaults.playbook_deploy(trial.ctx, trial.ctx.trial.scenario)
    assert trial.ctx.effects.open("stack")
    assert check_cleanup(defaults, trial, kinds=["stack"]) == []


def test_files_that_a_trial_put_somewhere_are_removed_by_a_later_process(made: Make, tmp_path: Path) -> None:
    trial, there = made(), tmp_path / "there"
    effect = trial.ctx.effects.intend("file", "n1", path=str(there), tree=True)
    (there / "deep").mkdir(parents=True)
    trial.ctx.effects.done(effect)
    assert check_cleanup(LOADER.hook_plugins()["isolation"], trial) == []
    assert not there.exists()


def test_a_benchmark_of_nothing(made: Make) -> None:
    noop = LOADER.driver("benchmark", "noop")
    check_benchmark(check_driver(noop), made())
    with pytest.raises(Exception, match="the deadline passed"), within(0.1):
        check_driver(noop, {"seconds": 600}).run(made().ctx, Deployment(), made().ctx.trial.scenario.load)


# -- probes, against servers that are there -----------------------------------------------------------------------


class _Engine(http.server.BaseHTTPRequestHandler):
    """Serves one model; ``/broken`` below it gives what no engine would."""

    def do_GET(self) -> None:
        self._say(500 if self.path.startswith("/failing") else 200, {"data": [{"id": "m"}]})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        message = {} if self.path.startswith("/mute") else {"content": "Hello."}
        self._say(200, {"choices": [{"message": message}]})

    def _say(self, status: int, body: object) -> None:
        data = b"<html>" if self.path.startswith("/garbage") else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def engine() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Engine) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def silent() -> Iterator[str]:
    """Accepts connections, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


CLOSED = "http://127.0.0.1:1"
SERVICE = Service("engine", ("n1",), Path("docker-compose.yml"))


def target(session: Session, state: State | None = None) -> Target:
    return Target(SERVICE, session.node, "127.0.0.1", session, state or State("engine", "running"))


def tells(name: str, session: Session, good: Mapping[str, Any], *bad: Mapping[str, Any]) -> None:
    """A probe whose options are what differs: each of ``bad`` makes it say why not."""
    look = target(session)
    cls = LOADER.driver("probe", name)
    check_probe(check_driver(cls, good), look, [])
    for options in bad:
        health = check_driver(cls, options).check(look)
        assert (health.ok, bool(health.detail), PLANTED in health.detail) == (False, True, False), options


def gives_up(name: str, session: Session, good: Mapping[str, Any], hangs: Mapping[str, Any]) -> None:
    """A probe whose server does not answer comes back at its deadline."""

    class Either(LOADER.driver("probe", name)):  # type: ignore[misc]
        """It looks at the good server once, and then at the one that does not answer."""

        looked = 0

        def check(self, target: Target) -> Any:
            Either.looked += 1
            self.options = options[min(Either.looked, 2) - 1]
            return super().check(target)

    options = [check_driver(LOADER.driver("probe", name), o).options for o in (good, hangs)]
    check_probe(Either(options[0]), target(session), [], target(session))


@pytest.mark.parametrize("via", ["controller", "node"])
def test_the_probe_of_http(session: Session, engine: str, silent: str, via: str) -> None:
    good = {"url": f"{engine}/health", "via": via}
    tells(
        "http", session, {**good, "json": {"data": [{"id": "m"}]}}, {"url": f"{engine}/failing", "via": via},
        {"url": CLOSED, "via": via}, {**good, "contains": "nowhere"}, {**good, "json": {"data": []}},
        {"url": f"{engine}/garbage", "via": via, "json": {"a": 1}},
    )  # fmt: skip
    gives_up("http", session, good, {"url": silent, "via": via})


def test_the_probe_of_engines(session: Session, engine: str, silent: str) -> None:
    key = {"api_key": PLANTED}
    tells(
        "openai", session, {"url": engine, "model": "m", **key}, {"url": engine, "model": "other", **key},
        *({"url": f"{engine}/{how}", **key} for how in ("failing", "garbage", "mute")), {"url": CLOSED, **key},
    )  # fmt: skip
    gives_up("openai", session, {"url": engine}, {"url": silent})


@pytest.mark.parametrize("via", ["controller", "node"])
def test_the_probe_of_ports(session: Session, engine: str, via: str) -> None:
    port = int(engine.rpartition(":")[2])
    tells("tcp", session, {"port": port, "via": via}, {"port": 1, "via": via})


def test_the_probe_by_command(session: Session) -> None:
    tells("script", session, {"command": "true"}, {"command": "echo no; exit 3"}, {"script": ["/nonexistent"]}, {})
    gives_up("script", session, {"command": "true"}, {"command": "sleep 600"})


def test_the_probe_of_states() -> None:
    states: Sequence[State] = (
        State("engine", "exited", 1), State("engine", "restarting"), State("engine", "running", health="unhealthy"),
        State("engine", "running", health="starting"), State("engine", "running"),
    )  # fmt: skip
    driver = check_driver(LOADER.driver("probe", "docker"), {"health": True})
    good = target(FakeSession(), State("engine", "running", health="healthy"))
    check_probe(driver, good, [target(FakeSession(), state) for state in states])


def test_every_probe_has_its_test() -> None:
    assert of("probe") == ["docker", "http", "openai", "script", "tcp"]


# -- in the lab ---------------------------------------------------------------------------------------------------

COMPOSE = """\
services:
  engine:
    image: lab/busybox:1
    command: ["sh", "-c", "echo up; exec sleep 600"]
  other:
    image: lab/busybox:1
    command: ["sleep", "600"]
"""


@pytest.mark.lab
@pytest.mark.parametrize("generation", ["v1", "v2"])
def test_containers_live_and_end(lab: Lab, generation: str, tmp_path: Path) -> None:
    place = lab_node(lab, NODE_OF[generation])
    definition = tmp_path / "scenario" / "docker-compose.yml"
    definition.parent.mkdir()
    definition.write_text(COMPOSE)
    services = [Service(n, (place.name,), definition) for n in ("engine", "other")]
    ident = f"pk-conform-{generation}"
    ssh = check_driver(LOADER.driver("transport", "ssh"), place.transport.options)
    with within(120), ssh.connect(place, owner=ident) as session:
        trial = fake_trial(tmp_path, {place.name: session}, services=services, trial=ident)
        share = Share(place, ident, definition.parent, tuple(services))
        check_composer(check_driver(LOADER.driver("composer", generation)), trial, session, share)
        # new files are not the composer's to remove, and whoever uses this lab next looks for what was left
        session.run(["rm", "-f", "--", *(str(e.data["path"]) for e in trial.ctx.effects.open("file", place.name))])
        assert "playbook" not in session.run(["ls", "-A", place.stage_dir]).text
