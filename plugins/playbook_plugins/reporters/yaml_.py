"""The whole result as YAML, for people who read it with a program at hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from playbook_kernel.api import CampaignResult, NoOptions, Reporter, encode, redacted


class YamlReporter(Reporter[NoOptions]):
    """``summary.yaml``: the same as ``summary.json``."""

    def write(self, result: CampaignResult, into: Path) -> Sequence[Path]:
        import yaml

        path = into / "summary.yaml"
        counts = {s: result.count(s) for s in ("completed", "failed", "skipped", "cancelled")}
        dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
        data = {"counts": counts, **redacted(encode(result))}
        text = yaml.dump(data, Dumper=dumper, sort_keys=False, allow_unicode=True, width=120)
        path.write_text(text, encoding="utf-8")
        return [path]
