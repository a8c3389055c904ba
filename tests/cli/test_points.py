"""Entry points as --help reads them: the same as the library finds, wherever they are, in far fewer imports."""

from __future__ import annotations

import sys
import zipfile
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from playbook_kernel.cli.points import points
from playbook_kernel.loading.offers import normal

TEXT = "[playbook_kernel.command]\n# one a line\nmine = made_up.commands:group.mine\n\n[console_scripts]\nmine = made_up:main\n"


@pytest.mark.parametrize(
    "group", ["playbook_kernel.command", "playbook_kernel.benchmark", "console_scripts", "nothing"]
)
def test_the_same_is_found_as_by_the_library(group: str) -> None:
    known = {(p.name, p.value, normal(p.dist.name)) for p in entry_points(group=group) if p.dist}
    assert {tuple(p) for p in points(group)} == known
    assert bool(known) == (group != "nothing")


def test_the_first_of_two_versions_counts_and_strange_places_do_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place, text in (("first", TEXT), ("second", TEXT.replace("mine =", "other ="))):
        info = tmp_path / place / f"Made_Up-{len(place)}.0.dist-info"
        info.mkdir(parents=True)
        (info / "entry_points.txt").write_text(text)
    (tmp_path / "first/torn-1.0.dist-info").mkdir()
    (tmp_path / "first/torn-1.0.dist-info/entry_points.txt").write_bytes(
        b"[playbook_kernel.command\xff]\nno = line\n=\n"
    )
    monkeypatch.setattr(sys, "path", [str(tmp_path / p) for p in ("absent", "first", "second")])
    [point] = points("playbook_kernel.command")
    assert point == ("mine", "made_up.commands:group.mine", "made-up")
    assert point.module == "made_up.commands"


def test_an_archive_on_the_path_is_looked_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(tmp_path / "made_up.whl", "w") as archive:
        archive.writestr("made_up-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: made-up\nVersion: 1.0\n")
        archive.writestr("made_up-1.0.dist-info/entry_points.txt", TEXT)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "made_up.whl")])
    found = points("playbook_kernel.command")
    assert ("mine", "made_up.commands:group.mine", "made-up") in found
    assert {"health", "mine"} <= {p.name for p in found}


def test_a_point_is_loaded_as_far_as_its_attributes_lead() -> None:
    [health] = [p for p in points("playbook_kernel.command") if p.name == "health"]
    assert health.load().params
    assert health._replace(value="os.path").load().join
