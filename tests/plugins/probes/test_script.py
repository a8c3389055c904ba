"""The script probe, with real commands."""

from __future__ import annotations

from pathlib import Path

import pytest
from playbook_kernel.api import within
from playbook_plugins.probes.script import Options, ScriptProbe

from .conftest import Targets


@pytest.mark.parametrize(
    "options, ok, detail",
    [
        (Options(command="echo first; echo last"), True, "exit 0: last"),
        (Options(command=["test", "-d", "/"]), True, "exit 0"),
        (Options(script="echo why >&2; exit 3"), False, "exit 3: why"),
        (Options(command=["/no/such/program"]), False, "exit 127"),
        (Options(), False, "the check names no command"),
    ],
)
def test_its_exit_status_says(target: Targets, options: Options, ok: bool, detail: str) -> None:
    health = ScriptProbe(options).check(target())
    assert health.ok is ok
    assert health.detail.startswith(detail)


def test_where_and_with_what_it_runs(target: Targets, tmp_path: Path) -> None:
    options = Options(
        command='[ "$PWD $WORD" = "$EXPECTED" ]', env={"WORD": "w", "EXPECTED": f"{tmp_path} w"}, cwd=str(tmp_path)
    )
    assert ScriptProbe(options).check(target()).ok


def test_one_that_does_not_end_is_killed(target: Targets, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    with within(0.5):
        health = ScriptProbe(Options(command=f"echo $$ >{mark}; exec sleep 600")).check(target())
    assert not health.ok
    pid = mark.read_text().strip()
    state = Path(f"/proc/{pid}/stat")
    assert not state.exists() or state.read_text().split()[2] == "Z"
