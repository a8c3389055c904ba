"""System checks of one node: can it be reached, can it run services, has it room, does its clock agree?"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any, Literal

from attrs import field, frozen
from playbook_kernel.api import (
    CampaignContext,
    CommandContext,
    Composer,
    DriverRef,
    Node,
    NodeError,
    PlaybookError,
    Session,
    Transport,
    within,
)

from playbook_plugins import discovery
from playbook_plugins.deployment.choose import PREFERENCE
from playbook_plugins.discovery import BUSY_WARN, CLOCK_WARN
from playbook_plugins.kept import Kept, key_of

CONNECT_SECONDS = 20.0
LOOK_SECONDS = 40.0
DISK_CRITICAL, DISK_WARN = 95.0, 85.0
"""Percent of a file system in use; critical only if less than DISK_ROOM KiB are free, too."""
DISK_ROOM = 10 * 2**20
MEMORY_WARN = 90.0
LOAD_WARN = 2.0
"""Processes that want to run, per processor."""

Status = Literal["healthy", "degraded", "unhealthy"]
Context = CommandContext | CampaignContext

_DISKS = r"""
for d in "$@"; do
  while [ -n "$d" ] && [ ! -d "$d" ] && [ "$d" != / ]; do d=$(dirname -- "$d"); done
  df -Pk -- "${d:-/}" 2>/dev/null | tail -n 1
done
[ -r /proc/loadavg ] && read -r one _ </proc/loadavg && echo "load $one"
"""


@frozen
class Verdict:
    """What one check of one node came to. ``unhealthy`` is critical: scenarios that need the node would fail."""

    node: str
    check: str
    status: Status
    detail: str = ""
    seconds: float = 0.0
    data: Mapping[str, Any] = field(factory=dict)


_fitted = Kept("fits")


def examine(ctx: Context, node: Node) -> list[Verdict]:
    """Every check of a node; never raises for what the node does."""
    found: list[Verdict] = []
    began = time.monotonic()
    try:
        with within(CONNECT_SECONDS):
            session = ctx.build(Transport, node.transport).connect(node)
    except PlaybookError as error:
        hint = f" ({error.hint})" if error.hint else ""
        return [Verdict(node.name, "connectivity", "unhealthy", _words(node, error) + hint, time.monotonic() - began)]
    with session:
        try:
            with within(LOOK_SECONDS):
                found.append(_connectivity(node, session))
                facts = discovery.look(node, session)
                found += [*_judged(node, facts), _engine(ctx, node, session, facts), *_disks(node, session, facts)]
        except PlaybookError as error:
            found.append(Verdict(node.name, "connectivity", "unhealthy", _words(node, error)))
    return found


def _words(node: Node, error: Exception) -> str:
    return str(error).removeprefix(f"{node.name}: ")


def _connectivity(node: Node, session: Session) -> Verdict:
    began = time.monotonic()
    session.run(["true"], timeout=CONNECT_SECONDS)
    took = time.monotonic() - began
    return Verdict(
        node.name,
        "connectivity",
        "healthy",
        f"a command takes {took * 1000:.0f} ms",
        took,
        {"round_trip_s": round(took, 6)},
    )


def _judged(node: Node, facts: Mapping[str, Any]) -> Iterator[Verdict]:
    def verdict(check: str, status: Status, detail: str, **data: Any) -> Verdict:
        return Verdict(node.name, check, status, detail, data=data)

    missing = facts.get("missing_tools") or []
    system = (
        f"{facts.get('os', facts.get('kernel', '?'))}, {facts.get('arch', '?')}, {facts.get('cpus', '?')} processors"
    )
    yield verdict("tools", "unhealthy" if missing else "healthy", f"lacks {', '.join(missing)}" if missing else system)
    total, free = facts.get("memory_kib"), facts.get("memory_available_kib")
    if total and free is not None:
        used = 100.0 * (1 - free / total)
        detail = f"{used:.0f}% of {total / 2**20:.1f} GiB in use"
        yield verdict("memory", "degraded" if used > MEMORY_WARN else "healthy", detail, used_percent=round(used, 1))
    offset = facts.get("clock_offset")
    if isinstance(offset, (int, float)):
        off = abs(offset) > CLOCK_WARN
        detail = f"{offset:+.3f} s from this machine's" + (": set up time synchronisation" if off else "")
        yield verdict("clock", "degraded" if off else "healthy", detail, offset_s=offset)
    yield _accelerators(node, facts.get("accelerators") or [])


def _accelerators(node: Node, found: list[Mapping[str, Any]]) -> Verdict:
    if not found:
        return Verdict(node.name, "accelerators", "healthy", "none")
    names = [str(a.get("name") or a.get("kind")) for a in found]
    counted = ", ".join(f"{names.count(n)} x {n}" for n in dict.fromkeys(names))
    busy = [
        f"{a.get('index', '?')}: {a['memory_used_mib']} MiB"
        for a in found
        if a.get("memory_mib") and 100.0 * a.get("memory_used_mib", 0) / a["memory_mib"] > BUSY_WARN
    ]
    detail = counted + (f"; memory in use already on {', '.join(busy)}" if busy else "")
    return Verdict(node.name, "accelerators", "degraded" if busy else "healthy", detail, data={"found": found})


def _engine(ctx: Context, node: Node, session: Session, facts: Mapping[str, Any]) -> Verdict:
    """Whether a composer fits, by the same rule as deployment: what is asked for, or else Compose V2, then V1.

    What fitted an engine of a version, beside the same programs of Docker and Compose, fits it again, also in a later run.
    Only what is good is kept; that the engine answers is seen each time, for its version is asked of itself.
    """
    began = time.monotonic()
    drivers = [(n, ctx.build(Composer, DriverRef(n, node.composer_options))) for n in _candidates(node)]
    version, tools = facts.get("docker"), facts.get(discovery.TOOLS)
    key = ""
    if version and tools:
        where = [
            node.name,
            node.host,
            node.composer_options,
            facts.get("hostname"),
            facts.get("kernel"),
            facts.get("user"),
        ]
        key = key_of(version_of("playbook-kernel"), where, version, tools, [(n, _code(d)) for n, d in drivers])
        if (known := _fitted.get(key)) is not None:
            return Verdict(node.name, "engine", "healthy", str(known["detail"]), time.monotonic() - began)
    found = _fits(node, session, facts, drivers)
    if key and found.status == "healthy":
        _fitted.put(key, {"detail": found.detail})
    return found


def _candidates(node: Node) -> list[str]:
    names = [node.composer] if node.composer != "auto" else [*PREFERENCE]
    return [*names, "process"] if node.composer == "auto" and node.transport.use == "local" else names


def _code(driver: Composer[Any]) -> list[object]:
    """What changes when a driver does: the files of its class and of those that it is made from."""
    files = {getattr(sys.modules.get(c.__module__), "__file__", None) for c in type(driver).__mro__}
    return [type(driver).__qualname__, *sorted((f, Path(f).stat().st_mtime_ns) for f in files if f)]


def _fits(
    node: Node, session: Session, facts: Mapping[str, Any], drivers: Sequence[tuple[str, Composer[Any]]]
) -> Verdict:
    began = time.monotonic()
    reasons = []
    for name, driver in drivers:
        try:
            why_not = driver.fit(session)
        except NodeError as error:
            why_not = str(error)
        if why_not is None:
            version = f", Docker {facts['docker']}" if facts.get("docker") and name != "process" else ""
            return Verdict(node.name, "engine", "healthy", f"composer {name}{version}", time.monotonic() - began)
        reasons.append(f"{name}: {why_not}")
    return Verdict(node.name, "engine", "unhealthy", "; ".join(reasons), time.monotonic() - began)


def _disks(node: Node, session: Session, facts: Mapping[str, Any]) -> Iterator[Verdict]:
    places = dict.fromkeys(p for p in ("/", "/tmp", "/var/lib/docker", node.stage_dir, node.work_dir) if p)  # noqa: S108
    rows = [r.split() for r in session.run(["sh", "-s", "--", *places], stdin=_DISKS.encode()).text.splitlines()]
    worst, words = 0.0, []
    seen: dict[str, tuple[float, int]] = {}
    for row in rows:
        if len(row) >= 6 and row[1].isdigit() and row[3].isdigit() and int(row[1]):
            used = 100.0 * (1 - int(row[3]) / int(row[1]))
            seen[row[5]] = (used, int(row[3]))
    for mount, (used, free) in seen.items():
        worst = max(worst, used)
        words.append(f"{mount} {used:.0f}% in use, {free / 2**20:.1f} GiB free")
    if words:
        full = any(used > DISK_CRITICAL and free < DISK_ROOM for used, free in seen.values())
        status: Status = "unhealthy" if full else "degraded" if worst > DISK_WARN else "healthy"
        yield Verdict(node.name, "disk", status, "; ".join(words), data={"used_percent": round(worst, 1)})
    for row in rows:
        if row[:1] == ["load"] and facts.get("cpus"):
            load = float(row[1]) / int(facts["cpus"])
            status = "degraded" if load > LOAD_WARN else "healthy"
            yield Verdict(
                node.name, "load", status, f"{load:.2f} per processor", data={"per_processor": round(load, 2)}
            )
