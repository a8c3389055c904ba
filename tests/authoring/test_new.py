"""A package that `new` writes installs, and passes its own tests, mypy --strict and ruff, untouched."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from playbook_kernel.cli.new import SORTS

from tests.cli.calls import call

BIN = Path(sys.executable).parent


def new(kind: str, name: str, root: Path) -> Path:
    """Write one; returns its folder."""
    done = call("new", kind, name, cwd=root)
    assert done.code == 0, done.err
    return root / Path(done.out.split()[1]).parts[0]


def run(*argv: object, cwd: Path, installed: Path | None = None) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PLAYBOOK_NO_PLUGINS": "", **({"PYTHONPATH": str(installed)} if installed else {})}
    return subprocess.run([*map(str, argv)], cwd=cwd, env=env, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Path], Path]:
    """One package of each kind, and the folder that all are installed into."""
    root = tmp_path_factory.mktemp("new")
    folders = {kind: new(kind, "my-own", root) for kind in SORTS}
    pip = [BIN / "python", "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    done = run(*pip, "--target", root / "installed", *folders.values(), cwd=root)
    assert done.returncode == 0, done.stderr
    return folders, root / "installed"


@pytest.fixture(scope="module")
def tested(made: tuple[dict[str, Path], Path]) -> dict[str, Future[subprocess.CompletedProcess[str]]]:
    """Their own tests, two packages at a time; the slowest first."""
    folders, installed = made
    pool = ThreadPoolExecutor(2)
    first = sorted(folders, key=lambda kind: kind != "transport")
    tests = [BIN / "pytest", "-q", "-p", "no:cacheprovider"]
    return {kind: pool.submit(run, *tests, cwd=folders[kind], installed=installed) for kind in first}


@pytest.mark.parametrize("kind", SORTS)
def test_its_own_tests_pass(kind: str, tested: dict[str, Future[subprocess.CompletedProcess[str]]]) -> None:
    done = tested[kind].result()
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


@pytest.mark.parametrize("kind", SORTS)
def test_types_and_style_are_right(kind: str, made: tuple[dict[str, Path], Path]) -> None:
    folder = made[0][kind]
    for argv in ([BIN / "ruff", "check"], [BIN / "ruff", "format", "--check"], [BIN / "mypy"]):
        done = run(*argv, cwd=folder)
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", ["x", "a-very-long-name-for-thi"])
def test_the_style_does_not_hang_on_the_name(name: str, tmp_path: Path) -> None:
    for kind in SORTS:
        new(kind, name, tmp_path)
    for argv in (["check"], ["format", "--check"]):
        done = run(BIN / "ruff", *argv, tmp_path, cwd=tmp_path)
        assert done.returncode == 0, done.stdout


def test_the_tool_finds_what_was_installed(made: tuple[dict[str, Path], Path], tmp_path: Path) -> None:
    done = run(BIN / "python", "-m", "playbook_kernel", "plugins", cwd=tmp_path, installed=made[1])
    assert done.returncode == 0, done.stderr
    rows = [line.split()[:3] for line in done.stdout.splitlines() if "my-own" in line]
    assert sorted(rows) == sorted([kind, "my-own", made[0][kind].name] for kind in SORTS)


@pytest.mark.parametrize(
    "argv, words",
    [
        (["benchmark", "My_Tool"], "'My_Tool' is not a name for a plugin"),
        (["benchmark", "../evil"], "is not a name"),
        (["benchmark", "a" * 25], "at most 24"),
        (["probe", "http"], "probe 'http' is already offered by playbook-kernel"),
        (["benchmark", "mine", "--directory", "full"], "full is there, and is not an empty folder"),
    ],
)
def test_what_cannot_be_made_is_refused_and_nothing_is_written(argv: list[str], words: str, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    done = call("new", *argv, cwd=tmp_path)
    assert (done.code, words in done.err) == (2, True), done.err
    assert [p.name for p in tmp_path.rglob("*")] == ["full", "file"]


def test_a_folder_of_ones_choice(tmp_path: Path) -> None:
    done = call("new", "hooks", "playbook-hooks-mine", "--directory", "deep/here", cwd=tmp_path)
    assert done.code == 0, done.err
    assert (tmp_path / "deep/here/src/playbook_hooks_mine/__init__.py").is_file()
    assert (tmp_path / "deep/here/.github/workflows/test.yml").is_file()
