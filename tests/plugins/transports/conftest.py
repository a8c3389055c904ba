"""A real sshd for the tests that are marked ``ssh``."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from .sshd import Sshd, cannot


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip by name where there is no sshd; CI must have one."""
    if item.get_closest_marker("ssh") is None or not (why := cannot()):
        return
    if os.environ.get("CI"):
        pytest.fail(f"CI must not skip tests of SSH: {why}")
    pytest.skip(f"no sshd: {why}")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that other accounts can enter, unlike pytest's own."""
    made = Path(tempfile.mkdtemp(prefix="playbook-sshd-", dir="/tmp"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture(scope="session")
def server() -> Iterator[Sshd]:
    """One server with sshd's own limits, shared by tests that leave it as it is."""
    made = Path(tempfile.mkdtemp(prefix="playbook-sshd-", dir="/tmp"))
    with Sshd(made) as sshd:
        yield sshd
    shutil.rmtree(made, ignore_errors=True)
