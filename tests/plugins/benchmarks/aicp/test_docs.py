"""What the pages say is what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playbook_plugins.benchmarks.aicp.core.spool import OUTCOMES
from playbook_plugins.benchmarks.aicp.metrics import GAPS, METRICS
from playbook_plugins.benchmarks.aicp.options import ALIASES, BY_NAME

DOCS = Path(__file__).resolve().parents[4] / "docs"


@pytest.mark.parametrize("metric", METRICS, ids=lambda m: m.name)
def test_every_metric_is_defined_once(metric):
    text = (DOCS / "metrics.md").read_text()
    assert text.count(f"| `{metric.name}` | `{metric.id}` | {metric.unit} | {metric.text} |") == 1


def test_ids_are_unique_and_gaps_are_defined_too():
    text = (DOCS / "metrics.md").read_text()
    ids = [m.id for m in METRICS] + [identity for identity, _ in GAPS.values()]
    assert len(ids) == len(set(ids))
    assert all(f"`{identity}`" in text for identity in ids)


def test_every_flag_that_the_page_names_exists():
    named = set(re.findall(r"--([a-z][a-z-]+)", (DOCS / "aicp.md").read_text()))
    others = {"by", "min", "max", "streams", "port", "ttft-ms", "itl-ms", "stagger"}
    flags = {name.replace("_", "-") for name in (*BY_NAME, *ALIASES)}
    assert named - others <= flags


def test_every_class_of_error_that_an_engine_tells_is_on_the_page():
    text = (DOCS / "aicp.md").read_text()
    assert [o for o in OUTCOMES if o not in text and o not in ("answered", "dns")] == []
