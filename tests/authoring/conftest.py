"""What tests of authoring share."""

from __future__ import annotations

from pathlib import Path

import pytest

from .installed import Site, site_in


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    return site_in(tmp_path, monkeypatch)
