"""What was asked for, kept with the trial: two files with the names and keys of the earlier tool."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from playbook_kernel.api import Artifact, Deployment, Scenario, Service, TrialContext, encode, hookimpl, redacted

KIND = "metadata"
METADATA, SERVICES = "metadata/scenario_metadata.json", "metadata/service_deployment.json"


@hookimpl
def playbook_collect(ctx: TrialContext, deployment: Deployment | None) -> Iterable[Artifact]:
    """Written by the trial, for a reporter sees results only."""
    scenario = ctx.trial.scenario
    return [
        _keep(ctx.directory, METADATA, metadata(scenario)),
        _keep(
            ctx.directory, SERVICES, {"services": {s.name: _placed(s, scenario.directory) for s in scenario.services}}
        ),
    ]


def metadata(scenario: Scenario) -> dict[str, Any]:
    """A scenario by the earlier tool's keys, and two more: its benchmark and how much is collected."""
    info = scenario.info
    return {
        "name": scenario.name,
        "description": scenario.description,
        "directory": str(scenario.directory),
        "metadata": {
            "name": info.get("title", scenario.name),
            "description": scenario.description,
            "version": info.get("version", "1.0"),
            "tags": list(scenario.tags),
            "estimated_duration": scenario.estimated_duration,
            "dependencies": list(scenario.depends_on),
            "resource_requirements": dict(info.get("resource_requirements", {})),
            "author": info.get("author"),
            "created": info.get("created"),
            "services": [
                {"name": s.name, **_placed(s, scenario.directory), "health_check": _health(s)}
                for s in scenario.services
            ],
            "test_execution": {
                k: v for k, v in scenario.benchmark.options.items() if k in ("node", "script", "timeout")
            },
        },
        "benchmark": scenario.benchmark.use,
        "collection_mode": info.get("collection_mode"),
    }


def _placed(service: Service, directory: Path) -> dict[str, Any]:
    file = service.definition
    return {
        "nodes": list(service.nodes),
        "compose_file": str(file.relative_to(directory) if file.is_relative_to(directory) else file),
        "depends_on": [e.service for e in service.after],
    }


def _health(service: Service) -> dict[str, Any]:
    policy = service.health
    return {
        "enabled": policy.enabled,
        "startup_timeout": policy.timeout,
        "startup_grace_period": policy.grace,
        "check_interval": policy.interval,
        "max_retries": policy.retries,
        "failure_action": "abort" if policy.abort else "retry",
        "checks": [{"type": c.probe.use, "required": c.required, "timeout": c.timeout} for c in service.checks],
    }


def _keep(folder: Path, name: str, data: Mapping[str, Any]) -> Artifact:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    raw = (json.dumps(redacted(encode(data)), indent=2, ensure_ascii=False) + "\n").encode(errors="backslashreplace")
    path.write_bytes(raw)
    return Artifact(KIND, name, size=len(raw), sha256=hashlib.sha256(raw).hexdigest())
