"""Health checks: presets by strategy, the older type names, and the layers that fill in what a service leaves open."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any

from attrs import evolve, fields
from playbook_kernel.api import Check, DriverRef, HealthPolicy, Problems, learn

from playbook_plugins.text import Document, Key, dotted

from .vocabulary import HealthCheck

_QUICK = HealthCheck(startup_grace_period=30.0, check_interval=5.0, max_retries=2)
_STANDARD = HealthCheck(startup_grace_period=90.0, check_interval=15.0, max_retries=3)
_THOROUGH = HealthCheck(startup_grace_period=180.0, check_interval=15.0, max_retries=8)
STRATEGIES: Mapping[str, HealthCheck] = {
    "quick": _QUICK,
    "minimal": _QUICK,
    "basic": _QUICK,
    "standard": _STANDARD,
    "kubernetes": _STANDARD,
    "thorough": _THOROUGH,
    "comprehensive": _THOROUGH,
}
"""Strategy names, with all the older ones, and what they preset; any key that is given beats its preset."""

_PROBES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "docker_status": ("docker", {}),
    "docker_health": ("docker", {"health": True}),
    "http_endpoint": ("http", {}),
    "custom_script": ("script", {}),
}


def merged(*layers: HealthCheck) -> HealthCheck:
    """Fill in what the earlier layers leave open from the later ones."""
    result = layers[0]
    for layer in layers[1:]:
        gaps = {
            f.name: getattr(layer, f.name)
            for f in fields(HealthCheck)
            if getattr(result, f.name) is None and getattr(layer, f.name) is not None
        }
        result = evolve(result, **gaps)
    return result


def policy(check: HealthCheck, timeout: float | None) -> HealthPolicy:
    """The kernel's policy; ``timeout`` is what the files give as the bound of a whole health check, if they do."""
    preset = merged(check, STRATEGIES.get((check.strategy or "standard").lower(), _STANDARD))
    grace = preset.startup_grace_period or 0.0
    interval = preset.retry_delay if check.retry_delay is not None else preset.check_interval
    bound = check.startup_timeout or timeout or 300.0
    return HealthPolicy(
        enabled=preset.enabled is not False,
        grace=grace,
        interval=interval or 1.0,
        retries=preset.max_retries if preset.max_retries is not None else 3,
        timeout=max(bound, grace + 1.0),  # a grace period longer than the bound would mean that nothing is ever checked
        abort=preset.failure_action == "abort",
    )


def checks(check: HealthCheck, document: Document, path: tuple[Key, ...], problems: Problems) -> tuple[Check, ...]:
    """The checks of a service; none at all means that its container must run."""
    found = []
    for index, raw in enumerate(check.checks or ()):
        where = (*path, "checks", index)
        options = {k: v for k, v in raw.items() if k not in ("type", "required", "timeout") and v is not None}
        kind = raw.get("type")
        required, timeout = raw.get("required", True), raw.get("timeout", 10.0)

        def wrong(key: str, message: str, hint: str = "", where: tuple[Key, ...] = where) -> None:
            place = (*where, key) if key else where
            problems.add(document.file, document.line(*place), dotted(place), message, hint)

        if not isinstance(required, bool):
            wrong("required", f"expected true or false, got {required!r}")
        if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or timeout <= 0:
            wrong("timeout", f"expected seconds above 0, got {timeout!r}")
            timeout = 10.0
        if not isinstance(kind, str) or not kind:
            wrong("", "a check needs a type", f"known: {', '.join(_PROBES)}")
            continue
        if (hint := _slip(kind)) is not None:
            wrong("type", f"there is no check {kind!r}", hint)
            continue
        headers = options.get("headers")
        learn({**options, **(headers if isinstance(headers, Mapping) else {})})
        use, preset = _PROBES.get(kind, (kind, {}))
        ref = DriverRef(use, {**preset, **options}, document.origin(*where))
        advisory = check.failure_action == "skip"  # what fails is told, and stops nothing
        found.append(Check(ref, required=required is True and not advisory, timeout=float(timeout)))
    return tuple(found) or (Check(DriverRef("docker", {})),)


def _slip(kind: str) -> str | None:
    """A hint, if a type is nearly one of ours and not what an installed probe is called."""
    if kind in _PROBES or kind in _installed():
        return None
    near = difflib.get_close_matches(kind, [*_PROBES, *_installed()], n=1, cutoff=0.7)
    return f"did you mean {near[0]!r}?" if near else None


@functools.cache
def _installed() -> frozenset[str]:
    return frozenset(entry_points(group="playbook_kernel.probe").names)
