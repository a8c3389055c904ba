"""The nodes file: hosts, and how each is reached."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from playbook_kernel.api import Document, DriverRef, Key, Node, Problems, dotted

from . import effects
from .vocabulary import NodeEntry, NodesFile

EMBEDDED = Node("local", DriverRef("local"), composer="process", role="controller", stage_dir="", work_dir="")
"""What there is without any nodes file: this machine, with services as plain processes."""

_SSH_KEYS = ("port", "username", "password", "key_filename", "passphrase", "host_keys", "known_hosts", "proxy_jump")


def read_nodes(document: Document, problems: Problems) -> dict[str, Node]:
    """Make the nodes; entries with problems are left out."""
    top = document.structure(NodesFile, problems)
    if top is None:
        return {}
    if "nodes" not in document.data and not any(p.file == str(document.file) for p in problems.items):
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
    effects.tell(document, "nodes", problems, path)
    local = entry.transport == "local" or (entry.transport is None and entry.host == "local")
    if not 0 < entry.port < 65536:
        wrong("port", f"expected 1 to 65535, got {entry.port}")
    options: dict[str, Any] = {}
    if local or entry.transport not in (None, "ssh"):
        said = {key: getattr(entry, key) for key in _SSH_KEYS if key in raw}
        options = {} if local else {**entry.options, **said}
    else:
        if not entry.username:
            wrong("username", "required key is missing")
        if entry.options:
            wrong("options", "are those of a transport of a plugin", "ssh takes its own below `ssh`")
        options = {"host": entry.host, **entry.ssh}
        for key in _SSH_KEYS:
            if (value := getattr(entry, key)) is not None:
                options[key] = value
        if entry.enabled:
            _check_key_file(document, path, options, problems)
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


def _check_key_file(document: Document, path: tuple[Key, ...], options: dict[str, Any], problems: Problems) -> None:
    """A key that is named must be there; beside a password it is left out with a warning, as the earlier tool did."""
    named = options.get("key_filename")
    if not named or (Path(named).expanduser().is_file() and os.access(Path(named).expanduser(), os.R_OK)):
        return
    there = Path(named).expanduser().exists()
    what = f"{named} cannot be read" if there else f"there is no file {named}"
    where = (*path, "key_filename")
    if options.get("password"):
        problems.warn(document.file, document.line(*where), dotted(where), f"{what}; the password is used")
        del options["key_filename"]
    else:
        problems.add(document.file, document.line(*where), dotted(where), what)


def tell_secrets(raw: Document, problems: Problems) -> None:
    """Note passwords that stand in the file itself; ``raw`` is the file before variables are replaced."""
    for name, entry in (raw.data.get("nodes") or {}).items():
        for key in ("password", "passphrase"):
            value = entry.get(key) if isinstance(entry, Mapping) else None
            if isinstance(value, str) and value and "${" not in value:
                open_to_all = raw.file.stat().st_mode & 0o044
                more = f", and others can read it: chmod 600 {raw.file.name}" if open_to_all else ""
                where = ("nodes", name, key)
                problems.note(
                    raw.file, raw.line(*where), dotted(where), f"stands in the file; ${{VARIABLE}} keeps it out{more}"
                )
