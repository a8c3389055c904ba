"""What all tests share. Tests of the lab come last, and run in its network."""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any

import pytest
from playbook_kernel import redaction

from tests.lab.fixtures import go, lab

__all__ = ["lab"]

# Other campaigns of this machine are no business of these tests; on nodes of the lab the real place is used.
os.environ["PLAYBOOK_LOCK_DIR"] = tempfile.mkdtemp(prefix="playbook-locks-")
atexit.register(shutil.rmtree, os.environ["PLAYBOOK_LOCK_DIR"], ignore_errors=True)

SHIPPED = "the shipped scenarios"
"""They have ports of their own, so only one test at a time can run them."""
USERS_OF_SHIPPED = (
    "tests/e2e/test_demo.py",
    "tests/e2e/test_make.py",
    "tests/e2e/test_wheel.py",
    "tests/docs/test_docs.py",
    "tests/docs/test_faults.py",
)

LONG = "tests/plugins/composers/test_equivalence.py"
"""Minutes: the first of the lab's, so that nobody waits for it alone."""


def _is_lab(item: pytest.Item) -> bool:
    return item.get_closest_marker("lab") is not None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    of_the_lab = {item.path for item in items if _is_lab(item)}
    items.sort(key=lambda item: (item.path in of_the_lab, not item.nodeid.startswith(LONG), _is_lab(item)))


def pytest_runtest_setup(item: pytest.Item) -> None:
    go("lab" if _is_lab(item) else "home")


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Side by side run whole files; those that share ports are one."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return SHIPPED if file in USERS_OF_SHIPPED else file

    return ByFile(config, log)


@pytest.fixture(autouse=True, scope="module")
def _process_as_before() -> Iterator[None]:
    """A campaign in the tests' own process sets up its log and learns its secrets; the next file knows nothing of them."""
    known, pattern = set(redaction._known), redaction._pattern
    yield
    redaction._known.intersection_update(known)
    redaction._pattern = pattern
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if type(handler).__module__ != "_pytest.logging":
            root.removeHandler(handler)
            handler.close()
    root.setLevel(logging.WARNING)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say by name what was skipped, and count it."""
    skipped = terminalreporter.stats.get("skipped", [])
    if skipped:
        terminalreporter.write_line(f"{len(skipped)} tests were skipped; the reasons stand above")
