"""The earlier tool's summaries as plain data: its keys, filled with what was really found. Unknown is null, never zero.

Times without a zone are local, as they were there; durations are seconds, latencies as the benchmark gave them.
"""

from __future__ import annotations

import datetime as dt
import math
from collections import Counter
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from attrs import define, field
from playbook_kernel.api import Artifact, CampaignResult, Health, Instance, ScenarioResult, Status, TrialResult

from playbook_plugins.reporters.words import why
from playbook_plugins.stats.metrics import REQUEST_RATE, THROUGHPUT, find

_COLLECTION = ("artifact ", "logs could not", "the log of ", "collector ")
"""How the warnings of collectors begin, after the node's name."""
_THROUGHPUT = ("throughput", *THROUGHPUT, *REQUEST_RATE)
_LATENCY = ("latency_mean", "e2el_mean", "ttft_mean")


@define
class NodeFiles:
    """The logs of one node: of its services, and of itself."""

    services: list[Artifact] = field(factory=list)
    system: list[Artifact] = field(factory=list)


def node_files(trial: TrialResult) -> dict[str, NodeFiles]:
    """Every node of the trial that logs were kept of."""
    found: dict[str, NodeFiles] = {}
    for artifact in trial.artifacts:
        if artifact.kind == "log" and artifact.node and artifact.path.count("/") == 2 and _inside(artifact):
            kept = found.setdefault(artifact.node, NodeFiles())
            (kept.services if artifact.origin else kept.system).append(artifact)
    return found


def test_artifacts(trial: TrialResult) -> list[Artifact]:
    """What the test itself wrote."""
    return [a for a in trial.artifacts if a.kind == "artifact" and a.path.startswith("artifacts/") and _inside(a)]


def _inside(artifact: Artifact) -> bool:
    """A record from elsewhere may name anything; its links must not be made outside of the report's folder."""
    path = PurePosixPath(artifact.path)
    return not path.is_absolute() and ".." not in path.parts


def local(instant: str) -> str | None:
    """An instant in local time without a zone, None if there is none.

    >>> len(local("2026-01-01T00:00:00.000Z")), local("")
    (26, None)
    """
    if not instant:
        return None
    return dt.datetime.fromisoformat(instant).astimezone().replace(tzinfo=None).isoformat(timespec="microseconds")


def megabytes(size: int) -> float:
    """As the earlier tool counted them."""
    return round(size / 1024 / 1024, 2)


def share(part: float, whole: float) -> float | None:
    """In percent; None of nothing."""
    return round(100 * part / whole, 2) if whole else None


def errors_of(trial: TrialResult, node: str = "") -> list[str]:
    """What could not be collected, everywhere or on one node."""
    texts = [(w.partition(": ") if not w.startswith(_COLLECTION) else ("", "", w)) + (w,) for w in trial.warnings]
    return [whole for at, _, rest, whole in texts if rest.startswith(_COLLECTION) and node in ("", at)]


def nodes_of(trial: TrialResult) -> dict[str, bool]:
    """Every node of the trial, and whether nothing went wrong on it."""
    instances = trial.deployment.instances if trial.deployment else ()
    names = dict.fromkeys([*trial.facts, *(i.node for i in instances), *(h.node for h in trial.health if h.node)])
    blamed = {p.node for p in trial.phases if p.status not in ("ok", "skipped")}
    blamed |= {i.node for i in instances if i.error} | {h.node for h in trial.health if not (h.ok or h.advisory)}
    return {n: n not in blamed for n in names if n}


def figures(trial: TrialResult) -> dict[str, Any]:
    """The seven figures of the earlier reports."""
    measured = trial.measurement
    metrics = measured.metrics if measured else {}

    def value(*names: str) -> float | None:
        key = find(metrics, *names)
        return metrics[key].value if key and math.isfinite(metrics[key].value) else None

    total = measured.requests if measured else None
    good = None if measured is None or total is None or measured.errors is None else total - measured.errors
    return {
        "avg_throughput": value(*_THROUGHPUT),
        "max_throughput": value("max_throughput"),
        "min_throughput": value("min_throughput"),
        "avg_latency": value(*_LATENCY),
        "total_requests": total,
        "total_successful_requests": good,
        "overall_success_rate": None if good is None or not total else share(good, total),
    }


def files(*trials: TrialResult) -> dict[str, Any]:
    """How many files were kept, and how large they are together."""
    kept = [a for t in trials for a in t.artifacts]
    return {"total_result_files": len(kept), "total_size_mb": megabytes(sum(a.size for a in kept))}


def summary(scenario: ScenarioResult, trial: TrialResult) -> dict[str, Any]:
    """``result_summary``."""
    kept = node_files(trial)
    return {
        **_head(scenario, trial),
        "performance_metrics": figures(trial),
        "file_statistics": files(trial),
        "node_results": {
            n: {"status": "completed" if good else "failed", **_collected(trial, n, kept.get(n, NodeFiles()))}
            for n, good in nodes_of(trial).items()
        },
    }


def _head(scenario: ScenarioResult, trial: TrialResult) -> dict[str, Any]:
    nodes = nodes_of(trial)
    good = sum(nodes.values())
    return {
        "scenario_name": scenario.scenario,
        "timestamp": local(trial.ended),
        "total_nodes": len(nodes),
        "successful_nodes": good,
        "failed_nodes": len(nodes) - good,
    }


def _collected(trial: TrialResult, node: str, kept: NodeFiles) -> dict[str, Any]:
    return {
        "services_collected": len(kept.services),
        "system_logs_collected": len(kept.system),
        "collection_errors": errors_of(trial, node),
    }


def performance(scenario: ScenarioResult, trial: TrialResult) -> dict[str, Any] | None:
    """``performance_report``; None if no request was counted."""
    found = figures(trial)
    if not found["total_requests"]:
        return None
    every = trial.measurement.metrics if trial.measurement else {}
    return {
        "summary": _head(scenario, trial),
        "metrics": {**found, **{n: m.value for n, m in every.items() if math.isfinite(m.value)}},
        "node_details": {n: {"status": "completed" if good else "failed"} for n, good in nodes_of(trial).items()},
    }


def collection(trial: TrialResult, record: Mapping[str, Any]) -> dict[str, Any]:
    """``collection_summary``. ``record``: what the trial kept of its scenario."""
    artifacts = test_artifacts(trial)
    by_node: dict[str, list[Artifact]] = {}
    for artifact in artifacts:
        by_node.setdefault(artifact.node or "local", []).append(artifact)
    nodes: dict[str, dict[str, Any]] = {n: _collected(trial, n, kept) for n, kept in node_files(trial).items()}
    for node, kept in by_node.items():
        nodes.setdefault(node, {}).update(artifacts_collected=len(kept), files=[a.path for a in kept])
    phase = next((p for p in trial.phases if p.phase == "collect"), None)
    return {
        "collection_time": local(phase.started if phase else ""),
        "mode": record.get("collection_mode"),
        "test_artifacts": {
            "count": len(artifacts),
            "total_size_mb": megabytes(sum(a.size for a in artifacts)),
            "source": ", ".join(by_node) or None,
        },
        "node_results": nodes,
        "total_files_collected": len(trial.artifacts),
        "total_size_mb": megabytes(sum(a.size for a in trial.artifacts)),
        "partial_files": [{"file": a.path, "note": a.note} for a in trial.artifacts if a.partial],
        "collection_errors": errors_of(trial),
    }


def execution(scenario: ScenarioResult, trial: TrialResult) -> dict[str, Any]:
    """``test_execution``."""
    benchmark = next((p for p in trial.phases if p.phase == "benchmark"), None)
    measured = {n: m.value for n, m in trial.measurement.metrics.items()} if trial.measurement else {}
    measured = {n: v for n, v in measured.items() if math.isfinite(v)}
    instances = trial.deployment.instances if trial.deployment else ()
    services: dict[str, list[Instance]] = {}
    for instance in instances:
        services.setdefault(instance.service, []).append(instance)
    details = {name: _deployed(several) for name, several in services.items()}
    counts = Counter(d["status"] for d in details.values())
    return {
        "scenario_result": {
            "scenario_name": scenario.scenario,
            "status": scenario.status,
            "start_time": local(trial.started),
            "end_time": local(trial.ended),
            "duration_seconds": trial.seconds,
            "error_message": why(scenario) or None,
            "metrics": {
                "service_deployment": {name: d["status"] == "completed" for name, d in details.items()},
                "deployment_summary": {
                    "total": len(details),
                    "status_counts": dict(counts),
                    "services": list(details),
                },
                "concurrent_deployment_details": details,
                "health_checks": _health(trial.health),
                "test_execution": {
                    "success": None if benchmark is None or benchmark.status == "skipped" else benchmark.status == "ok",
                    "exit_code": int(measured["exit_status"]) if "exit_status" in measured else None,
                    "duration": benchmark.seconds if benchmark else None,
                    "metrics": measured,
                    "artifacts_count": len(test_artifacts(trial)),
                },
            },
            "artifacts": [a.path for a in test_artifacts(trial)],
            "log_count": sum(a.kind == "log" for a in trial.artifacts),
        },
        "test_metrics": measured,
        "phases": [{"phase": p.phase, "status": p.status, "seconds": p.seconds} for p in trial.phases],
        "attempts": len(scenario.trials),
        "isolation": {"clean": trial.clean, "left_behind": [f"{r.node}: {r.kind} {r.name}" for r in trial.residue]},
    }


def _deployed(several: list[Instance]) -> dict[str, Any]:
    errors = [f"{i.node}: {i.error}" for i in several if i.error]
    came_up = all(i.status in ("ready", "stopped", "stopping") and not i.error for i in several)
    return {
        "status": "completed" if came_up else "failed",
        "duration": max(i.seconds for i in several),
        "retry_count": sum(i.attempts - 1 for i in several),
        "nodes_deployed": [i.node for i in several if not i.error],
        "error_message": "; ".join(errors) or None,
    }


def _health(verdicts: tuple[Health, ...]) -> dict[str, Any]:
    services: dict[str, list[Health]] = {}
    for verdict in verdicts:
        services.setdefault(verdict.service, []).append(verdict)
    good = {n: all(h.ok or h.advisory for h in several) for n, several in services.items()}
    return {
        "overall_healthy": all(good.values()) if good else None,
        "total_services": len(good),
        "healthy_services": sum(good.values()),
        "unhealthy_services": len(good) - sum(good.values()),
        "service_details": {
            n: [
                {"check": h.probe, "node": h.node, "ok": h.ok, "required": not h.advisory, "detail": h.detail}
                for h in hs
            ]
            for n, hs in services.items()
        },
        "failed_checks": [f"{h.service}@{h.node} {h.probe}: {h.detail}" for h in verdicts if not h.ok],
    }


def suite(result: CampaignResult) -> dict[str, Any]:
    """``test_suite_summary``."""
    last = [s.last for s in result.scenarios if s.last]
    found = [figures(t) for t in last]
    total = len(result.scenarios)
    statuses: tuple[Status, ...] = ("completed", "failed", "skipped", "cancelled")
    counts = {s: result.count(s) for s in statuses}
    rates = [f["avg_throughput"] for f in found if f["avg_throughput"] is not None]
    asked = [(f["total_successful_requests"], f["total_requests"]) for f in found]
    counted = [(g, t) for g, t in asked if g is not None and t]
    health = _health(tuple(h for t in last for h in t.health))
    return {
        "suite_name": "Full Test Suite",
        "timestamp": local(result.ended),
        "summary": {
            "total_scenarios": total,
            "successful_scenarios": counts["completed"],
            "failed_scenarios": total - counts["completed"],
            "overall_success_rate": share(counts["completed"], total),
            "total_execution_time": result.seconds,
        },
        "performance_metrics": {
            "overall_avg_throughput": round(sum(rates) / len(rates), 3) if rates else None,
            "overall_max_throughput": max(rates, default=None),
            "overall_success_rate": share(sum(g for g, _ in counted), sum(t for _, t in counted)) if counted else None,
        },
        "file_statistics": files(*last),
        "scenario_summaries": {s.scenario: scenario_summary(s) for s in result.scenarios},
        "health_report": {
            "overall_status": {None: "UNKNOWN", True: "HEALTHY", False: "UNHEALTHY"}[health["overall_healthy"]],
            "check_time": local(result.ended),
            "total_checks": sum(len(t.health) for t in last),
            "components": health["service_details"],
            "summary": {k: health[k] for k in ("total_services", "healthy_services", "unhealthy_services")},
            "critical_issues": health["failed_checks"],
        },
        "execution_summary": {
            "total": total,
            **counts,
            "success_rate": share(counts["completed"], total),
            "total_duration_seconds": result.seconds,
            "is_running": result.status == "running",
            "current_scenario": None,
            "results": {s.scenario: s.status for s in result.scenarios},
        },
        "isolation": isolation(result),
    }


def scenario_summary(scenario: ScenarioResult) -> dict[str, Any]:
    """One scenario in the suite's summary."""
    trial = scenario.last
    nodes = nodes_of(trial) if trial else {}
    kept = files(trial) if trial else {"total_result_files": 0, "total_size_mb": 0.0}
    return {
        "status": scenario.status,
        "duration_seconds": round(sum(t.seconds for t in scenario.trials), 3),
        "result_files": kept["total_result_files"],
        "result_size_mb": kept["total_size_mb"],
        "successful_nodes": sum(nodes.values()),
        "failed_nodes": len(nodes) - sum(nodes.values()),
        "error_message": why(scenario) or None,
    }


def isolation(result: CampaignResult) -> dict[str, Any]:
    """How the trials left the nodes: how many were verified clean, how long it took, what went wrong."""
    trials = [t for s in result.scenarios for t in s.trials]
    cleanups = [p for t in trials for p in t.phases if p.phase == "cleanup" and p.status != "skipped"]
    return {
        "trials": len(trials),
        "clean": sum(t.clean is True for t in trials),
        "success_rate": share(sum(t.clean is True for t in trials), len(trials)),
        "emergency_cleanups": sum(t.emergencies for t in trials),
        "cleanup_seconds": round(sum(p.seconds for p in cleanups), 3),
        "errors": dict(Counter(p.error_class or p.status for p in cleanups if p.status != "ok")),
    }
