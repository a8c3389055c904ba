"""What was sampled while the load ran."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from playbook_kernel.api import Artifact, Collector, Deployment, TrialContext

from playbook_plugins.stats.samples import load
from playbook_plugins.telemetry.options import FILE, KIND, SUMMARY, Options
from playbook_plugins.telemetry.summary import summary

from .keep import described


class TelemetryCollector(Collector[Options]):
    """CPU, memory, network and disk of each node, its accelerators, and what its engines say, once a second.

    The samples are taken around the benchmark by the hook of the same name; this keeps them, and a summary: the least,
    the mean and the most of each series.
    """

    def collect(self, ctx: TrialContext, deployment: Deployment | None, into: Path) -> Sequence[Artifact]:
        path = into / FILE
        if not path.is_file():
            return []
        rows = summary(load(path))
        if not rows:
            path.unlink()
            return []
        short = into / SUMMARY
        short.write_text(json.dumps({"schema": 1, "series": rows}, indent=1) + "\n", encoding="utf-8")
        return [described(KIND, path, into), described("artifact", short, into)]
