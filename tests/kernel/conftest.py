"""Tests of the kernel use plugins that they write themselves."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="package")
def _nothing_installed() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PLAYBOOK_NO_PLUGINS", "1")
        yield


@pytest.fixture(autouse=True, scope="module")
def _log_as_before() -> Iterator[None]:
    """A campaign sets up the log of its process; here that is the process of the tests."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    for handler in root.handlers[:]:
        if handler not in before:
            root.removeHandler(handler)
            handler.close()
    root.handlers[:] = before
    root.setLevel(level)
