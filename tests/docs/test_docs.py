"""Every command in the documents runs, and prints what they show; every link leads somewhere; both languages say the same."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.helpers import copy
from tests.lab.core import Lab, cannot

from .blocks import ROOT, Block, blocks, documents, missing, script, write

PLACES = {"project", "lab", "clone-lab", "make", "elsewhere"}
MAKE = {"make demo", "make test", "make unit", "make lint"}
"""``make test`` runs lint and these tests; ``make demo`` has a test of its own in tests/e2e."""

DOCUMENTS = documents()


def ids(path: Path) -> str:
    return str(path.relative_to(ROOT))


def run(command: str, cwd: Path, env: dict[str, str] | None = None) -> tuple[int, str]:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=cwd,
        env={**os.environ, "PATH": path, **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=280,
        check=False,
    )
    return done.returncode, done.stdout


def perform(block: Block, cwd: Path, env: dict[str, str] | None = None) -> None:
    for step in block.steps:
        status, printed = run(step.command, cwd, env)
        assert status == 0, f"{block}: {step.command} exited {status}:\n{printed}"
        assert missing(step, printed) == [], f"{block}: {step.command} printed:\n{printed}"


def of(path: Path, *places: str) -> list[Block]:
    return [b for b in blocks(path) if b.where in places]


def having(*places: str) -> list[Path]:
    return [d for d in DOCUMENTS if of(d, *places)]


@pytest.mark.parametrize("path", DOCUMENTS, ids=ids)
def test_every_block_says_where_it_runs(path: Path) -> None:
    for block in blocks(path):
        assert block.where in PLACES, f"{block}: say where it runs: <!-- run: project --> above it"
        if block.where == "make":
            assert {s.command for s in block.steps} <= MAKE, block
        if block.where == "elsewhere":
            assert (ROOT / block.test).exists(), f"{block}: {block.test} is not there"


@pytest.mark.parametrize("path", having("project"), ids=ids)
def test_commands_of_a_project(path: Path, tmp_path: Path) -> None:
    for step in script(path, "project"):
        if isinstance(step, tuple):
            write(step, tmp_path)
        else:
            perform(step, tmp_path)


@pytest.mark.lab
@pytest.mark.parametrize("path", having("lab"), ids=ids)
def test_commands_over_nodes(path: Path, tmp_path: Path, lab: Lab) -> None:
    folder = copy("tests/e2e/campaign", tmp_path / "campaign")
    nodes = lab.nodes_yaml().replace(str(lab.known_hosts), str(tmp_path / "known_hosts"))
    (folder / "config/nodes.yaml").write_text(nodes)
    broken = folder / "scenarios/002_broken"
    broken.rename(tmp_path / "002_broken")  # it fails on purpose
    for block in of(path, "lab"):
        perform(block, folder)


@pytest.mark.parametrize("path", having("clone-lab"), ids=ids)
def test_commands_of_the_lab(path: Path, tmp_path: Path) -> None:
    if why := cannot():
        pytest.skip(f"no lab: {why}")
    name = f"docs-{os.getpid()}"
    try:
        for block in of(path, "clone-lab"):
            for step in block.steps:
                command = step.command.replace("tests.lab ", f"tests.lab --name {name} ")
                command = command.replace("> nodes.yaml", f"> {tmp_path}/nodes.yaml")
                command = command.replace(".venv/bin/playbook-kernel", "playbook-kernel")
                status, printed = run(command, ROOT)
                assert status == 0, f"{block}: {command} exited {status}:\n{printed}"
                assert missing(step, printed) == [], f"{block}: {command} printed:\n{printed}"
    finally:
        Lab.load(name).down()


@pytest.mark.parametrize("path", DOCUMENTS, ids=ids)
def test_every_link_leads_somewhere(path: Path) -> None:
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"https?:|mailto:|#", target):
            assert (path.parent / target.partition("#")[0]).exists(), (
                f"{path.name} links to {target}, which is not there"
            )


def test_both_readmes_show_the_same_commands() -> None:
    english, chinese = (
        [(b.where, [s.command for s in b.steps]) for b in blocks(ROOT / name)]
        for name in ("README.md", "README.zh-CN.md")
    )
    assert english == chinese


def test_every_command_is_in_the_readme() -> None:
    from playbook_kernel.cli.main import COMMANDS

    text = (ROOT / "README.md").read_text()
    for name in COMMANDS:
        assert f"`{name}" in text or f", `{name}`" in text, f"the README does not speak of {name}"
