"""Reading a folder of files as the tool does."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from attrs import frozen
from playbook_kernel.api import Configuration, NoOptions, Problems, Scenario, Sources
from playbook_plugins.readers.playbook import PlaybookReader

FILES = Path(__file__).parent / "files"
ENVIRON = {"NODE1_PASSWORD": "s3cret: #1", "PATH": "/usr/bin"}


@frozen
class Read:
    """What came of it; texts have paths relative to the folder."""

    config: Configuration
    problems: list[str]
    warnings: list[str]
    notes: list[str]

    def __getitem__(self, name: str) -> Scenario:
        return next(s for s in self.config.scenarios if s.name == name)

    @property
    def names(self) -> list[str]:
        return [s.name for s in self.config.scenarios]


def sources(root: Path, environ: Mapping[str, str] | None = None, scenarios_dir: Path | None = None) -> Sources:
    return Sources(root / "config", root / "results", root, scenarios_dir, dict(environ or {}))


def read(root: Path, environ: Mapping[str, str] | None = None, scenarios_dir: Path | None = None) -> Read:
    problems = Problems()
    config = PlaybookReader(NoOptions()).read(sources(root, environ, scenarios_dir), problems)

    def texts(items):
        return [str(p).replace(f"{root}/", "") for p in items]

    return Read(config, texts(problems.items), texts(problems.warnings), texts(problems.notes))


def examples(root: Path) -> Path:
    """A copy of the files of an existing user."""
    shutil.copytree(FILES, root, dirs_exist_ok=True)
    return root


def small(root: Path, files: Mapping[str, str] | None = None, **scenarios: str) -> Path:
    """Files of the user's choice, and scenarios of one service each with this metadata on the one local node."""
    texts = {"config/scenarios.yaml": "", **(files or {})}
    for name, metadata in scenarios.items():
        folder = f"config/scenarios/{name}"
        texts.setdefault(f"{folder}/docker-compose.yml", "services:\n  engine: {command: [sleep, '9']}\n")
        texts.setdefault(f"{folder}/run_test.sh", "exit 0\n")
        if metadata:
            texts[f"{folder}/metadata.yaml"] = metadata
    for name, text in texts.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root
