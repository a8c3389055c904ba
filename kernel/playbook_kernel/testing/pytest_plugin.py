"""Fixtures for plugin authors; pytest finds them by itself where playbook-kernel is installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .clock import FakeClock
    from .fakes import FakeSession, FakeTrial


@pytest.fixture
def fake_session() -> FakeSession:
    """A node that answers from a script: set its ``replies``."""
    from .fakes import FakeSession

    return FakeSession()


@pytest.fixture
def fake_clock() -> Iterator[FakeClock]:
    """A clock that the test controls: :meth:`FakeClock.advance` lets time go by, and waits of the scope take none."""
    from .clock import FakeClock

    with FakeClock() as clock:
        yield clock


@pytest.fixture
def fake_trial(tmp_path: Path) -> Callable[..., FakeTrial]:
    """Make a trial that runs nowhere, in a folder of the test: see :func:`playbook_kernel.testing.fake_trial`."""
    from .fakes import fake_trial as make

    made: list[FakeTrial] = []

    def call(*args: Any, **more: Any) -> FakeTrial:
        folder = tmp_path / f"trial{len(made)}"
        folder.mkdir()
        made.append(make(folder, *args, **more))
        return made[-1]

    return call
