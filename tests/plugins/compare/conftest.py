"""Runs whose figures are made up, with the chance they are meant to have."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import evolve
from playbook_kernel.api import Artifact, Measurement, Metric, ScenarioResult, TrialResult, encode

from tests.plugins.reporters.browser import browser
from tests.plugins.reporters.samples import campaign, trial

__all__ = ["browser"]

Make = Callable[..., Path]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return tmp_path / "results"


@pytest.fixture
def make(results: Path) -> Make:
    """Write a run: ``make("name", scenario={"metric": value}, ...)``; a text instead of metrics: it failed so."""

    def write(name: str, *, requests: tuple[int, int] | None = None, facts=None, records=None, **scenarios) -> Path:
        folder = results / name
        folder.mkdir(parents=True)
        made = []
        for scenario, what in scenarios.items():
            one: TrialResult = evolve(trial(scenario), artifacts=(), facts=facts or {}, trial=f"pk-{name}-{scenario}")
            if isinstance(what, str):
                made.append(
                    ScenarioResult(scenario, "failed", what, trials=(evolve(one, status="failed", measurement=None),))
                )
                continue
            units = {n: "ms" if n.endswith("_ms") else "tok/s" if "tokens_per_s" in n else "1" for n in what}
            asked, failed = requests or (100, 0)
            measured = Measurement({n: Metric(float(v), units[n], 100) for n, v in what.items()}, asked, failed)
            kept = ()
            if records is not None:
                (folder / scenario).mkdir()
                (folder / scenario / "requests.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
                kept = (Artifact("artifact", "requests.jsonl"),)
            made.append(
                ScenarioResult(scenario, "completed", trials=(evolve(one, measurement=measured, artifacts=kept),))
            )
        (folder / "campaign.json").write_text(json.dumps(encode(campaign(*made, name=name))))
        return folder

    return write


def around(value: float, spread: float, count: int, seed: int) -> list[float]:
    chance = random.Random(seed)
    return [value * (1 + chance.gauss(0, spread)) for _ in range(count)]
