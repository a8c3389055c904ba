"""The files that a trial kept, and where a report finds them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from attrs import frozen
from playbook_kernel.api import Artifact, TrialResult

from playbook_plugins.stats.runs import trial_place


@frozen
class Files:
    """``folder``: the trial's own, relative to the run's; ``links``: what leads to the run's folder from the report.

    ``own``: logs that the trial itself wrote, such as what its script said; ``kept``: these, and what was collected.
    """

    folder: str
    links: str
    own: Sequence[Artifact]
    kept: Sequence[Artifact]

    def link(self, path: str) -> str:
        """The address of a file of the trial."""
        return quote(f"{self.links}{self.folder}/{path}")

    def named(self, path: str) -> str:
        """A file of the trial, as it lies in the run's folder: it says of which attempt it is."""
        return f"{self.folder}/{path}"

    def mentioned(self, text: str) -> tuple[str, str, str] | None:
        """A text that names a file of the trial: what comes before the name, the file's path, and what comes after."""
        for file in self.kept:
            for name in (self.named(file.path), file.path):
                # Records of older versions name a log as it lies in the trial's folder.
                if found := re.search(rf"(?<![\w/.-]){re.escape(name)}(?![\w/-])", text):
                    return text[: found.start()], file.path, text[found.end() :]
        return None


def files(trial: TrialResult, scenario: str, source: Path, links: str) -> Files:
    """The files of a trial; ``source``: the run's folder."""
    folder = trial_place(source, trial, scenario)
    collected = {a.path for a in trial.artifacts}
    logs = source / folder / "logs"
    found = sorted(p for p in logs.glob("*") if p.is_file() and not p.is_symlink()) if logs.is_dir() else []
    written = [Artifact("log", f"logs/{p.name}", size=p.stat().st_size) for p in found]
    own = [a for a in written if a.path not in collected]
    return Files(folder, links, own, (*own, *trial.artifacts))
