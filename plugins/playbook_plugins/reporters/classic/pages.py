"""The earlier tool's reports for people: what its sections said, from the same data as its summaries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from playbook_kernel.api import CampaignResult, ScenarioResult, TrialResult

from playbook_plugins.reporters.words import markdown_text as text
from playbook_plugins.reporters.words import seconds

from . import values

_SIGNS = {"completed": "✅", "failed": "❌", "skipped": "⊘", "cancelled": "⏹"}


def scenario(scenario: ScenarioResult, trial: TrialResult, record: Mapping[str, Any]) -> Iterator[str]:
    """``scenario_test_report.md``."""
    found, collected = values.summary(scenario, trial), values.collection(trial, record)
    yield f"# Scenario test report: {text(scenario.scenario)}"
    yield from ("", "## Basic information", "")
    yield from _table(
        ["", ""],
        [
            ["status", f"{_SIGNS.get(scenario.status, '')} {scenario.status}"],
            ["description", text(scenario.description)],
            ["started", str(values.local(trial.started) or "")],
            ["ended", str(values.local(trial.ended) or "")],
            ["duration", seconds(trial.seconds)],
            ["attempts", str(len(scenario.trials))],
            ["nodes", f"{found['successful_nodes']} good, {found['failed_nodes']} failed"],
            ["error", text(values.scenario_summary(scenario)["error_message"] or "")],
        ],
    )
    artifacts = collected["test_artifacts"]
    yield from ("", "## Test results collected", "")
    yield f"{artifacts['count']} files, {artifacts['total_size_mb']} MB, from {text(artifacts['source'] or 'nowhere')}."
    yield from ("", "## Collected per node", "")
    yield from _table(
        ["node", "service logs", "system logs", "errors"],
        [
            [text(n), str(r["services_collected"]), str(r["system_logs_collected"]), str(len(r["collection_errors"]))]
            for n, r in found["node_results"].items()
        ],
    )
    figures = {k: v for k, v in found["performance_metrics"].items() if v is not None}
    if figures.get("total_requests"):
        yield from ("", "## Performance", "")
        yield from _table(["figure", "value"], [[k, f"{v:g}"] for k, v in figures.items()])
    if collected["collection_errors"]:
        yield from ("", "## Collection errors", "")
        yield from (f"- {text(e)}" for e in collected["collection_errors"])


def collection(scenario: ScenarioResult, trial: TrialResult, record: Mapping[str, Any]) -> Iterator[str]:
    """``collection_report.txt``: every file that was kept."""
    found = values.collection(trial, record)
    yield f"Collection report: {_line(scenario.scenario)}"
    yield f"time: {found['collection_time'] or '-'}"
    yield f"mode: {found['mode'] or '-'}"
    yield f"files: {found['total_files_collected']}"
    yield f"size: {found['total_size_mb']} MB"
    for artifact in trial.artifacts:
        note = f"  PARTIAL: {_line(artifact.note)}" if artifact.partial else ""
        yield f"{artifact.size:>12}  {artifact.sha256 or '-':64}  {_line(artifact.path)}{note}"
    for error in found["collection_errors"]:
        yield f"error: {_line(error)}"


def suite(result: CampaignResult) -> Iterator[str]:
    """``run-all-suite.md``."""
    found = values.suite(result)
    summary, health, isolation = found["summary"], found["health_report"], found["isolation"]
    yield f"# Test suite {text(result.id)}"
    yield from ("", "## Health", "", f"{health['overall_status']}: {health['total_checks']} checks of services.")
    yield from (f"- {text(issue)}" for issue in health["critical_issues"])
    yield from ("", "## Summary", "")
    rows = [(k, summary[k]) for k in ("total_scenarios", "successful_scenarios", "failed_scenarios")]
    rows += [("success rate", _percent(summary["overall_success_rate"])), ("time", seconds(result.seconds))]
    rows += [(k.replace("_", " "), v) for k, v in found["performance_metrics"].items() if v is not None]
    rows += [(k.replace("_", " "), v) for k, v in found["file_statistics"].items()]
    yield from _table(["", ""], [[str(k).replace("_", " "), str(v)] for k, v in rows])
    yield from ("", "## Scenarios", "")
    yield from _table(
        ["scenario", "status", "time", "files", "MB", "nodes good", "nodes failed", "error"],
        [
            [
                text(name),
                f"{_SIGNS.get(s['status'], '')} {s['status']}",
                seconds(s["duration_seconds"]),
                *(str(s[k]) for k in ("result_files", "result_size_mb", "successful_nodes", "failed_nodes")),
                text((s["error_message"] or "")[:50]),
            ]
            for name, s in found["scenario_summaries"].items()
        ],
    )
    yield from ("", "## Isolation", "")
    yield (
        f"{isolation['clean']} of {isolation['trials']} trials were verified clean "
        f"({_percent(isolation['success_rate'])}), {isolation['emergency_cleanups']} emergency cleanups, "
        f"{seconds(isolation['cleanup_seconds'])} of cleaning."
    )
    yield from (f"- {text(error)}: {count}" for error, count in isolation["errors"].items())
    yield from ("", text(result.tool))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'|'.join('---' for _ in head)}|"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:g} %"


def _line(value: str) -> str:
    return " ".join(value.split())
