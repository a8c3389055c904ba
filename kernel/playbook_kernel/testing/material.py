"""What checks, and tests of authors, are made of."""

from __future__ import annotations

from playbook_kernel.context import TrialContext
from playbook_kernel.model import (
    Artifact,
    CampaignResult,
    Deployment,
    Endpoint,
    Health,
    Measurement,
    Metric,
    PhaseOutcome,
    Residue,
    ScenarioResult,
    TrialResult,
)
from playbook_kernel.redaction import Secret

PLANTED = "planted-secret-7c1d"


def deployed(ctx: TrialContext, url: str = "http://127.0.0.1:1") -> Deployment:
    """A deployment whose every service answers at ``url``; with one called ``engine`` if there are none."""
    names = [s.name for s in ctx.trial.scenario.services] or ["engine"]
    return Deployment(endpoints={n: Endpoint(url, "test-model") for n in names})


def results() -> list[CampaignResult]:
    """Campaigns as reporters meet them: all kinds of verdicts, odd names, hostile texts, a secret, nothing at all."""
    Secret(PLANTED)  # from here on it is known, and must not be shown
    hostile = "<script>alert(1)</script>|`${x}`\u202e\n=cmd()"
    metrics = {"throughput": Metric(812.5, "tok/s", 100), "ttft_p99": Metric(0.25, "s", 100), "n": Metric(3, "1")}
    good = TrialResult(
        "pk-1-a-1", "001_good", "completed", 1, "2026-01-01T00:00:00.000Z", "2026-01-01T00:01:00.000Z", 60.0,
        tuple(PhaseOutcome(p, "ok", 1.5, "2026-01-01T00:00:00.000Z") for p in ("discover", "deploy", "benchmark")),
        {"n1": {"cpus": 8}}, Deployment(), (Health(ok=True, detail="up", service="engine", node="n1"),),
        Measurement(metrics, 100, 2, "a tool 1.0"), (Artifact("log", "logs/n1/engine.log", "n1", "", 3, "0" * 64),),
        (), clean=True,
    )  # fmt: skip
    bad = TrialResult(
        "pk-1-b-2", f"002 {hostile}", "failed", 2,
        phases=(PhaseOutcome("deploy", "failed", 0.5, "", f"no: {hostile} {PLANTED}", "start", "defaults", "n1", "try"),),
        residue=(Residue("n1", "container", "abc", hostile),), clean=False, warnings=(hostile,),
    )  # fmt: skip
    scenarios = (
        ScenarioResult("001_good", "completed", "", "fine", "scenarios/001_good", ("a",), (good,)),
        ScenarioResult(f"002 {hostile}", "failed", f"deploy: {hostile}", hostile, "x", (), (bad,)),
        ScenarioResult("003_skipped", "skipped", "Previous scenario failed"),
        ScenarioResult("004_你好", "cancelled", "interrupted by SIGINT"),
    )
    times = ("2026-01-01T00:00:00.000Z", "2026-01-01T01:00:00.000Z", 3600.0)
    return [
        CampaignResult("20260101_000000_all", *times, "failed", scenarios, "playbook-kernel 0", ("run", "--all")),
        CampaignResult("20260101_000000_none", *times, "completed"),
        CampaignResult("20260101_000000_cut", *times, "running", scenarios[:1], warnings=(hostile,)),
    ]
