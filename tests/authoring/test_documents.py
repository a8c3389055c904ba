"""What the documents for authors show runs as it stands: their files are written, their commands called, in order."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT, missing, script, write
from tests.docs.test_docs import run

DOCUMENTS = ("docs/write-a-benchmark.md", "docs/write-a-plugin.md")
_PYTHON = re.compile(r"(?:<!-- file: \S+ -->\n)?```python\n(.*?)```", re.DOTALL)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_it_runs_as_it_stands(name: str, tmp_path: Path) -> None:
    for step in script(ROOT / name, "elsewhere"):
        if isinstance(step, tuple):
            write(step, tmp_path)
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
    source = dict(s for s in script(ROOT / "docs/write-a-benchmark.md", "elsewhere") if isinstance(s, tuple))[
        "my_bench.py"
    ]
    code = [line for line in source.splitlines() if line.strip() and not line.strip().startswith(("#", '"""'))]
    assert len(code) <= 20
