"""The driver: writes the page."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from playbook_kernel.api import CampaignResult, Reporter, frozen, redact

from .page import render


@frozen
class Options:
    """``source``: the run's folder, if the report is to be written elsewhere than into it."""

    source: str = ""


class HtmlReporter(Reporter[Options]):
    """``report.html``: one file that opens offline; verdicts, charts each with its table, what ran where, evidence."""

    def write(self, result: CampaignResult, into: Path) -> Sequence[Path]:
        source = Path(self.options.source) if self.options.source else into
        links = "" if source.resolve() == into.resolve() else f"{os.path.relpath(source.resolve(), into.resolve())}/"
        path = into / "report.html"
        path.write_text(redact(render(result, source, links)), encoding="utf-8", errors="replace")
        return [path]
