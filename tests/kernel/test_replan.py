"""Plugins shape the plan: each of what the one before it made, before anything is touched."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from playbook_kernel.api import (
    Benchmark,
    CampaignContext,
    Deployment,
    DriverRef,
    Load,
    Measurement,
    Metric,
    NoOptions,
    PluginError,
    Scenario,
    TrialContext,
    hookimpl,
)
from playbook_kernel.testing import run_campaign


class Count(Benchmark[NoOptions]):
    """Measures how much load it was given."""

    def run(self, ctx: TrialContext, deployment: Deployment, load: Load) -> Measurement:
        return Measurement({"concurrency": Metric(load.concurrency or 0, "1")})


class Sweep:
    """Every scenario, at two loads."""

    @hookimpl
    def playbook_plan(self, scenarios: Sequence[Scenario]) -> list[Scenario]:
        return [evolve(s, name=f"{s.name}-c{n}", load=Load(concurrency=n)) for s in scenarios for n in (1, 8)]


class Backwards:
    """The other way round."""

    @hookimpl(trylast=True)
    def playbook_plan(self, ctx: CampaignContext, scenarios: Sequence[Scenario]) -> Sequence[Scenario]:
        assert ctx.run == ""
        return tuple(reversed(scenarios))


class Nothing:
    """No wishes."""

    @hookimpl
    def playbook_plan(self) -> None:
        return None


def run(tmp_path: Path, **hooks: object) -> Any:
    scenarios = [Scenario(n, tmp_path, DriverRef("count")) for n in ("a", "b")]
    return run_campaign(
        tmp_path / "results", scenarios, hooks={"defaults": Defaults(), **hooks}, drivers={"count": Count}
    )


class Defaults:
    @hookimpl
    def playbook_deploy(self) -> Deployment:
        return Deployment()

    @hookimpl
    def playbook_benchmark(self, ctx: TrialContext, deployment: Deployment, load: Load) -> Measurement:
        return ctx.build(Benchmark, ctx.trial.scenario.benchmark).run(ctx, deployment, load)


def test_each_gets_what_the_one_before_it_made(tmp_path: Path) -> None:
    outcome = run(tmp_path, sweep=Sweep(), backwards=Backwards(), nothing=Nothing())
    found = {s.scenario: s.last.measurement.metrics["concurrency"].value for s in outcome.result.scenarios}
    assert list(found.items()) == [("b-c8", 8), ("b-c1", 1), ("a-c8", 8), ("a-c1", 1)]


@pytest.mark.parametrize(
    ("said", "words"),
    [(["a"], "gave str, not Scenario"), (3, "gave int, not Scenario"), (None, "planned a, b twice")],
)
def test_a_wrong_answer_names_its_plugin_and_nothing_is_touched(tmp_path: Path, said: Any, words: str) -> None:
    class Wrong:
        @hookimpl
        def playbook_plan(self, scenarios: Sequence[Scenario]) -> Any:
            return [*scenarios, *scenarios] if said is None else said

    with pytest.raises(PluginError, match=words) as error:
        run(tmp_path, wrong=Wrong())
    assert error.value._playbook_origin == "wrong"  # type: ignore[attr-defined]
    assert not (tmp_path / "results").exists()
