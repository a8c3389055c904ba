from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from attrs import evolve
from playbook_kernel.api import Artifact, CampaignResult, ScenarioResult
from playbook_plugins.reporters.html_ import HtmlReporter
from playbook_plugins.reporters.source import Options

from tests.plugins.reporters.browser import Browser, Page, browser
from tests.plugins.reporters.samples import campaign, good, trial

__all__ = ["browser"]


def write_requests(
    path: Path, count: int, *, seed: int = 1, failing: float = 0.0, start: float = 1_767_225_612.0
) -> None:
    """Requests of a load of 32 in flight, as a benchmark keeps them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    chance = random.Random(seed)
    clocks = [start] * 32
    with path.open("w") as file:
        for n in range(count):
            at = n % 32
            ttft = 0.05 + chance.expovariate(20)
            row = {"sent": round(clocks[at], 6), "ttft": ttft, "tpot": 0.01, "e2el": ttft + 1.27, "output_tokens": 128}
            if chance.random() < failing:
                row |= {"error": chance.choice(["HTTP 503", "<b>timeout</b>"])}
            file.write(json.dumps(row) + "\n")
            clocks[at] += row["e2el"] + 0.001


@pytest.fixture
def run(tmp_path: Path) -> tuple[CampaignResult, Path]:
    """A campaign with records, repeats, a failure and telemetry."""
    result = good()
    first, *rest = result.scenarios
    kept = (
        Artifact("artifact", "artifacts/results/requests.jsonl", size=10),
        Artifact("telemetry", "telemetry.jsonl", size=10),
    )
    measured = evolve(first.trials[0], artifacts=(*first.trials[0].artifacts, *kept))
    write_requests(tmp_path / "001_pd" / kept[0].path, 2000, failing=0.02)
    lines = [
        {"t": 1_767_225_612.0 + n, "source": "gpu-1/gpu0", "util": 90 + n % 5, "power": 600.0}
        for n in range(60)
        if n // 5 != 6
    ]
    (tmp_path / "001_pd" / kept[1].path).write_text("".join(json.dumps(line) + "\n" for line in lines))
    more = ScenarioResult("005_more", "completed", trials=(evolve(trial("005_more", ttft=90.5), trial="pk-1-9"),))
    return campaign(evolve(first, trials=(measured,)), *rest, more), tmp_path


@pytest.fixture
def page(browser: Browser, run: tuple[CampaignResult, Path]) -> Page:
    """Its report, open."""
    result, folder = run
    [path] = HtmlReporter(Options()).write(result, folder)
    return browser.open(path.as_uri())
