"""For the tests of adapters: a machine where the tool is of some version and writes reports that were recorded."""

from __future__ import annotations

import contextlib
import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from playbook_kernel.api import Deployment, Endpoint, Load, Measurement, PhaseFailed, TransferFailed
from playbook_kernel.testing import (
    FakeSession,
    FakeTrial,
    Hang,
    Said,
    check_benchmark,
    check_driver,
    fake_trial,
    local_session,
    node,
)
from playbook_kernel.testing.fakes import Answer

from .tool import ToolBenchmark, ToolOptions

TARGET = Deployment(endpoints={"engine": Endpoint("http://10.0.0.1:8000", "sim-model")})


def answering(
    cls: type[ToolBenchmark[ToolOptions]], home: Path, version: str, files: Mapping[str, Path], ends: Answer = ""
) -> FakeTrial:
    """A trial on this machine; the tool is of that version, leaves copies of ``files`` in its folder, and ends so."""
    home.mkdir(parents=True, exist_ok=True)
    session = FakeSession({shlex.join(cls.asks_version): version, "mkdir *": "", "*": ends}, node=node("local"))
    for name, path in files.items():
        session.files[f"/tmp/playbook-{cls.tool}-pk-00000000-test-1/{name}"] = path.read_bytes()  # noqa: S108
    return fake_trial(home, {"local": session})


def check_tool(
    cls: type[ToolBenchmark[ToolOptions]], home: Path, version: str, files: Mapping[str, Path]
) -> Measurement:
    """The conformance check of benchmarks on a recorded report; a failing and a hanging tool included."""
    assert check_driver(cls).fit(answering(cls, home / "fit", version, files).ctx) is None
    return check_benchmark(
        check_driver(cls),
        answering(cls, home / "good", version, files),
        TARGET,
        Load(concurrency=4, requests=20),
        broken=answering(cls, home / "broken", version, files, Said(stderr="connection refused", status=1)),
        hangs=answering(cls, home / "hangs", version, files, Hang()),
    )


def told(cls: type[ToolBenchmark[ToolOptions]], home: Path, version: str, load: Load, **options: object) -> list[str]:
    """The words that a tool is called with; its folder is ``FOLDER`` in them."""
    trial = answering(cls, home, version, {})
    session = trial.ctx.session("local")
    assert isinstance(session, FakeSession)
    with contextlib.suppress(PhaseFailed, TransferFailed):  # it wrote no report
        check_driver(cls, options).run(trial.ctx, TARGET, load)
    line = next(c for c in reversed(session.commands) if c[0] != "mkdir")
    return [word.replace(f"/tmp/playbook-{cls.tool}-{trial.ctx.trial.id}", "FOLDER") for word in line]  # noqa: S108


def command_of(cls: type[ToolBenchmark[ToolOptions]]) -> list[str]:
    """How the real tool is called on this machine, by the variable ``PLAYBOOK_TOOL_NAME``; empty where it is not set.

    ``PLAYBOOK_TOKENIZER`` names the folder of a tokenizer for it.
    """
    return shlex.split(os.environ.get(f"PLAYBOOK_TOOL_{cls.tool.upper()}", ""))


def measure_simulator(cls: type[ToolBenchmark[ToolOptions]], home: Path, **env: str) -> Measurement:
    """Put a load of the real tool on a simulated engine, whose requests take some 200 ms (30 to the first token)."""
    sim = [str(Path(sys.executable).with_name("playbook-sim-engine")), "--host", "127.0.0.1", "--model", "sim-model"]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    timing = ["--prefill-base-ms", "30", "--decode-base-ms", "10", "--port", str(port)]
    home.mkdir(parents=True, exist_ok=True)
    with (
        subprocess.Popen([*sim, *timing], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as engine,
        local_session("pk-real-tool") as session,
    ):
        try:
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), 1.0).close()
                    break
                except OSError:
                    assert engine.poll() is None, "the simulated engine did not start"
            trial = fake_trial(home, {"local": session}, trial="pk-real-tool")
            tokenizer = os.environ.get("PLAYBOOK_TOKENIZER", "")
            given = {"tokenizer": tokenizer, "input_len": 64, "output_len": 16, "env": env}
            driver = check_driver(cls, {**given, "program": command_of(cls), "versions": "*"})
            assert driver.fit(trial.ctx) is None
            target = Deployment(endpoints={"engine": Endpoint(f"http://127.0.0.1:{port}")})
            return driver.run(trial.ctx, target, Load(concurrency=4, requests=20))
        finally:
            session.run(["rm", "-rf", f"/tmp/playbook-{cls.tool}-pk-real-tool"])  # noqa: S108
            engine.terminate()
