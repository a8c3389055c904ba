"""Reading and planning many scenarios costs one look at each file."""

from __future__ import annotations

import gc
from collections import Counter
from pathlib import Path

import pytest

from tests.bench.validate.__main__ import lay_out
from tests.cli.calls import call


def test_each_file_is_read_once_however_many_nodes_and_composers_ask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay_out(tmp_path, scenarios=40, nodes=4)
    read: Counter[str] = Counter()
    original = Path.read_bytes

    def counted(self: Path) -> bytes:
        read[str(self)] += 1
        return original(self)

    monkeypatch.setattr(Path, "read_bytes", counted)
    assert call("validate", "--json", cwd=tmp_path).json["valid"] is True
    ours = {p: n for p, n in read.items() if Path(p).name in ("docker-compose.yml", "metadata.yaml")}
    assert len(ours) == 80
    assert set(ours.values()) == {1}


def test_reading_without_a_look_for_garbage_leaves_that_on(tmp_path: Path) -> None:
    lay_out(tmp_path, scenarios=1, nodes=1)
    assert call("validate", "--json", cwd=tmp_path).json["valid"] is True
    assert gc.isenabled()
