"""A real scheduler with real workers, each a process of this machine, and a server whose timing is known."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from distributed import Client

# Python runs this first in a worker and in what it starts: its real-time clock is another, its version too if so told.
SITE = """\
import os, time
shift, version = float(os.environ.get("TEST_SHIFT", 0)), os.environ.get("TEST_VERSION")
if shift:
    real, real_ns = time.time, time.time_ns
    time.time = lambda: real() + shift
    time.time_ns = lambda: real_ns() + int(shift * 1e9)
if version:
    import importlib.metadata as m
    asked = m.version
    m.version = lambda name: version if name == "distributed" else asked(name)
"""
LIMIT = 60.0


class Dask:
    """The cluster; workers may be added, and die."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.workers, self.processes = folder, {}, []
        (folder / "site").mkdir()
        (folder / "site" / "sitecustomize.py").write_text(SITE)
        self.tmp = folder / "tmp"
        self.tmp.mkdir()
        where = folder / "scheduler.json"
        self.start("scheduler", "--host", "127.0.0.1", "--port", 0, "--no-dashboard", "--scheduler-file", where)
        self.address = json.loads(self.until(lambda: where.exists() and where.read_text()))["address"]

    def start(self, *words: object, **env: object) -> subprocess.Popen[bytes]:
        given = {**os.environ, "TMPDIR": str(self.tmp), "PYTHONPATH": str(self.folder / "site")}
        given |= {k: str(v) for k, v in env.items()}
        command = [sys.executable, "-m", "dask", *map(str, words)]
        with (self.folder / f"{len(self.processes)}.log").open("wb") as log:
            self.processes.append(subprocess.Popen(command, env=given, stdout=log, stderr=log))
        return self.processes[-1]

    def until(self, true):
        end = time.monotonic() + LIMIT
        while not (found := true()):
            assert time.monotonic() < end, "\n".join(p.read_text() for p in self.folder.glob("*.log"))
            time.sleep(0.05)
        return found

    def add(self, *names: str, **env: object) -> None:
        for name in names:
            words = ("--name", name, "--no-nanny", "--nthreads", 1, "--no-dashboard", "--local-directory", self.tmp)
            self.workers[name] = self.start("worker", self.address, *words, **env)
        with Client(self.address, set_as_default=False) as client:
            self.until(lambda: {str(w["name"]) for w in client.scheduler_info()["workers"].values()} >= set(names))

    def kill(self, name: str) -> None:
        process = self.workers.pop(name)
        process.kill()
        process.wait()

    @property
    def left(self) -> list[str]:
        """What lies in the workers' folder for temporary files and is ours."""
        return [p.name for p in self.tmp.iterdir() if p.name.startswith(("playbook", "aicp"))]

    def stop(self) -> None:
        for process in reversed(self.processes):
            process.kill()
            process.wait()


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Dask]:
    """A cluster of its own, without workers."""
    (tmp_path / "dask").mkdir()
    made = Dask(tmp_path / "dask")
    yield made
    made.stop()


@pytest.fixture(scope="session")
def dask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dask]:
    """Four workers: a, b, c and d."""
    made = Dask(tmp_path_factory.mktemp("dask"))
    try:
        made.add(*"abcd")
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """The address of a server that answers after 40 ms, and a token each 10 ms."""
    code = "import sys; from playbook_plugins.benchmarks.aicp.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "mock-server", "--port", "0", "--ttft-ms", "40", "--itl-ms", "10"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        line = process.stdout.readline()
        yield line.strip()
        process.kill()
