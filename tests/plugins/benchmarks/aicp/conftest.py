"""Loads against servers, without the parts that users see."""

from __future__ import annotations

import csv
import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from playbook_plugins.benchmarks.aicp.cli import main
from playbook_plugins.benchmarks.aicp.core import plan as plans
from playbook_plugins.benchmarks.aicp.core import records, spool
from playbook_plugins.benchmarks.aicp.core.launch import Workers

from .servers import Canned


def wire(number: int, *, tokens: int = 4, path: str = "/v1/chat/completions", size: int = 0) -> bytes:
    body = json.dumps({"model": "m", "stream": True, "max_tokens": tokens, "messages": [], "pad": "x" * size}).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: h\r\nX-Request-Id: {number}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


@frozen
class Run:
    records: list[records.Record]
    notes: list[dict[str, Any]]
    workers: Workers

    @property
    def errors(self) -> list[str]:
        return [r.error for r in self.records]


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., Run]:
    """Make a load from settings, and read what came of it."""

    def make(
        port: int,
        count: int = 1,
        *,
        order: plans.Order | None = None,
        tokens: int = 4,
        size: int = 0,
        text: bool = False,
        target: dict[str, Any] | None = None,
        look: Callable[[], bool] | None = None,
        engine: str = "epoll",
        **settings: Any,
    ) -> Run:
        folder = tmp_path / f"plan-{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        where = plans.Target(**{"host": "127.0.0.1", "port": port, "addresses": ("127.0.0.1",), **(target or {})})
        made = plans.Settings(target=where, engine=engine, **settings)
        plans.write(
            folder, made, order or plans.single(count), [wire(i, tokens=tokens, size=size) for i in range(count)]
        )
        workers = Workers(folder, made)
        workers.launch()
        workers.wait(0.02, look)
        found, notes = [], []
        for path in workers.spools:
            for item in spool.read(path):
                if isinstance(item, dict):
                    notes.append(item)
                else:
                    found.append(records.of_answer(item, workers.start, text=text))
        return Run(sorted(found, key=lambda r: r.sent), notes, workers)

    return make


@pytest.fixture
def canned() -> Iterator[Callable[..., Canned]]:
    made: list[Canned] = []

    def start(*answers: Any, **options: Any) -> Canned:
        made.append(Canned(answers, **options))
        return made[-1]

    yield start
    for one in made:
        one.stop()


@frozen
class Said:
    """How a command ended, what it printed, and where its results are."""

    status: int
    out: str
    err: str
    folder: Path

    @property
    def rows(self) -> list[dict[str, str]]:
        with (self.folder / "model_performance.csv").open(newline="") as file:
            return list(csv.DictReader(file))

    @property
    def results(self) -> list[dict[str, Any]]:
        return [json.loads(p.read_text()) for p in sorted(self.folder.glob("records/*/[0-9]*.json"))]


@pytest.fixture
def aicp(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Said]]:
    """The command line, in this process, against a port."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}

    def run(port: int | str, *flags: object, plain: bool = False, url: bool = True) -> Said:
        folder = tmp_path / "results"
        words: list[object] = ["--model", "org/mock", "--result-dir", folder, "--calibrate", 0]
        if url:
            words += ["--base-url", port if isinstance(port, str) else f"http://127.0.0.1:{port}"]
        if not plain:
            words += ["--dataset-name", "random", "--num-prompts", 4, "--max-concurrency", 2]
            words += ["--dynamic-input-len", 8, "--dynamic-output-len", 4]
        capsys.readouterr()
        status = main([str(w) for w in (*words, *flags)])
        out, err = capsys.readouterr()
        return Said(status, out, err, folder)

    yield run
    for number, handler in before.items():
        signal.signal(number, handler)
