"""What all tests share. Tests of the lab come last, for they move the process into the lab's network."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

import pytest

from tests.lab.fixtures import lab

__all__ = ["lab"]

# Other campaigns of this machine are no business of these tests; on nodes of the lab the real place is used.
os.environ["PLAYBOOK_LOCK_DIR"] = tempfile.mkdtemp(prefix="playbook-locks-")
atexit.register(shutil.rmtree, os.environ["PLAYBOOK_LOCK_DIR"], ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.get_closest_marker("lab") is not None)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say by name what was skipped, and count it."""
    skipped = terminalreporter.stats.get("skipped", [])
    if skipped:
        terminalreporter.write_line(f"{len(skipped)} tests were skipped; the reasons stand above")
