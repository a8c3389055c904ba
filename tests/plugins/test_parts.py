"""Parts of files that were on their way when somebody was killed."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from playbook_plugins.parts import REMOVE, beside


@pytest.mark.parametrize("name", ["docker-compose.yml", ".env", "a b'$(id)*[x]é", "-n"])
def test_what_is_left_of_parts_is_removed_and_nothing_else(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "a folder"
    folder.mkdir()
    kept = [
        folder / n for n in (name, f".{name}.part", f".{name}.0123.part", f".{name}.0123456789az.part", beside("other"))
    ]
    left = [folder / beside(name) for _ in range(2)]
    for path in (*kept, *left):
        path.touch()
    subprocess.run(["sh", "-c", REMOVE, "-", str(folder / name), str(tmp_path / "gone" / name)], check=True)
    assert sorted(folder.iterdir()) == sorted(kept)


def test_a_relative_name_has_its_parts_where_it_is(tmp_path: Path) -> None:
    (tmp_path / beside("x")).touch()
    subprocess.run(["sh", "-c", REMOVE, "-", "x"], check=True, cwd=tmp_path)
    assert list(tmp_path.iterdir()) == []
