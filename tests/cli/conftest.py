"""One finished run that many tests look at: a campaign of two scenarios, one of which failed."""

from __future__ import annotations

from pathlib import Path

import pytest

from .calls import Called, spawn, workspace


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Called]:
    """The folder it ran in, and what the call came to. Do not change the folder."""
    root = workspace(
        tmp_path_factory.mktemp("finished"), "001_good", "002_bad",
        files={
            "config/scenarios/002_bad/run_test.sh": "echo going wrong >&2\nexit 9\n",
            "config/scenarios.yaml": "inter_scenario: {wait_between_scenarios: 0, retry_count: 0, continue_on_failure: on}\n",
        },
    )  # fmt: skip
    return root, spawn("run", "--all", cwd=root)
