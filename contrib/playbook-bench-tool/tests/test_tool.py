"""What every such benchmark does, with a real program on this machine, and in a container of the lab."""

from __future__ import annotations

import http.server
import json
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from packaging.version import Version
from playbook_kernel.api import Deployment, DriverRef, Endpoint, Load, Measurement, Output, PhaseFailed, Scenario
from playbook_kernel.loading import Loader
from playbook_kernel.testing import (
    FakeSession,
    FakeTrial,
    Said,
    check_benchmark,
    check_cleanup,
    check_driver,
    check_hooks,
    fake_trial,
    later,
    local_session,
)
from playbook_kernel.testing import (
    node as fake_node,
)

from playbook_bench_tool import ToolBenchmark, ToolOptions, collect, containers, latencies

TOOL = """\
import json, os, sys, time
if "--version" in sys.argv:
    print("fake 1.2.3")
    sys.exit()
url, model, folder, *rest = sys.argv[1:]
print("10%\\r50%\\r100%")
print("going", file=sys.stderr)
mode = os.environ.get("MODE", "")
if mode == "hang":
    time.sleep(600)
if mode == "fail":
    print("the server said no", file=sys.stderr)
    sys.exit(3)
report = {"url": url, "model": model, "rest": " ".join(rest), "lists": [1] * 1000, "asked": float("inf"),
          "completed": 0 if mode == "none" else 8, "failed": 2,
          "rate": 4.0, "median_ttft_ms": 48.5, "p99_ttft_ms": float("nan"), "mean_odd_ms": 1}
open(os.path.join(folder, "report.json"), "w").write("{" if mode == "garbage" else json.dumps(report))
"""


class FakeTool(ToolBenchmark[ToolOptions]):
    """Stands for any tool."""

    tool, program, asks_version, versions = "fake", ("fake-tool",), ("fake-tool", "--version"), ">=1,<2"

    def arguments(self, endpoint: Endpoint, load: Load, folder: str, version: Version) -> Sequence[object]:
        return [endpoint.url, endpoint.model, folder, load.requests or 0]

    def read(self, folder: Path) -> Measurement:
        report = json.loads((folder / "report.json").read_text())
        completed, failed = report["completed"], report["failed"]
        found = latencies(report, {"ttft": "ttft"}, completed)
        rates = {"request_throughput": (report["rate"], "req/s"), "missing": (None, "1")}
        return collect(found, rates, completed + failed, failed, {"ttft": "ttft.first_chunk"}, report)


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program is on the path."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "fake-tool"
    program.write_text(f"#!{sys.executable}\n{TOOL}")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")


Make = Callable[[], FakeTrial]


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Make]:
    trials: list[FakeTrial] = []
    isolation = Loader().hook_plugins()["isolation"]

    def make() -> FakeTrial:
        trials.append(fake_trial(tmp_path / f"t{len(trials)}", {"local": session}, trial=f"pk-tool-{len(trials)}"))
        return trials[-1]

    with local_session("pk-tool") as session:
        for number in range(5):
            (tmp_path / f"t{number}").mkdir()
        yield make
        for trial in trials:
            assert not list(isolation.playbook_cleanup(later(trial).ctx, None))


def driver(**options: object) -> FakeTool:
    return check_driver(FakeTool, {"model": "m", "url": "http://x", **options})


def mode(name: str) -> dict[str, object]:
    return {"env": {"MODE": name}}


def test_it_measures_fails_and_stops(tool: None, made: Make) -> None:
    class Moody(FakeTool):
        """Its mood is the trial's."""

        def run(self, ctx, deployment, load):
            name = {"pk-tool-1": "fail", "pk-tool-2": "hang"}.get(ctx.trial.id, "")
            return driver(**mode(name)).run(ctx, deployment, load)

    measured = check_benchmark(check_driver(Moody), made(), broken=made(), hangs=made())
    assert measured.metrics["ttft_p50_ms"].value == 48.5
    assert measured.metrics["ttft_p50_ms"].samples == 8
    assert set(measured.metrics) == {"ttft_p50_ms", "request_throughput"}, "what it left out is left out"
    assert (measured.requests, measured.errors, measured.method) == (10, 2, "fake 1.2.3")
    assert measured.raw["definitions"] == {"ttft": "ttft.first_chunk"}


def test_what_it_is_told_and_what_comes_home(tool: None, made: Make) -> None:
    trial = made()
    deployment = Deployment(endpoints={"a": Endpoint("http://a/v1/", "ma"), "b": Endpoint("http://b", "mb")})
    measured = check_driver(FakeTool, {"service": "b", "args": ["--x", "1"]}).run(
        trial.ctx, deployment, Load(requests=7)
    )
    report = measured.raw["report"]
    assert (report["url"], report["model"], report["rest"]) == ("http://b", "mb", "7 --x 1")
    assert (report["asked"], "lists" in report) == (None, False), "what JSON cannot hold, and lists, stay in the file"
    first = check_driver(FakeTool).run(made().ctx, deployment, Load())
    assert first.raw["report"]["url"] == "http://a", "the address is the root, without /v1"
    home = trial.ctx.directory
    assert (home / "benchmark/fake/report.json").is_file()
    assert sorted((home / "logs/fake.log").read_text().splitlines()) == ["100%", "going"]
    assert {e.line for e in trial.of(Output)} == {"100%", "going"}
    assert [e.kind for e in trial.ctx.effects.open()] == ["file"]


@pytest.mark.parametrize(
    "options, words",
    [
        (mode("fail"), "fake exited with 3: the server said no"),
        (mode("none"), "no request of fake succeeded"),
        (mode("garbage"), "the report of fake cannot be read: JSONDecodeError"),
        ({"url": "", "service": "c"}, "service 'c' has no address"),
        ({"url": ""}, "there is nothing to measure"),
        ({"url": "http://127.0.0.1:1", "model": ""}, "does not say which model is served"),
    ],
)
def test_a_failure_says_what_failed(tool: None, made: Make, options: dict[str, object], words: str) -> None:
    with pytest.raises(PhaseFailed) as caught:
        driver(**options).run(made().ctx, Deployment(), Load())
    assert words in str(caught.value)
    assert caught.value.hint


def test_the_model_that_is_served(tool: None, made: Make) -> None:
    class Models(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"data": [{"id": "served-model"}]}')

        def log_message(self, *args: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Models) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/v1"
        measured = driver(url=url, model="").run(made().ctx, Deployment(), Load())
        server.shutdown()
    assert measured.raw["report"]["model"] == "served-model"


def test_a_good_tool_fits(tool: None, made: Make) -> None:
    assert driver().fit(made().ctx) is None


@pytest.mark.parametrize(
    "options, words",
    [
        (
            {"program": ["no-such-tool"]},
            "fake is not on local: `no-such-tool --version` tells no version; install it there",
        ),
        ({"versions": ">=2"}, "fake 1.2.3 is on local, and what it writes is known of >=2; the option `versions`"),
        ({"image": "x:1", "docker": "false"}, "false on local has no image x:1 (no answer); `false pull x:1` there"),
    ],
)
def test_a_tool_that_does_not_fit_is_told(tool: None, made: Make, options: dict[str, object], words: str) -> None:
    assert words in (driver(**options).fit(made().ctx) or "")


def test_a_load_that_it_cannot_make_is_told(tool: None, tmp_path: Path) -> None:
    scenario = Scenario("x", tmp_path, DriverRef("fake"), load=Load(concurrency=1, duration=5.0))
    trial = fake_trial(tmp_path, scenario=scenario)
    assert driver().fit(trial.ctx) == "fake has no option for load.duration"


def test_any_version_and_a_wrong_wish(tool: None, made: Make, tmp_path: Path) -> None:
    assert driver(versions="*").fit(made().ctx) is None
    assert driver(versions="*").check(tmp_path) == ()
    [problem] = driver(versions="newest").check(tmp_path)
    assert "versions: 'newest' is not such as" in problem


# -- in a container -----------------------------------------------------------------------------------------------


def test_its_hooks_fit() -> None:
    assert check_hooks(containers) == ["playbook_cleanup"]


def test_the_container_is_announced_and_removed_and_secrets_are_no_arguments(tmp_path: Path) -> None:
    node = FakeSession({
        "docker run --rm --entrypoint *": "fake 1.2.3", "docker run *": "", "docker ps *": "", "sh -c *": "1000:1000",
        "docker image inspect *": "[]", "*": "",
    }, node=fake_node("local"))  # fmt: skip
    report = b'{"completed": 8, "failed": 0, "rate": 1.0}'
    node.files["/tmp/playbook-fake-pk-00000000-test-1/report.json"] = report
    trial = fake_trial(tmp_path, {"local": node})
    made = driver(image="fake:1", env={"TOKEN": "hunter2hunter2"})
    assert made.fit(trial.ctx) is None
    assert made.run(trial.ctx, Deployment(), Load()).metrics["request_throughput"].value == 1.0
    [run] = [line for line in node.lines if line.startswith("docker run --rm --init")]
    assert "--network host --user 1000:1000 --label playbook.trial=pk-00000000-test-1" in run
    assert "-e HOME=/tmp/playbook-fake-pk-00000000-test-1 -e TOKEN --entrypoint fake-tool fake:1 http://x m" in run
    assert "hunter2" not in "".join(node.lines)
    assert {"TOKEN": "hunter2hunter2"} in node.environments
    assert trial.ctx.effects.open("bench-container") == []
    effect = trial.ctx.effects.intend("bench-container", "local", name="bench-x", docker="docker")
    assert check_cleanup(containers, trial, kinds=["bench-container"]) == []
    assert node.lines[-2:] == [
        "docker rm --force --volumes bench-x",
        "docker ps --all --quiet --filter 'name=^bench-x$'",
    ]
    assert effect.kind == "bench-container"


def test_a_container_that_stays_is_told(tmp_path: Path) -> None:
    session = FakeSession({"docker rm *": Said(stderr="no", status=1), "docker ps *": "abc"}, node=fake_node("local"))
    trial = fake_trial(tmp_path, {"local": session})
    trial.ctx.effects.intend("bench-container", "local", name="bench-x", docker="docker")
    [left] = containers.playbook_cleanup(trial.ctx, None)
    assert (left.kind, left.name) == ("container", "bench-x")
