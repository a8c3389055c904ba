"""Load from several workers of a real cluster; nothing here is pretended but the workers' clocks and versions."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import zipfile
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from playbook_kernel.api import (
    Cancelled,
    CommandFailed,
    Deployment,
    Load,
    NodeError,
    PhaseFailed,
    PhaseTimeout,
    Unreachable,
)
from playbook_kernel.scope import Cancel, Deadline, Scope, replaced
from playbook_kernel.testing import FakeTrial, check_driver, check_executor, fake_trial
from playbook_plugins.benchmarks.aicp import AicpBenchmark
from playbook_plugins.benchmarks.aicp.core.records import Loaded, load

from playbook_executor_dask import DaskExecutor

REQUESTS, TOKENS = 48, 5


def executor(dask: Any, **options: object) -> DaskExecutor:
    return check_driver(DaskExecutor, {"scheduler": dask.address, **options})


def bench(dask: Any, server: str, names: str = "", **options: object) -> AicpBenchmark:
    port = server.rpartition(":")[2]
    given: dict[str, object] = {
        "base_url": f"http://127.0.0.1:{port}", "model": "m", "calibrate": 0, "arrival": "poisson",
        "num_prompts": REQUESTS, "max_concurrency": 0, "request_rate": 60, "dynamic_input_len": 8,
        "dynamic_output_len": TOKENS, "timestamps": "user", "seed": 7, "disable_warm": True,
    }  # fmt: skip
    if names:
        given["executor"] = {"use": "dask", "options": {"scheduler": dask.address, "workers": list(names)}}
    return check_driver(AicpBenchmark, {**given, **options})


def trial(path: Path) -> FakeTrial:
    path.mkdir()
    return fake_trial(path)


def measured(made: FakeTrial, driver: AicpBenchmark) -> tuple[dict[str, Any], Loaded]:
    [point] = driver.run(made.ctx, Deployment(), Load()).raw["points"]
    return point, load(made.ctx.directory / point["records"])


def test_it_is_found_by_its_name_and_dask_is_not_imported_for_it() -> None:
    [point] = entry_points(group="playbook_kernel.executor", name="dask")
    assert point.load() is DaskExecutor
    code = "import playbook_executor_dask, sys; sys.exit('distributed' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_it_keeps_the_contract_of_executors(dask: Any, tmp_path: Path) -> None:
    places = check_executor(executor(dask), trial(tmp_path / "t"))
    assert [p.name for p in places] == ["a", "b", "c", "d"]
    assert all(0 < p.error < 1 for p in places)
    assert all(abs(p.offset) <= p.error for p in places), "it is the same clock, as far as one can tell"
    assert not dask.left


@pytest.fixture(scope="module")
def alone(server: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Loaded]:
    """The same load made by one process of this machine."""
    return measured(trial(tmp_path_factory.mktemp("alone") / "t"), bench(None, server, processes=1))


@pytest.mark.parametrize("names", ["a", "ab", "abc", "abcd"])
def test_the_schedule_and_the_numbers_are_those_of_one_process(
    dask: Any, server: str, alone: tuple[dict[str, Any], Loaded], tmp_path: Path, names: str
) -> None:
    alone, one = alone
    whole, many = measured(trial(tmp_path / "many"), bench(dask, server, names))
    due = {r.number: r.intended for r in one.records}
    assert len(due) == REQUESTS
    assert {r.number: r.intended for r in many.records} == due, "each request once, and when it was to leave"
    assert not [r for r in many.records if r.error]
    for key in ("requests", "succeeded", "output_tokens", "input_tokens"):
        assert whole[key] == alone[key]
    assert {r.number: len(r.tokens) for r in many.records} == {r.number: len(r.tokens) for r in one.records}
    assert min(r.tokens[0] for r in many.records) >= 40_000, "no answer comes before the server gives it"
    assert all(r.sent >= r.intended for r in many.records), "by each one's own clock nothing leaves early"
    assert set(whole["client"]["places"]) == set(names)
    assert whole["client"]["clock_error_ms"] == max(p["clock_error_ms"] for p in whole["client"]["places"].values())
    assert not dask.left


def test_what_is_merged_is_records(dask: Any, server: str, tmp_path: Path) -> None:
    """The figures of the whole are computed from every request, so they can be computed again from the file."""
    made = trial(tmp_path / "t")
    point, _ = measured(made, bench(dask, server, "abc"))
    code = "import sys; from playbook_plugins.benchmarks.aicp.cli import main; sys.exit(main(sys.argv[1:]))"
    file = made.ctx.directory / point["records"]
    again = subprocess.run([sys.executable, "-c", code, "recompute", file, "--json"], capture_output=True, check=True)
    assert json.loads(again.stdout)["metrics"] == json.loads(json.dumps(point["metrics"]))


def test_a_closed_loop_keeps_its_concurrency_over_all(dask: Any, server: str, tmp_path: Path) -> None:
    driver = bench(dask, server, "abcd", max_concurrency=6, request_rate="inf", ramp=0, disable_warm=False)
    point, found = measured(trial(tmp_path / "t"), driver)
    assert (point["requests"], point["errors"]) == (REQUESTS, {})
    assert point["client"]["reached_concurrency"] == 6
    assert sorted(r.number for r in found.records) == list(range(REQUESTS))


def test_fewer_streams_than_workers(dask: Any, server: str, tmp_path: Path) -> None:
    driver = bench(dask, server, "abcd", max_concurrency=2, request_rate="inf", num_prompts=4)
    point, found = measured(trial(tmp_path / "t"), driver)
    assert len(found.records) == 4
    assert set(point["client"]["places"]) == {"a", "b"}


def test_another_clock_is_measured_and_makes_no_difference(fresh: Any, server: str, tmp_path: Path) -> None:
    fresh.add("ahead", TEST_SHIFT=7.5)
    fresh.add("behind", TEST_SHIFT=-3600)
    fresh.add("right")
    found = {p.name: p for p in executor(fresh).places(trial(tmp_path / "t").ctx)}
    for name, shift in (("ahead", 7.5), ("behind", -3600.0), ("right", 0.0)):
        assert abs(found[name].offset - shift) <= found[name].error
    driver = bench(fresh, server, executor={"use": "dask", "options": {"scheduler": fresh.address}})
    point, run = measured(trial(tmp_path / "r"), driver)
    late = [r.sent - r.intended for r in run.records]
    assert len(late) == REQUESTS
    told = point["client"]["places"]
    assert round(told["ahead"]["clock_offset_ms"], -2) == 7_500
    assert round(told["behind"]["clock_offset_ms"], -2) == -3_600_000
    # The server has one clock: between its first and its last answer lies what the schedule says, not an hour.
    seconds = max(r.sent + r.ended for r in run.records) / 1e6
    assert seconds < max(r.intended for r in run.records) / 1e6 + 30


def test_a_worker_that_dies_is_named_and_the_rest_is_kept(fresh: Any, server: str, tmp_path: Path) -> None:
    fresh.add("stays", "dies")
    made, names = trial(tmp_path / "t"), ["stays", "dies"]
    slow = {"max_concurrency": 4, "request_rate": "inf", "dynamic_output_len": 50, "num_prompts": 4000}
    driver = bench(
        fresh, server, executor={"use": "dask", "options": {"scheduler": fresh.address, "workers": names}}, **slow
    )

    def kill() -> None:
        fresh.until(lambda: len(list(fresh.tmp.glob("playbook-*/aicp-*/spool-*.bin"))) >= 2)
        fresh.kill("dies")

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(PhaseFailed, match="dies: the worker died"):
        driver.run(made.ctx, Deployment(), Load())
    killer.join()
    [path] = made.ctx.directory.glob("aicp/records/*/*.jsonl*")
    kept = load(path)
    assert kept.client is not None
    [said] = made.ctx.directory.glob("aicp/records/*/[0-9]*.json")
    assert json.loads(said.read_text())["partial"] is True
    fresh.until(lambda: not fresh.left)


def test_a_program_that_fails_ends_the_others_with_what_they_had(dask: Any, tmp_path: Path) -> None:
    body = """
import signal, sys, time
share = sys.stdin.read()
if share == "a":
    print("half"); sys.stdout.flush(); print("no room", file=sys.stderr); sys.exit(5)
signal.signal(signal.SIGTERM, lambda *_: (print("stopped " + share), sys.exit(0)))
time.sleep(3600)
"""
    with pytest.raises(CommandFailed, match=r"^a: the load exited 5: no room$") as caught:
        executor(dask).run(trial(tmp_path / "t").ctx, zipped(tmp_path, body), {n: n.encode() for n in "abc"})
    assert caught.value.kept == {"a": b"half\n", "b": b"stopped b\n", "c": b"stopped c\n"}
    assert not dask.left


def test_what_does_not_stop_is_killed_with_all_it_started(dask: Any, tmp_path: Path) -> None:
    body = f"""
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(3600)"])
open({str(tmp_path)!r} + "/" + sys.stdin.read(), "w").write(f"{{os.getpid()}} {{child.pid}}")
time.sleep(3600)
"""
    cancel = Cancel()
    made, program = trial(tmp_path / "t"), zipped(tmp_path, body)

    def stop() -> None:
        dask.until(lambda: all((tmp_path / n).exists() and (tmp_path / n).read_text() for n in "ab"))
        cancel.set("enough")

    thread = threading.Thread(target=stop)
    thread.start()
    with replaced(Scope(cancel=cancel)), pytest.raises(Cancelled, match="enough"):
        executor(dask).run(made.ctx, program, {"a": b"a", "b": b"b"})
    thread.join()
    pids = [int(p) for n in "ab" for p in (tmp_path / n).read_text().split()]
    dask.until(lambda: not [p for p in pids if alive(p)])
    assert not dask.left


def test_a_worker_or_its_guard_that_dies_leaves_no_program(fresh: Any, tmp_path: Path) -> None:
    fresh.add("w")
    body = f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(3600)"
    file = tmp_path / "pid"

    def kill(what: str) -> None:
        fresh.until(lambda: file.exists() and file.read_text())
        if what == "worker":
            fresh.kill("w")
        else:
            stat = Path(f"/proc/{file.read_text()}/stat").read_text()
            os.kill(int(stat.rpartition(")")[2].split()[1]), signal.SIGKILL)

    made, program = trial(tmp_path / "t"), zipped(tmp_path, body)
    for what, why in (("guard", "w: its guard was killed"), ("worker", "w: the worker died")):
        file.unlink(missing_ok=True)
        thread = threading.Thread(target=kill, args=(what,))
        thread.start()
        with pytest.raises(NodeError, match=why):
            executor(fresh).run(made.ctx, program, {"w": b""})
        thread.join()
        fresh.until(lambda: not alive(int(file.read_text())))
    fresh.until(lambda: not fresh.left)


def test_a_deadline_ends_the_load_and_keeps_it(dask: Any, server: str, tmp_path: Path) -> None:
    made = trial(tmp_path / "t")
    driver = bench(dask, server, "ab", max_concurrency=4, request_rate="inf", num_prompts=100_000, ramp=0)
    with replaced(Scope(Deadline.after(40.0))), pytest.raises(PhaseTimeout, match="the load was not done in time"):
        driver.run(made.ctx, Deployment(), Load())
    [path] = made.ctx.directory.glob("aicp/records/*/*.jsonl*")
    assert load(path).records
    assert not dask.left


def test_a_machine_that_is_late_for_the_start_fails_the_load(
    dask: Any, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = bench(dask, server, "ab")
    monkeypatch.setattr("playbook_plugins.benchmarks.aicp.spread._CONNECTION", -1.0)
    with pytest.raises(PhaseFailed, match=r"the load exited 1: it was ready [0-9.]+ s after the start"):
        driver.run(trial(tmp_path / "t").ctx, Deployment(), Load())


def test_no_scheduler_no_worker_no_such_worker(fresh: Any, tmp_path: Path) -> None:
    ctx = trial(tmp_path / "t").ctx
    with pytest.raises(NodeError, match="the scheduler has no workers"):
        executor(fresh).places(ctx)
    fresh.add("w")
    with pytest.raises(NodeError, match=r"^x: is no worker of tcp://.*; there are w$"):
        executor(fresh, workers=["w", "x"]).places(ctx)
    with pytest.raises(NodeError, match=r"^x: the worker is not there any more"):
        executor(fresh).run(ctx, b"", {"x": b""})
    fresh.stop()
    with pytest.raises(Unreachable, match=r"^tcp://127.0.0.1:.*: there is no dask scheduler"):
        executor(fresh, connect_timeout=1).places(ctx)
    for bad in ("nonsense", "ftp://x:1"):
        with pytest.raises(Unreachable, match=f"^{bad}: there is no dask scheduler"):
            executor(At(bad), connect_timeout=1).places(ctx)


def test_another_version_is_told_before_anything_is_deployed(fresh: Any, server: str, tmp_path: Path) -> None:
    fresh.add("old", TEST_VERSION="2020.1.0")
    why = bench(fresh, server, "", executor={"use": "dask", "options": {"scheduler": fresh.address}}).fit(
        trial(tmp_path / "t").ctx
    )
    assert why
    assert re.search(r"worker tcp://.* has distributed 2020\.1\.0, and here it is 20", why)


def test_an_executor_that_is_none_is_told_before_anything_is_deployed(server: str, tmp_path: Path) -> None:
    ctx = trial(tmp_path / "t").ctx
    assert "nobody" in (bench(None, server, executor="nobody").fit(ctx) or "")
    assert "scheduler" in (bench(None, server, executor="dask").fit(ctx) or "")
    wrong = bench(None, server, executor={"name": "dask"})
    assert list(wrong.check(tmp_path)) == ['executor: expected its name, or {"use": NAME, "options": {...}}']
    assert "not both" in bench(None, server, executor="dask", node="n1").check(tmp_path)[0]
    assert "precision" in bench(None, server, executor="dask", precision=0.05).check(tmp_path)[0]


class At:
    def __init__(self, address: str) -> None:
        self.address = address


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def zipped(folder: Path, body: str) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("__main__.py", body)
    return made.getvalue()
