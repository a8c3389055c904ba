"""Results as reporters get them: a good one, and one in which every text comes from somebody hostile."""

from __future__ import annotations

from pathlib import Path

from attrs import evolve
from playbook_kernel.api import (
    Artifact,
    CampaignResult,
    Deployment,
    Health,
    Instance,
    Measurement,
    Metric,
    PhaseOutcome,
    Residue,
    ScenarioResult,
    TrialResult,
)

HOSTILE = "<script>alert(1)</script> | `x` [a](javascript:alert(1)) *b* _c_ & &lt; \"q\" 'r' @someone \u202e"
FORMULA = '=HYPERLINK("http://evil.example","x")'


def phases(status: str = "ok", error: str = "") -> tuple[PhaseOutcome, ...]:
    return (
        PhaseOutcome("discover", "ok", 0.05, "2026-01-01T00:00:00.000Z"),
        PhaseOutcome("deploy", "ok", 12.5, "2026-01-01T00:00:00.050Z"),
        PhaseOutcome("benchmark", status, 61.0, "2026-01-01T00:00:12.550Z", error, "benchmark" if error else ""),
        PhaseOutcome("cleanup", "ok", 2.0, "2026-01-01T00:01:13.550Z"),
    )


def trial(scenario: str, number: int = 1, *, error: str = "", text: str = "fine", ttft: float = 150.25) -> TrialResult:
    metrics = {
        "throughput": Metric(19.29, "req/s", 40),
        "output_tokens_per_s": Metric(12617.4, "tok/s", 40),
        "ttft_p99_ms": Metric(ttft, "ms", 40),
        "total_requests": Metric(40.0, "1"),
    }
    return TrialResult(
        f"pk-1-{number}",
        scenario,
        "failed" if error else "completed",
        number,
        "2026-01-01T00:00:00.000Z",
        "2026-01-01T00:01:15.550Z",
        75.55,
        phases("failed" if error else "ok", error),
        {"gpu-1": {"kernel": f"Linux {text}", "cpus": 8, "accelerators": [{"kind": "nvidia", "name": text}]}},
        Deployment((Instance("engine", "gpu-1", "ready", 1, 12.1),), {}, {"gpu-1": "v2"}),
        (Health(True, text, "engine", "gpu-1", "http"),),
        None if error else Measurement(metrics, 40, 0, f"script {text}"),
        (Artifact("log", "logs/gpu-1/engine.log", "gpu-1", "engine", 1620, "ab" * 32),),
        (Residue("gpu-1", "container", "old", text, foreign=True),),
        True,
        (text,),
    )


def retried(folder: Path, hint: str) -> CampaignResult:
    """A scenario that failed twice, each time with a log of its own that no collector brought home."""
    trials = []
    for number, place in ((1, "006_again"), (2, "006_again/trials/pk-1-2")):
        log = folder / place / "logs/test_output.log"
        log.parent.mkdir(parents=True)
        log.write_text(f"attempt {number}\n")
        one = trial("006_again", number, error="it broke")
        broken = tuple(evolve(p, hint=hint.format(place=place)) if p.error else p for p in one.phases)
        trials.append(evolve(one, phases=broken))
    return campaign(ScenarioResult("006_again", "failed", "it broke", trials=tuple(trials)))


def campaign(*scenarios: ScenarioResult, name: str = "20260101_000000_all_scenarios") -> CampaignResult:
    bad = any(s.status == "failed" for s in scenarios)
    return CampaignResult(
        name, "2026-01-01T00:00:00.000Z", "2026-01-01T00:05:00.000Z", 300.0, "failed" if bad else "completed",
        scenarios, "playbook-kernel 0.1.0", ("run", "--all"), {"defaults": "0.1.0"},
    )  # fmt: skip


def good() -> CampaignResult:
    return campaign(
        ScenarioResult("001_pd", "completed", "", "Two apart.", "/s/001_pd", ("pd",), (trial("001_pd"),)),
        ScenarioResult(
            "002_retry", "completed", trials=(trial("002_retry", error="first time lost"), trial("002_retry", 2))
        ),
        ScenarioResult("003_bad", "failed", "benchmark: it broke", trials=(trial("003_bad", error="it broke"),)),
        ScenarioResult("004_off", "skipped", "Scenario is disabled"),
    )


def hostile() -> CampaignResult:
    name = f"x {HOSTILE}"
    return campaign(
        ScenarioResult(name, "completed", "", HOSTILE, HOSTILE, (HOSTILE,), (trial(name, text=HOSTILE),)),
        ScenarioResult(FORMULA, "failed", FORMULA, trials=(trial(FORMULA, error=FORMULA, text=HOSTILE),)),
        name=HOSTILE,
    )
