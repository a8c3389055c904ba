"""run_test.sh as its author meets it, here and on a node."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playbook_kernel.api import Deployment, DriverRef, Endpoint, Load, Node, Output, PhaseFailed, PhaseTimeout, Warned
from playbook_kernel.scope import Cancel, Scope, replaced
from playbook_kernel.testing import FakeTrial, check_benchmark, check_driver, fake_trial
from playbook_plugins.benchmarks.script import ScriptBenchmark
from playbook_plugins.transports.local import LocalTransport

Make = Callable[..., FakeTrial]


@pytest.fixture
def made(tmp_path: Path) -> Make:
    """A trial whose scenario has this script; node ``n1`` is this machine, with a work_dir of its own."""

    def make(script: str, name: str = "run_test.sh") -> FakeTrial:
        home = tmp_path / f"trial{len(list(tmp_path.iterdir()))}"
        node = Node("n1", DriverRef("local"), work_dir=str(home / "work"))
        session = LocalTransport(check_driver(LocalTransport).options).connect(node, owner="pk-00000000-test-1")
        home.mkdir()
        (home / "work").mkdir()
        trial = fake_trial(home, {"n1": session})
        path = trial.ctx.trial.scenario.directory / name
        path.write_text(script)
        path.chmod(0o755)
        return trial

    return make


def run(trial: FakeTrial, **options: Any) -> Any:
    driver = check_driver(ScriptBenchmark, options)
    return driver.run(trial.ctx, Deployment(endpoints={"e": Endpoint("http://e:1")}), Load())


def test_it_measures(made: Make) -> None:
    measured = run(
        made("echo METRIC:throughput=8.5\necho METRIC:total_requests=10\necho METRIC:successful_requests=9\n")
    )
    assert measured.metrics["throughput"].value == 8.5
    assert measured.metrics["throughput"].samples == 9
    assert (measured.requests, measured.errors) == (10, 1)


@pytest.mark.parametrize("node", ["local", "n1"])
def test_what_it_is_given(made: Make, node: str) -> None:
    trial = made(
        "for v in SCENARIO_NAME SCENARIO_PATH SCENARIO_DIR SCENARIO_RESULT_PATH ENDPOINT_URL EXTRA; do\n"
        'eval echo "$v=\\$$v"; done\n'
        'echo "pwd=$PWD"; echo "args=$*"; [ -f "$SCENARIO_DIR/run_test.sh" ] && echo files=there\n'
    )
    run(trial, node=node, env={"EXTRA": "a b"}, args=["x", "y z"], result_paths=["out/a.json", "b/"])
    said = dict(e.line.split("=", 1) for e in trial.of(Output))
    directory = trial.ctx.trial.scenario.directory
    home = str(directory.resolve()) if node == "local" else trial.ctx.nodes["n1"].work_dir
    assert said == {
        "SCENARIO_NAME": "test",
        "SCENARIO_PATH": home,
        "SCENARIO_DIR": home if node == "local" else f"{home}/.playbook-pk-00000000-test-1",
        "SCENARIO_RESULT_PATH": f"{home}/out/a.json:{home}/b",
        "ENDPOINT_URL": "http://e:1",
        "EXTRA": "a b",
        "pwd": home,
        "args": "x y z",
        "files": "there",
    }
    assert Path(home, "out").is_dir()
    assert Path(home, "b").is_dir()
    assert (trial.ctx.directory / "logs/test_output.log").read_text().startswith("SCENARIO_NAME=test\n")
    open_effects = [(e.kind, e.node) for e in trial.ctx.effects.open()]
    assert open_effects == ([] if node == "local" else [("file", "n1")])


def test_what_went_to_a_node_is_announced_first(made: Make) -> None:
    trial = made("true")
    (trial.ctx.trial.scenario.directory / "test_config.json").write_text("{}")
    run(trial, node="n1")
    assert [kind for kind, _ in trial.records] == ["intent", "done", "intent", "done"]
    paths = [str(e.data["path"]) for e in trial.ctx.effects.open()]
    assert paths[0] == "/tmp/test_config_test.json"
    assert Path(paths[0]).stat().st_mode & 0o777 == 0o600
    Path(paths[0]).unlink()


@pytest.mark.parametrize("node", ["local", "n1"])
def test_a_python_script(made: Make, node: str) -> None:
    trial = made("print('METRIC:answer=42')", "bench.py")
    assert run(trial, script="bench.py", node=node).metrics["answer"].value == 42


def test_its_own_interpreter(made: Make) -> None:
    trial = made("#!/usr/bin/env -S sed -n s/^#.*METRIC/METRIC/p\n# METRIC:answer=42\n", "bench")
    assert run(trial, script="bench").metrics["answer"].value == 42


@pytest.mark.parametrize(
    "script, words",
    [
        ("echo out of memory >&2; exit 7", "exited with 7: out of memory"),
        ("kill -9 $$", r"^run_test.sh exited with 137 \(SIGKILL\)"),
        ("exit 1", "exited with 1"),
    ],
)
def test_a_failure_says_its_last_words(made: Make, script: str, words: str) -> None:
    with pytest.raises(PhaseFailed, match=words):
        run(made(script))


def test_a_script_that_fails_on_a_node_names_it(made: Make) -> None:
    with pytest.raises(PhaseFailed, match=r"^run_test.sh on n1 exited with 137 \(SIGKILL\)"):
        run(made("kill -9 $$"), node="n1")


def test_a_tty_that_is_not_there_has_a_hint(made: Make) -> None:
    with pytest.raises(PhaseFailed) as error:
        run(made("echo 'the input device is not a TTY' >&2; exit 1"))
    assert "leave out -t" in (error.value.hint or "")


def alive(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_too_late_is_killed_with_all_it_started(made: Make, tmp_path: Path) -> None:
    trial = made(f"sleep 600 & echo $! >{tmp_path}/pid; wait\n")
    with pytest.raises(PhaseTimeout, match=r"not done within 0\.5 s"):
        run(trial, timeout=0.5)
    assert not alive((tmp_path / "pid").read_text().strip())


def test_a_cancellation_keeps_what_it_said(made: Make) -> None:
    cancel = Cancel()
    trial = made("echo METRIC:a=1; sleep 600")
    said = threading.Event()
    emit = trial.ctx.emit
    trial.ctx.emit = lambda event: (emit(event), said.set())  # type: ignore[assignment,func-returns-value]
    threading.Thread(target=lambda: (said.wait(30), cancel.set("enough")), daemon=True).start()
    with replaced(Scope(cancel=cancel)), pytest.raises(Exception, match="enough"):
        run(trial)
    assert (trial.ctx.directory / "logs/test_output.log").read_text() == "METRIC:a=1\n"


def test_broken_metrics_are_warned_about(made: Make) -> None:
    trial = made("echo 'METRICS_START { METRICS_END'")
    run(trial)
    assert "is not JSON" in trial.of(Warned)[0].message


def test_a_path_that_leads_out_is_refused(tmp_path: Path) -> None:
    (tmp_path / "evil.sh").touch()
    (tmp_path / "scenario").mkdir()
    driver = check_driver(ScriptBenchmark, {"script": "../evil.sh"})
    assert "leads out" in driver.check(tmp_path / "scenario")[0]
    assert "no such script" in check_driver(ScriptBenchmark).check(tmp_path / "scenario")[0]
    elsewhere = check_driver(ScriptBenchmark, {"result_paths": ["out", "../../x", "a/../.."]})
    assert [said.partition(" leads out")[0] for said in elsewhere.check(tmp_path / "scenario")] == [
        "result_paths: '../../x'", "result_paths: 'a/../..'",
    ]  # fmt: skip


@pytest.mark.parametrize("node", ["local", "n1"])
def test_nothing_is_made_outside(made: Make, tmp_path: Path, node: str) -> None:
    trial = made("true")
    paths = ["in/x/", "../new/x", "a/../../new/y/", str(tmp_path / "new/z"), f"{tmp_path}/new/"]
    run(trial, node=node, result_paths=paths)
    assert [str(p) for p in tmp_path.rglob("new")] == []
    assert len(list(tmp_path.rglob("in/x"))) == 1


def test_it_conforms(made: Make) -> None:
    check_benchmark(
        check_driver(ScriptBenchmark), made("echo METRIC:a=1"), broken=made("exit 3"), hangs=made("sleep 600")
    )


@pytest.mark.parametrize("place", ["001_a", "001_a/trials/pk-2"])
def test_the_hint_names_the_log_of_its_own_attempt(made: Make, tmp_path: Path, place: str) -> None:
    trial = made("exit 3")
    trial.ctx.directory = tmp_path / "run" / place
    with pytest.raises(PhaseFailed) as error:
        run(trial)
    assert error.value.hint == f"its output is in {place}/logs/test_output.log"
    assert (tmp_path / "run" / place / "logs/test_output.log").is_file()
