"""The sampling, on this machine, with its real /proc and a real engine."""

from __future__ import annotations

import itertools
import json
import os
import resource
import signal
import threading
import time
from pathlib import Path

import pytest
from attrs import evolve
from playbook_kernel.api import Deployment, Endpoint, Measurement, Metric, Session, TrialContext
from playbook_kernel.testing import FakeSession, FakeTrial, Hang, check_collector, check_driver
from playbook_plugins.collectors.telemetry import TelemetryCollector
from playbook_plugins.stats.samples import load, load_samples
from playbook_plugins.telemetry.node import SCRIPT
from playbook_plugins.telemetry.options import Options
from playbook_plugins.telemetry.summary import energy, figures
from playbook_plugins.telemetry.watch import Watch

from tests.plugins.reporters.samples import trial
from tests.plugins.telemetry.conftest import OWNER, eventually

FAST = Options(interval=0.1, slow_interval=1)


def rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]


def seen(path: Path, quantity: str, count: int = 1) -> bool:
    with path.open() as file:
        return sum(f'"{quantity}":' in line for line in file) >= count


def watched(ctx: TrialContext, deployment: Deployment, *quantities: str, options: Options = FAST) -> list[dict]:
    """Sample until each quantity was seen three times."""
    with Watch(ctx, deployment, options) as watch:
        # The file is written in big pieces; small ones are on disk once it is closed.
        assert watch._file is not None
        watch._file.reconfigure(line_buffering=True)
        for quantity in quantities:
            eventually(lambda q=quantity: seen(watch.path, q, 3), quantity)
    return rows(watch.path)


def ours() -> list[int]:
    """Processes that carry the trial's mark."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"PLAYBOOK_OWNER={OWNER}".encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def test_a_node_is_sampled_on_our_clock_and_nothing_is_left(ctx: TrialContext):
    before = time.time()
    found = watched(ctx, Deployment(), "cpu", "mem", "net_rx")
    after = time.time()
    assert {r["source"] for r in found} == {"here"}
    assert all(before - 1 <= r["t"] <= after + 1 for r in found)
    assert all(0 <= r["cpu"] <= 100 for r in found if "cpu" in r)
    assert all(0 < r["mem"] < 100 for r in found if "mem" in r)
    eventually(lambda: not ours(), "every process is gone")


def test_an_engine_is_asked_for_its_metrics(ctx: TrialContext, engine: str):
    deployment = Deployment(
        (), {"engine": Endpoint(engine), "engine@here": Endpoint(engine), "none@here": Endpoint("http://127.0.0.1:9")}
    )
    found = watched(ctx, deployment, "running", "generated")
    assert {r["source"] for r in found if "running" in r} == {"here/engine"}
    assert {r["running"] for r in found if "running" in r} == {0.0}


def test_accelerators_are_listened_to(ctx: TrialContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    tools = tmp_path / "bin"
    tools.mkdir()
    loop = "#!/bin/sh\nwhile :; do echo '0, 90, 100, 200, 400.00, 50'; echo '1, [N/A], 100, 200, 200.00, 50'; sleep 0.1; done\n"
    table = "#!/bin/sh\necho '| 2 910B3 | OK | 93.6 40 0 / 0 |'\necho '| 0 | 0000:C1:00.0 | 87 0 / 0 33060 / 65536 |'\n"
    for name, text in (("nvidia-smi", loop), ("npu-smi", table)):
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    found = watched(ctx, Deployment(), "util")
    assert {"here/gpu0", "here/gpu1", "here/npu2"} <= {r["source"] for r in found}
    series = load(ctx.directory / "telemetry.jsonl")
    joules, watts = energy({k: v for k, v in series.items() if "npu" not in k[1]}) or (0, 0)
    assert watts == pytest.approx(600.0)
    joules, _ = energy(series) or (0, 0)
    measured = Measurement({"output_tokens_per_s": Metric(100.0, "tok/s"), "duration_s": Metric(2.0, "s")})
    made = figures(ctx.directory / "telemetry.jsonl", measured)
    assert made["joules_per_output_token"].value == pytest.approx(joules / 200, rel=1e-3)


def test_what_is_killed_begins_again_and_the_gap_stays(ctx: TrialContext):
    with Watch(ctx, Deployment(), FAST) as watch:
        assert watch._file is not None
        watch._file.reconfigure(line_buffering=True)
        eventually(lambda: seen(watch.path, "cpu", 2), "samples")
        count = len(rows(watch.path))
        for pid in ours():
            os.kill(pid, signal.SIGKILL)
        eventually(lambda: len(rows(watch.path)) > count + 8, "samples again")
    times = sorted(r["t"] for r in rows(watch.path))
    assert max(b - a for a, b in itertools.pairwise(times)) > 1.0


def test_one_that_begins_as_everybody_leaves_holds_nobody(ctx: TrialContext):
    left = threading.Event()

    class Late(FakeSession):
        def start(self, *args: object, **more: object):
            left.wait(30)
            return super().start(*args, **more)

    session = Late({"*": Hang()})
    watch = Watch(evolve(ctx, session=lambda _: session), Deployment(), FAST)
    watch._stop.set = lambda done=watch._stop.set: (done(), left.set())
    with watch:
        assert watch._threads
    assert [t for t in watch._threads if t.is_alive()] == []


def test_a_place_that_cannot_be_written_costs_a_warning(ctx: TrialContext):
    told = []
    ctx.emit = told.append
    ctx.directory = ctx.directory / "not-there"
    with Watch(ctx, Deployment(), FAST):
        pass
    assert len(told) == 1
    assert "telemetry cannot be kept" in told[0].message


def test_the_collector_keeps_series_and_summary(ctx: TrialContext):
    watched(ctx, Deployment(), "cpu")
    kept = check_collector(check_driver(TelemetryCollector), FakeTrial(ctx, [], []))
    assert [a.kind for a in kept] == ["telemetry", "artifact"]
    series = json.loads((ctx.directory / kept[1].path).read_text())["series"]
    cpu = next(s for s in series if s["quantity"] == "cpu")
    assert cpu["min"] <= cpu["mean"] <= cpu["max"]
    samples = load_samples(ctx.directory, evolve(trial("s"), artifacts=tuple(kept)))
    assert samples["cpu", "here"]


def test_nothing_sampled_is_nothing_kept(ctx: TrialContext):
    (ctx.directory / "telemetry.jsonl").write_text("")
    assert TelemetryCollector(FAST).collect(ctx, None, ctx.directory) == []
    assert not (ctx.directory / "telemetry.jsonl").exists()


def test_a_sample_costs_a_node_no_hundredth_of_a_second_of_cpu(session: Session):
    """At one sample a second that is at most one percent of a core."""
    wanted = 40
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with session.start(["sh", "-s", "--", "0.02", "10", "1"], stdin=True) as process:
        process.write(SCRIPT.encode())
        process.end_input()
        count = 0
        for _, line in process.lines():
            count += line.startswith("C ")
            if count >= wanted:
                break
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"\n{used / wanted * 1000:.2f} ms of CPU a sample")
    assert used > 0
    assert used / wanted <= 0.01
