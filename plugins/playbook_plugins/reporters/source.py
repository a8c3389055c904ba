"""Reports that lead to the files of a run, also when they are written elsewhere than into its folder."""

from __future__ import annotations

import os
from pathlib import Path

from playbook_kernel.api import frozen


@frozen
class Options:
    """``source``: the run's folder, if the report is to be written elsewhere than into it."""

    source: str = ""

    def folder(self, into: Path) -> Path:
        """The run's folder, for a report that is written into ``into``."""
        return Path(self.source) if self.source else into

    def links(self, into: Path) -> str:
        """What leads from ``into`` to the run's folder: empty, or with a slash at its end."""
        source, here = self.folder(into).resolve(), into.resolve()
        return "" if source == here else f"{Path(os.path.relpath(source, here)).as_posix()}/"
