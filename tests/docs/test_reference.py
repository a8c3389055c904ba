"""Pages made from the code are current, their examples run, and the site builds without a broken link."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from .blocks import ROOT

DOCS = ROOT / "docs"
EXAMPLES = sorted(p.name for p in (DOCS / "examples").glob("*.py"))
PLUGINS = [name for name in EXAMPLES if not name.startswith("test_")]


def call(*words: str, cwd: Path = ROOT) -> str:
    env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, *words], cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_they_are_current() -> None:
    code = "import json, runpy; print(json.dumps(runpy.run_path('docs/reference.py')['pages']()))"
    made = json.loads(call("-c", code))
    old = [path for path, text in made.items() if not (DOCS / path).exists() or (DOCS / path).read_text() != text]
    assert old == [], "python docs/reference.py"
    there = {f"{folder}/{p.name}" for folder in ("drivers", "hooks") for p in (DOCS / folder).glob("*.md")}
    assert there <= set(made), "pages of what is no more"


def test_every_plugin_of_the_examples_has_a_test() -> None:
    assert {f"test_{name}" for name in PLUGINS} == set(EXAMPLES) - set(PLUGINS)


def test_the_examples_run(tmp_path: Path) -> None:
    for name in EXAMPLES:
        (tmp_path / name).write_text((DOCS / "examples" / name).read_text())
    printed = call("-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path), cwd=tmp_path)
    assert " passed" in printed
    assert "skipped" not in printed


def test_the_examples_are_typed(tmp_path: Path) -> None:
    for name in PLUGINS:
        (tmp_path / name).write_text((DOCS / "examples" / name).read_text())
    assert "Success" in call("-m", "mypy", "--strict", "--cache-dir", os.devnull, *PLUGINS, cwd=tmp_path)


def test_the_site_builds(tmp_path: Path) -> None:
    call("-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", "docs", str(tmp_path / "site"))
    for page in ("index", "configuration", "drivers/benchmark", "hooks/playbook_plan", "troubleshooting"):
        assert (tmp_path / "site" / f"{page}.html").stat().st_size > 1000
