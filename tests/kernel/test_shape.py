"""The kernel keeps its shape: a light command, a bounded size, and one door for plugins."""

from __future__ import annotations

import ast
import enum
import inspect
import io
import json
import subprocess
import sys
import tokenize
import typing
from pathlib import Path

import playbook_kernel
import pytest
from playbook_kernel import api

KERNEL = Path(playbook_kernel.__file__).parent
HEAVY = (
    "attrs", "attr", "cattrs", "docker", "packaging", "paramiko", "pluggy", "pydantic", "python_on_whales", "rich",
    "stevedore", "structlog", "tomli", "yaml", "asyncio", "http", "importlib.metadata", "playbook_plugins",
    "playbook_kernel.api", "playbook_kernel.engine",
)  # fmt: skip
LIMIT = 3000
"""Statements of the kernel without its command line and its kit for testing; a reason to take something out, not to raise."""


def modules_after(code: str) -> set[str]:
    """The modules that a fresh process has beyond those of an empty one with click."""
    tail = "\nimport sys, json\nsys.stdout.write('\\n' + json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code + tail], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def run_main(*argv: str) -> str:
    return (
        f"from playbook_kernel.cli.main import main\ntry:\n    main({list(argv)!r})\nexcept SystemExit as done:\n"
        "    assert not done.code, done.code"
    )


@pytest.mark.parametrize("argv", [["--help"], ["--version"]])
def test_help_imports_nothing_that_it_does_not_need(argv: list[str]) -> None:
    loaded = modules_after(run_main(*argv))
    assert {m for m in loaded for heavy in HEAVY if m == heavy or m.startswith(f"{heavy}.")} == set()
    plain = modules_after("import click, difflib")
    more = loaded - plain
    assert {m for m in more if m.startswith("playbook_kernel")} <= {
        "playbook_kernel", "playbook_kernel.cli", "playbook_kernel.cli.main", "playbook_kernel.cli.points",
    }  # fmt: skip
    assert len(more) < 25, sorted(more)


def test_help_of_a_command_imports_no_plugin() -> None:
    loaded = modules_after(run_main("run", "--help"))
    assert not {m.split(".")[0] for m in loaded} & {"playbook_plugins", "paramiko", "python_on_whales", "docker"}


def test_listing_plugins_imports_no_engine_and_no_log() -> None:
    loaded = modules_after(run_main("plugins", "--json"))
    assert not {m for m in loaded if m.startswith("playbook_kernel.engine")}
    assert not {m.split(".")[0] for m in loaded} & {"structlog", "rich", "asyncio"}


def statements(source: str) -> int:
    """Lines of code as the language counts them: no comments, no blank lines, no docstrings, no imports.

    A call or a list that the formatter spreads over several lines is one.
    """
    count = 0
    kinds: list[int] = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.NEWLINE:
            count += kinds != [tokenize.STRING]
            kinds = []
        elif token.type not in (tokenize.COMMENT, tokenize.NL, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER):
            kinds.append(token.type)
    return count - sum(isinstance(node, ast.Import | ast.ImportFrom) for node in ast.walk(ast.parse(source)))


def test_the_kernel_stays_small() -> None:
    sizes = {
        str(path.relative_to(KERNEL)): statements(path.read_text())
        for path in KERNEL.rglob("*.py")
        if path.relative_to(KERNEL).parts[0] not in ("cli", "testing", "_share")
    }
    assert sum(sizes.values()) <= LIMIT, sizes
    assert {name: size for name, size in sizes.items() if size > 400} == {}


def test_every_public_name_says_what_it_is() -> None:
    source = "\n".join(p.read_text() for p in KERNEL.rglob("*.py"))
    for name in api.__all__:
        value = getattr(api, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            doc = value.__doc__ or ""
            assert doc.strip(), name
            assert not doc.startswith(f"{name}("), f"{name} has only the docstring that was made for it"
        elif typing.get_origin(value) or isinstance(value, dict | tuple | enum.Enum):
            assert f"\n{name} = " in source or f"\n{name}: " in source, name
