"""What a campaign ran on, taken out of its record."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from attrs import frozen
from playbook_kernel.api import CampaignResult

from .runs import trial_place

_PASSING = {"memory_available_kib", "disk_free_kib", "listening", "user", "docker_cli"}
_ROUGH = {"clock_offset"}


@frozen
class Image:
    """What a service was started from."""

    service: str
    node: str
    image: str
    digest: str


def nodes(result: CampaignResult) -> dict[str, dict[str, list[Any]]]:
    """The lasting facts of each node: every value that was seen, in order."""
    found: dict[str, dict[str, list[Any]]] = {}
    for scenario in result.scenarios:
        for trial in scenario.trials:
            for node, facts in trial.facts.items():
                known = found.setdefault(node, {})
                for key, value in facts.items():
                    if key in _PASSING:
                        continue
                    value = _lasting(value)
                    values = known.setdefault(key, [])
                    if value not in values and not (values and key in _ROUGH):
                        values.append(value)
    return found


def _lasting(value: Any) -> Any:
    """An accelerator without what it happened to use just then."""
    if isinstance(value, list):
        return [_lasting(v) for v in value]
    if isinstance(value, Mapping):
        return {k: v for k, v in value.items() if not k.endswith("_used_mib")}
    return value


def images(result: CampaignResult, run: Path) -> list[Image]:
    """The images of all services, each once."""
    found: dict[tuple[str, ...], Image] = {}
    for _, data in _kept(result, run):
        for entry in data.get("images", ()):
            image = Image(*(str(entry.get(k, "")) for k in ("service", "node", "image", "digest")))
            found.setdefault((image.service, image.node, image.image, image.digest), image)
    return sorted(found.values(), key=lambda i: (i.service, i.node))


def provenance(result: CampaignResult, run: Path) -> dict[str, str]:
    """Versions and the state of the files that it was made from, each value that was seen."""
    return _merged((data.get("provenance", {}) for _, data in _kept(result, run)))


def engines(result: CampaignResult, run: Path) -> dict[str, str]:
    """What was found out of nodes besides their facts: the compose version, how accelerators are connected."""
    kept = (data.get("nodes", {}).items() for _, data in _kept(result, run))
    return _merged({f"{node}: {key}": v for key, v in facts.items()} for nodes in kept for node, facts in nodes)


def scenario_state(result: CampaignResult, run: Path, *, only: str = "") -> dict[str, str]:
    """The hash of each scenario's folder and the plain values of its test_config; ``only``: one of the keys."""
    return _merged(
        {f"{name}: {k}": v for k, v in data.get("scenario", {}).items() if not only or k == only}
        for name, data in _kept(result, run)
    )


def _merged(mappings: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    for mapping in mappings:
        for key, value in mapping.items():
            values = found.setdefault(str(key), [])
            if str(value) not in values:
                values.append(str(value))
    return {k: " → ".join(v) for k, v in found.items()}


def _kept(result: CampaignResult, run: Path) -> list[tuple[str, Mapping[str, Any]]]:
    """The fingerprint of each trial that has one, with its scenario's name."""
    found: list[tuple[str, Mapping[str, Any]]] = []
    for scenario in result.scenarios:
        for trial in scenario.trials:
            for artifact in trial.artifacts:
                if artifact.kind == "fingerprint":
                    path = run / trial_place(run, trial, scenario.scenario) / artifact.path
                    try:
                        data = json.loads(path.read_text(encoding="utf-8"))
                    except (OSError, ValueError):
                        continue
                    if isinstance(data, dict):
                        found.append((scenario.scenario, data))
    return found
