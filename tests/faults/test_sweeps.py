"""The sweeps in small: each is a command of its own, whose full form takes hours; docs/reliability.md has what they found."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.core import Lab

from . import badconfig, crash, leaks, matrix, soak
from .catalogue import FAULTS


def test_bad_configuration_is_told_with_its_place(tmp_path: Path) -> None:
    good = badconfig.texts()
    for name, text in good.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(text)
    assert {n: said for n in range(400) if (said := badconfig.case(n, tmp_path, good))} == {}


def test_a_bad_case_would_be_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = badconfig.texts()
    for name, text in good.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(text)
    monkeypatch.setattr(badconfig, "make_plan", lambda *_: 1 / 0)
    assert "ZeroDivisionError" in badconfig.case(1, tmp_path, good)
    assert not badconfig.placed("something is wrong", tmp_path)
    assert not badconfig.placed(f"{tmp_path}/config/nodes.yaml: nodes: must be a mapping", tmp_path)
    assert badconfig.placed(f"{tmp_path}/config/nodes.yaml:3: nodes: must be a mapping", tmp_path)


def test_no_planted_secret_is_found(tmp_path: Path) -> None:
    site, found = leaks.look(tmp_path)
    assert found == []
    assert len(site.secrets) >= 20
    texts = dict(site.written())
    assert [n for n in texts if n.endswith("/002_script/logs/test_output.log")], "it was looked at"
    assert any(b"stdout ***" in t for t in texts.values())


@pytest.mark.lab
@pytest.mark.parametrize("number, phase", list(enumerate(["deploy", "benchmark", "cleanup"])))
def test_cells_of_the_matrix(lab: Lab, tmp_path: Path, number: int, phase: str) -> None:
    fault = [f for f in FAULTS if f.name in ("sshd killed", "containers killed", "disk full")][number]
    assert matrix.cell(lab, tmp_path / "campaign", fault, phase)["wrong"] == []


@pytest.mark.lab
@pytest.mark.parametrize("who", crash.WHO)
def test_points_to_kill_at(lab: Lab, tmp_path: Path, who: str) -> None:
    whole = crash.made(lab, tmp_path / "whole", {"record": 0, "who": "", "moment": ""})
    done = whole.call("run", "--all", "--plugin", "killer.py")
    assert done.returncode == 0, done.stderr
    kinds = crash.records(whole)
    for node in crash.NODES:
        crash.sh(lab, node, "docker create --name foreign lab/busybox:1 sleep 9; touch /tmp/foreign")
    try:
        point = {"record": kinds.index("intent stack") + 1, "who": who, "moment": "after"}
        assert crash.cell(lab, tmp_path / "killed", point, crash.outcome(whole)) == []
    finally:
        for node in crash.NODES:
            crash.sh(lab, node, "docker rm -f foreign; rm -f /tmp/foreign")


@pytest.mark.lab
def test_trials_in_a_row_grow_nothing(lab: Lab, tmp_path: Path) -> None:
    rows = soak.round_of(lab, tmp_path / "campaign", 1, 6)
    assert len(rows) == 6
    assert soak.wrong(rows) == []
