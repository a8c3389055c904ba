"""The whole result as JSON, for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from playbook_kernel.api import CampaignResult, NoOptions, Reporter, encode, redacted


class JsonReporter(Reporter[NoOptions]):
    """``summary.json``: everything that the campaign knows, with a schema version."""

    def write(self, result: CampaignResult, into: Path) -> Sequence[Path]:
        path = into / "summary.json"
        counts = {s: result.count(s) for s in ("completed", "failed", "skipped", "cancelled")}
        data = {"counts": counts, **redacted(encode(result))}
        path.write_text(json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
        return [path]
