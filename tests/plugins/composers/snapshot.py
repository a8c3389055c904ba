"""What an engine says about a project, without what differs from one run to the next: ids, times, addresses given out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from playbook_kernel.api import Session
from playbook_plugins.composers.engine import Engine

_SERVICE = "com.docker.compose.service"
_NUMBER = "com.docker.compose.container-number"
ASKED_SUBNET = "172.29.77.0/24"
"""The one subnet that a compose file of the tests asks for; the engine chooses all others."""

_HEX64 = re.compile(r"\b[0-9a-f]{64}\b")

# Given out by the engine at start, or about this engine's own files.
_VOLATILE = {
    "Id", "Created", "CreatedAt", "ResolvConfPath", "HostnamePath", "HostsPath", "LogPath", "GraphDriver", "SandboxID",
    "SandboxKey", "EndpointID", "NetworkID", "Containers", "State", "RestartCount", "Mountpoint", "DNSNames", "ExecIDs",
}  # fmt: skip
_ADDRESSES = {"IPAddress", "MacAddress", "Gateway", "IPPrefixLen"}
_UNORDERED = {"Binds", "Mounts", "Env", "Aliases", "ExtraHosts", "Links", "Ulimits", "Config"}


def snapshot(session: Session, engine: Engine, project: str) -> dict[str, Any]:
    """Flat: a path for each value of each container (with its log), network and volume of a project."""
    containers = [engine.inspect(c["Id"]) for c in engine.containers(project)]
    names = {}
    for seen in containers:
        labels = seen["Config"]["Labels"]
        name = f"<{labels[_SERVICE]}-{labels[_NUMBER]}>"
        names[seen["Id"]] = names[seen["Id"][:12]] = name
    things: dict[str, Any] = {}
    for seen in containers:
        done = session.run(["sh", "-c", 'docker logs "$1" 2>&1', "-", seen["Id"]], check=False)
        things[f"container {names[seen['Id']]}"] = {**seen, "Log": done.text, "Status": seen["State"]["Status"]}
    things |= {f"network {n['Name']}": n for n in engine.networks(project)}
    things |= {f"volume {v['Name']}": v for v in engine.volumes(project)}
    text = json.dumps(things)
    for ident, name in names.items():
        text = text.replace(ident, name)
    return dict(_flat(_clean(json.loads(_HEX64.sub("<id>", text))), ""))


def _clean(value: Any, key: str = "") -> Any:
    if isinstance(value, dict):
        asked = value.get("IPAMConfig")
        drop = _VOLATILE | (_ADDRESSES if "EndpointID" in value and not asked else set())
        drop |= _ADDRESSES if "SandboxID" in value else set()
        if "IPAM" in value and ASKED_SUBNET not in json.dumps(value["IPAM"]):
            value = {**value, "IPAM": {**value["IPAM"], "Config": "the engine's choice"}}
        cleaned = {k: _clean(v, k) for k, v in value.items() if k not in drop}
        return _ephemeral(cleaned)
    if isinstance(value, list):
        items = [_clean(v) for v in value]
        return sorted(items, key=lambda i: json.dumps(i, sort_keys=True)) if key in _UNORDERED else items
    return value


def _ephemeral(value: dict[str, Any]) -> dict[str, Any]:
    """Ports that the engine picks are as good as any."""
    settings, wanted = value.get("NetworkSettings"), (value.get("HostConfig") or {}).get("PortBindings") or {}
    if not isinstance(settings, Mapping):
        return value
    open_ones = {p for p, b in wanted.items() if all(x.get("HostPort") in ("", "0") for x in b or [])}
    ports = {
        p: [{**x, "HostPort": "picked"} for x in b] if b and p in open_ones else b
        for p, b in (settings.get("Ports") or {}).items()
    }
    return {**value, "NetworkSettings": {**settings, "Ports": ports}}


def _flat(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{path}/{key}" if path else key)
    elif isinstance(value, list) and value:
        for number, inner in enumerate(value):
            yield from _flat(inner, f"{path}[{number}]")
    else:
        yield path, value
