"""The nodes file: hosts, and how each is reached."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any

from attrs import evolve
from playbook_kernel.api import DriverRef, Node, Problems

from playbook_plugins.home import at_home
from playbook_plugins.text import Document, Key, dotted, is_file, is_there

from . import effects
from .salvage import salvage
from .vocabulary import ClusterEntry, NodeEntry, NodesFile

EMBEDDED = Node("local", DriverRef("local"), composer="process", role="controller", stage_dir="", work_dir="")
"""What there is without any nodes file: this machine, with services as plain processes."""

CLUSTER = "kubernetes"
"""The composer of clusters; the package playbook-deploy-kubernetes has it."""

_SSH_KEYS = ("port", "username", "password", "key_filename", "passphrase", "host_keys", "known_hosts", "proxy_jump")


def read_nodes(document: Document, problems: Problems) -> dict[str, Node]:
    """Make the nodes; an entry of which nothing can be made is left out."""
    top, _ = salvage(document, NodesFile, problems)
    if top is None:
        return {}
    if not {"nodes", "kubernetes"} & document.data.keys() and not any(
        p.file == str(document.file) for p in problems.items
    ):
        problems.add(document.file, 1, "nodes", "required key is missing")
    found = {}
    for name, raw in top.nodes.items():
        if (node := _node(document, name, raw, problems)) is not None:
            found[name] = node
    for name, raw in top.kubernetes.items():
        if name in top.nodes:
            problems.add(
                document.file, document.line("kubernetes", name), f"kubernetes.{name}", "is a node's name, too"
            )
        elif (node := _cluster(document, name, raw, problems)) is not None:
            found[name] = node
    if not top.kubernetes and "nodes" in document.data and not document.data["nodes"]:
        problems.add(document.file, document.line("nodes"), "nodes", "names no node")
    return found


def _cluster(document: Document, name: str, raw: Any, problems: Problems) -> Node | None:
    """A cluster is a node, the one with `kubectl`, whose composer is that of the plugin for clusters."""
    entry, _ = salvage(document, ClusterEntry, problems, ("kubernetes", name), raw if isinstance(raw, Mapping) else {})
    if entry is None:
        return None
    if entry.enabled and CLUSTER not in _composers():
        where = ("kubernetes", name)
        text = f"needs the composer {CLUSTER!r} of the package playbook-deploy-kubernetes, which is not installed"
        problems.warn(
            document.file,
            document.line(*where),
            dotted(where),
            text,
            "pip install PATH/contrib/playbook-deploy-kubernetes",
        )
    own = {"kubectl_work_dir", "kubeconfig", "context", "default_namespace"}
    host = {k: v for k, v in raw.items() if k not in own} | {"composer": CLUSTER, "work_dir": entry.kubectl_work_dir}
    node = _node(document, name, host, problems, "kubernetes")
    options = {"kubeconfig": entry.kubeconfig, "context": entry.context, "namespace": entry.default_namespace}
    told = {key: value for key, value in options.items() if value}
    return None if node is None else evolve(node, stage_dir="", composer_options=told)


@functools.cache
def _composers() -> frozenset[str]:
    return frozenset(entry_points(group="playbook_kernel.composer").names)


def _node(document: Document, name: str, raw: Any, problems: Problems, section: str = "nodes") -> Node | None:
    path = (section, name)

    def wrong(key: str, message: str, hint: str = "") -> None:
        problems.add(document.file, document.line(*path, key), f"{section}.{name}.{key}", message, hint)

    entry, _ = salvage(document, NodeEntry, problems, path, raw if isinstance(raw, Mapping) else {})
    if not isinstance(raw, Mapping):
        problems.add(document.file, document.line(*path), f"{section}.{name}", "must be a mapping of keys to values")
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
    if not named or (is_file(at_home(named)) and os.access(at_home(named), os.R_OK)):
        return
    what = f"{named} cannot be read" if is_there(at_home(named)) else f"there is no file {named}"
    where = (*path, "key_filename")
    if options.get("password"):
        problems.warn(document.file, document.line(*where), dotted(where), f"{what}; the password is used")
        del options["key_filename"]
    else:
        problems.add(document.file, document.line(*where), dotted(where), what)


def tell_secrets(raw: Document, problems: Problems) -> None:
    """Note passwords that stand in the file itself; ``raw`` is the file before variables are replaced."""
    sections = ((s, raw.data.get(s)) for s in ("nodes", CLUSTER))
    entries = [(s, n, e) for s, found in sections if isinstance(found, Mapping) for n, e in found.items()]
    for section, name, entry in entries:
        for key in ("password", "passphrase"):
            value = entry.get(key) if isinstance(entry, Mapping) else None
            if isinstance(value, str) and value and "${" not in value:
                open_to_all = raw.file.stat().st_mode & 0o044
                more = f", and others can read it: chmod 600 {raw.file.name}" if open_to_all else ""
                where = (section, name, key)
                problems.note(
                    raw.file, raw.line(*where), dotted(where), f"stands in the file; ${{VARIABLE}} keeps it out{more}"
                )
