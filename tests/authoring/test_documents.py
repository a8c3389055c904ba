"""What the documents for authors show runs as it stands: their files are written, their commands called, in order."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT, Block, blocks, missing
from tests.docs.test_docs import run

DOCUMENTS = ("docs/write-a-benchmark.md", "docs/write-a-plugin.md")
_FILE = re.compile(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", re.DOTALL)
_PYTHON = re.compile(r"(?:<!-- file: \S+ -->\n)?```python\n(.*?)```", re.DOTALL)


def steps(path: Path) -> list[tuple[int, tuple[str, str] | Block]]:
    """The files and commands of a document, in order of their lines."""
    text = path.read_text(encoding="utf-8")
    found: list[tuple[int, tuple[str, str] | Block]] = [
        (text.count("\n", 0, m.start()) + 1, (m[1], m[2])) for m in _FILE.finditer(text)
    ]
    found += [(b.steps[0].line, b) for b in blocks(path) if b.where == "elsewhere"]
    return sorted(found, key=lambda pair: pair[0])


@pytest.mark.parametrize("name", DOCUMENTS)
def test_it_runs_as_it_stands(name: str, tmp_path: Path) -> None:
    for _, step in steps(ROOT / name):
        if isinstance(step, tuple):
            place = tmp_path / step[0]
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(step[1], encoding="utf-8")
            continue
        for command in step.steps:
            status, printed = run(command.command, tmp_path, {"PYTHONPATH": "", "PYTHONDONTWRITEBYTECODE": "1"})
            assert status == 0, f"{step}: {command.command} exited {status}:\n{printed}"
            assert missing(command, printed) == [], f"{step}: {command.command} printed:\n{printed}"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_piece_of_python_is_a_file_that_something_runs(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert len(_PYTHON.findall(text)) == len(re.findall(r"<!-- file: \S+\.py -->", text))


def test_the_examples_of_the_api_run() -> None:
    text = (ROOT / "docs/api.md").read_text(encoding="utf-8")
    space: dict[str, object] = {"__name__": "examples"}
    for match in _PYTHON.finditer(text):
        lines = "\n" * text.count("\n", 0, match.start(1))
        exec(compile(lines + match[1], "docs/api.md", "exec"), space)
    assert "Mine" in space


def test_the_adapter_has_twenty_lines() -> None:
    source = dict(s for _, s in steps(ROOT / "docs/write-a-benchmark.md") if isinstance(s, tuple))["my_bench.py"]
    code = [line for line in source.splitlines() if line.strip() and not line.strip().startswith(("#", '"""'))]
    assert len(code) <= 20
