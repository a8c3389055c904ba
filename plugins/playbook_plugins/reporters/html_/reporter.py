"""The driver: writes the page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from playbook_kernel.api import CampaignResult, Reporter, redact

from playbook_plugins.reporters.source import Options

from .page import render


class HtmlReporter(Reporter[Options]):
    """``report.html``: one file that opens offline; verdicts, charts each with its table, what ran where, evidence.

    Those over time can be looked at closely.
    """

    def write(self, result: CampaignResult, into: Path) -> Sequence[Path]:
        page = render(result, self.options.folder(into), self.options.links(into))
        path = into / "report.html"
        path.write_text(redact(page), encoding="utf-8", errors="replace")
        return [path]
