"""What is published: a wheel that has what a user needs, nothing of ours, and works away from the clone."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from .helpers import ROOT, copy


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, in whose scenarios somebody has run things."""
    clone = tmp_path_factory.mktemp("clone")
    for name in ("kernel", "plugins", "config", "scenarios"):
        copy(name, clone / name)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        (clone / name).write_bytes((ROOT / name).read_bytes())
    litter = clone / "scenarios/001_unified_smoke/results/summary.json"
    litter.parent.mkdir(exist_ok=True)
    litter.write_text("{}")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(clone), str(clone)]
    subprocess.run(command, check=True, timeout=200)
    [made] = clone.glob("*.whl")
    return made


def test_what_is_in_it(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {n.split("/")[0] for n in names if ".dist-info/" not in n}
    assert tops == {"playbook_kernel", "playbook_plugins"}
    litter = [
        n for n in names if "__pycache__" in n or "/results/" in n or ("/tests/" in n and "/_templates/" not in n)
    ]
    assert not litter
    shared = {n.removeprefix("playbook_kernel/_share/") for n in names if n.startswith("playbook_kernel/_share/")}
    assert {"config/scenarios.yaml", "config/nodes.example.yaml", "scenarios/001_unified_smoke/.env"} <= shared
    modules = {str(p.relative_to(r)) for r in (ROOT / "kernel", ROOT / "plugins") for p in r.rglob("*.py")}
    assert modules <= set(names)
    vendored = {n.rpartition("/")[2] for n in names if n.startswith("playbook_plugins/reporters/html_/assets/uplot/")}
    assert vendored == {"LICENSE", "NOTICE", "uPlot.iife.min.js", "uPlot.min.css"}


def test_it_works_away_from_the_clone(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    env = {**os.environ, "PYTHONPATH": str(site), "PYTHONWARNINGS": "error"}
    command = "import playbook_kernel, sys; sys.argv[0] = 'playbook-kernel'; from playbook_kernel.cli.main import main; main()"
    for argv in (["init"], ["validate"], ["run", "--dry-run"]):
        done = subprocess.run(
            [sys.executable, "-c", command, *argv], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    where = [sys.executable, "-c", "import playbook_kernel; print(playbook_kernel.__file__)"]
    assert str(site) in subprocess.run(where, env=env, capture_output=True, text=True, check=True).stdout
