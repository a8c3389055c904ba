"""Distributions that are there for a test only: metadata, entry points and one module each, in a folder on the path."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from attrs import define, field

from tests.cli.calls import Called, call, spawn, workspace

BENCH = '''\
"""A module of a plugin."""
from playbook_kernel.api import *

@frozen
class Options:
    """``speed``: how fast."""

    speed: float = 1.0
    key: Secret | None = None
    tags: list[str] = field(factory=list)
    url: str = field(kw_only=True)

class Bench(Benchmark[Options]):
    """Measures what it is told."""

    def run(self, ctx, deployment, load):
        return Measurement({"speed": Metric(self.options.speed, "1")})
'''


@define
class Site:
    """A folder that distributions are installed into, and a workspace to call the tool in."""

    folder: Path
    root: Path
    modules: list[str] = field(factory=list)

    def add(
        self,
        name: str,
        source: str = BENCH,
        points: Mapping[str, str] | None = None,
        *,
        version: str = "1.0",
        requires: Sequence[str] = (),
    ) -> str:
        """Install one; ``points`` maps ``kind:name`` to what stands behind the module's name. Returns that name."""
        module = f"{name.replace('-', '_')}_{len(self.modules)}_{self.folder.parent.name.replace('-', '_')}"
        self.modules.append(module)
        (self.folder / f"{module}.py").write_text(source)
        info = self.folder / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        head = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        (info / "METADATA").write_text(head + "".join(f"Requires-Dist: {r}\n" for r in requires))
        text = ""
        for key, target in (points or {"benchmark:mine": ":Bench"}).items():
            kind, _, point = key.partition(":")
            text += f"[playbook_kernel.{kind}]\n{point} = {module}{target}\n"
        (info / "entry_points.txt").write_text(text)
        importlib.invalidate_caches()
        return module

    def call(self, *argv: object) -> Called:
        return call(*argv, cwd=self.root, environ=self.environ)

    def spawn(self, *argv: object) -> Called:
        return spawn(*argv, cwd=self.root, environ=self.environ)

    @property
    def environ(self) -> dict[str, str]:
        return {"PYTHONPATH": str(self.folder), "PLAYBOOK_NO_PLUGINS": "", "PYTHONDONTWRITEBYTECODE": "1"}

    def defaults(self, text: str) -> Path:
        path = self.root / "config/defaults.yaml"
        path.write_text(text)
        return path

    @property
    def imported(self) -> list[str]:
        return [m for m in self.modules if m in sys.modules]


def site_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    assert os.environ.get("PLAYBOOK_NO_PLUGINS", "") in ("", "0")
    return Site(folder, workspace(tmp_path / "root", "001_a"))
