"""docs/journal.md: its example is a record, its reader agrees with ours on whole, torn and damaged journals."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from playbook_kernel.engine import journal
from playbook_kernel.engine.journal import Journal, parse, trials
from playbook_kernel.model.record import JournalDamaged, record_of

from .blocks import ROOT

PAGE = (ROOT / "docs/journal.md").read_text(encoding="utf-8")


def fenced(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    return found[1]


def test_the_example_is_a_record_and_a_changed_one_is_not() -> None:
    line = fenced("json").strip().encode()
    record = record_of(line)
    assert record is not None
    assert (record.seq, record.type, record.data["node"]) == (7, "intent", "gpu1")
    assert list(json.loads(line))[-1] == "crc"
    assert record_of(line.replace(b"gpu1", b"gpu2")) is None


@pytest.fixture
def written(tmp_path: Path) -> bytes:
    """Two trials: one that is undone, and one of which two effects are open."""
    path = tmp_path / "journal.jsonl"
    made = Journal(path)
    for trial, undone in (("pk-a", True), ("pk-ä", False)):
        made.append([("trial", trial, {"scenario": "s", "attempt": 1, "folder": "s", "nodes": ["n1"]})])
        for number, kind in enumerate(("stack", "file"), 1):
            made.append([("intent", trial, {"id": number, "kind": kind, "node": "n1", "data": {"path": "/x"}})])
            made.append([("done", trial, {"id": number, "data": {}})])
        if undone:
            made.append([("undone", trial, {"id": 1}), ("undone", trial, {"id": 2})])
    made.close()
    return path.read_bytes()


def theirs(folder: Path, raw: bytes) -> str | None:
    """What the page's reader says; None if it refuses."""
    (folder / "reader.py").write_text(fenced("python"))
    (folder / "cut.jsonl").write_bytes(raw)
    done = subprocess.run(
        [sys.executable, "-I", str(folder / "reader.py"), str(folder / "cut.jsonl")],
        capture_output=True, check=False, encoding="utf-8", env={"PYTHONUTF8": "1"},
    )  # fmt: skip
    return done.stdout.strip() if done.returncode == 0 else None


def ours(raw: bytes) -> str | None:
    try:
        states = trials(parse(raw)[0]).values()
    except JournalDamaged:
        return None
    return "\n".join(f"{s.trial} {e.node} {e.kind}" for s in states for e in reversed(s.open))


def test_both_readers_agree(tmp_path: Path, written: bytes) -> None:
    lines = written.splitlines(keepends=True)
    last = len(written) - len(lines[-1])
    damaged = written.replace(b'"stack"', b'"stuck"', 1)
    whole = [b"", written, *(b"".join(lines[:n]) for n in (1, 3, 5, 7, 9))]
    torn = [written[:at] for at in (last + 1, last + 40, len(written) - 1)]
    bad_end = [written[:-3] + b'?"}\n']
    said = [theirs(tmp_path, raw) for raw in (*whole, *torn, *bad_end)]
    assert said == [ours(raw) for raw in (*whole, *torn, *bad_end)]
    assert None not in said
    assert said[1] == "pk-ä n1 stack\npk-ä n1 file"
    for raw in (damaged, b"".join([*lines[:3], *lines[4:]]), written.replace(b'{"v":1', b'{"v":2')):
        assert theirs(tmp_path, raw) is None
        assert ours(raw) is None


def test_every_type_that_is_written_is_on_the_page() -> None:
    table = re.findall(r"^(\w+) {2,}\S", (journal.__doc__ or "").split("type ")[1], re.MULTILINE)
    assert len(table) > 8
    for kind in table:
        if kind != "data":
            assert f"| `{kind}` |" in PAGE, kind
