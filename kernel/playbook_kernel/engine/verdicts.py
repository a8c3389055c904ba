"""What is made of how trials ended."""

from __future__ import annotations

from attrs import evolve

from playbook_kernel.model import PhaseOutcome, Scenario, ScenarioResult, Status, Trial, TrialResult

from .store import now


def reason_of(trial: TrialResult) -> str:
    """Why a trial is no good; empty if it is."""
    failure = trial.failure
    if failure is not None:
        blamed = failure.error_class == "plugin" and failure.plugin not in failure.error
        return f"{failure.phase}: {failure.error}" + f" (plugin {failure.plugin})" * blamed
    return "" if trial.status == "completed" else "it was not proven that nothing is left on the nodes"


def not_begun(trial: Trial, why: str) -> TrialResult:
    """The result of a trial of which nothing was begun."""
    outcome = PhaseOutcome("discover", "failed", 0.0, now(), why, "internal", hint="is the disk full?")
    return TrialResult(trial.id, trial.scenario.name, "failed", trial.attempt, now(), now(), phases=(outcome,))


def verdict_of(scenario: Scenario, status: Status, reason: str, trials: tuple[TrialResult, ...]) -> ScenarioResult:
    """The verdict on a scenario."""
    return ScenarioResult(
        scenario.name, status, reason, scenario.description, str(scenario.directory), scenario.tags, trials
    )


def merged(result: TrialResult, cleanup: TrialResult) -> TrialResult:
    """A trial's result after another process has cleaned up after it."""
    first = next((p for p in result.phases if p.phase == "cleanup" and p.status != "ok"), None)
    why = f": {first.error}" + (f" (plugin {first.plugin})" if first.plugin else "") if first else ""
    phases = tuple(p for p in result.phases if p.phase != "cleanup") + cleanup.phases
    return evolve(
        result,
        phases=phases,
        residue=cleanup.residue,
        clean=cleanup.clean,
        emergencies=result.emergencies + 1,
        warnings=tuple(dict.fromkeys((*result.warnings, *cleanup.warnings, f"an emergency cleanup was needed{why}"))),
    )
