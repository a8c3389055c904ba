"""The nodes file: hosts, and how each is reached."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from playbook_kernel.api import Document, DriverRef, Node, Problems

from .vocabulary import NO_EFFECT, NodeEntry, NodesFile

EMBEDDED = Node("local", DriverRef("local"), composer="process", role="controller", stage_dir="", work_dir="")
"""What there is without any nodes file: this machine, with services as plain processes."""

_SSH_KEYS = ("port", "username", "password", "key_filename", "passphrase", "host_keys", "known_hosts", "proxy_jump")


def read_nodes(document: Document, problems: Problems) -> dict[str, Node]:
    """Make the nodes; entries with problems are left out."""
    top = document.structure(NodesFile, problems)
    if top is None:
        return {}
    if "nodes" not in document.data:
        problems.add(document.file, 1, "nodes", "required key is missing")
    if top.kubernetes:
        problems.warn(
            document.file,
            document.line("kubernetes"),
            "kubernetes",
            "is not used: clusters need the plugin playbook-deploy-kubernetes",
        )
    found = {}
    for name, raw in top.nodes.items():
        if (node := _node(document, name, raw, problems)) is not None:
            found[name] = node
    if not top.nodes and not top.kubernetes and "nodes" in document.data:
        problems.add(document.file, document.line("nodes"), "nodes", "names no node")
    return found


def _node(document: Document, name: str, raw: Any, problems: Problems) -> Node | None:
    path = ("nodes", name)

    def wrong(key: str, message: str, hint: str = "") -> None:
        problems.add(document.file, document.line(*path, key), f"nodes.{name}.{key}", message, hint)

    entry = document.structure(NodeEntry, problems, path, raw if isinstance(raw, Mapping) else {})
    if not isinstance(raw, Mapping):
        problems.add(document.file, document.line(*path), f"nodes.{name}", "must be a mapping of keys to values")
    if entry is None:
        return None
    for key, why in NO_EFFECT["nodes"].items():
        if raw.get(key) is not None:
            problems.warn(document.file, document.line(*path, key), f"nodes.{name}.{key}", f"has no effect: {why}")
    local = entry.transport == "local" or (entry.transport is None and entry.host == "local")
    if not 0 < entry.port < 65536:
        wrong("port", f"expected 1 to 65535, got {entry.port}")
    options: dict[str, Any] = {}
    if not local:
        if not entry.username and entry.transport in (None, "ssh"):
            wrong("username", "required key is missing")
        options = {"host": entry.host, **entry.ssh}
        for key in _SSH_KEYS:
            if (value := getattr(entry, key)) is not None:
                options[key] = value
    composer = entry.composer or entry.docker_compose_version
    if composer == "unknown":
        composer = "auto"
    return Node(
        name,
        DriverRef("local" if local else entry.transport or "ssh", options, document.origin(*path)),
        "localhost" if local else entry.host,
        composer,
        entry.enabled,
        entry.role,
        tuple(entry.tags),
        entry.docker_compose_path,
        entry.work_dir,
    )
