"""A benchmark that cannot measure says so before anything is deployed."""

from __future__ import annotations

from pathlib import Path

from playbook_kernel.api import (
    Benchmark,
    Deployment,
    DriverRef,
    Load,
    Measurement,
    Metric,
    NoOptions,
    Scenario,
    TrialContext,
    hookimpl,
)
from playbook_kernel.testing import run_campaign
from playbook_plugins import fit
from playbook_plugins.transports.local import LocalTransport


class Tool(Benchmark[NoOptions]):
    """Asks this machine for a tool that nobody has."""

    def fit(self, ctx: TrialContext) -> str | None:
        tool = "sh" if ctx.trial.scenario.name == "good" else "no-such-tool"
        return None if ctx.session("local").run(["which", tool], check=False).ok else f"there is no {tool}"

    def run(self, ctx: TrialContext, deployment: Deployment, load: Load) -> Measurement:
        return Measurement({"speed": Metric(1.0, "1", 1)})


class Everything:
    """Deploys by noting it."""

    def __init__(self) -> None:
        self.deployed: list[str] = []

    @hookimpl
    def playbook_deploy(self, ctx: TrialContext, scenario: Scenario) -> Deployment:
        self.deployed.append(scenario.name)
        return Deployment()

    @hookimpl
    def playbook_benchmark(self, ctx: TrialContext, deployment: Deployment, load: Load) -> Measurement:
        return ctx.build(Benchmark, ctx.trial.scenario.benchmark).run(ctx, deployment, load)


def test_nothing_is_deployed_for_a_tool_that_is_missing(tmp_path: Path) -> None:
    everything = Everything()
    outcome = run_campaign(
        tmp_path / "results",
        [Scenario(name, tmp_path, DriverRef("tool")) for name in ("bad", "good")],
        hooks={"everything": everything, "fit": fit},
        drivers={"tool": Tool, "local": LocalTransport},
    )
    bad, good = (s.trials[-1] for s in outcome.result.scenarios)
    assert everything.deployed == ["good"]
    assert good.status == "completed"
    assert bad.failure is not None
    assert (bad.failure.phase, bad.failure.plugin) == ("deploy", "fit")
    assert bad.failure.error == "benchmark tool cannot measure here: there is no no-such-tool"
