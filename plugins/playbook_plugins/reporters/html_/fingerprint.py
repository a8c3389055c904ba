"""What ran where: the tool and its plugins, each node, and what its engines were made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from playbook_kernel.api import CampaignResult

from playbook_plugins.reporters.words import size
from playbook_plugins.stats.fingerprints import engines, images, nodes, provenance, scenario_state

from .markup import Html, Table, el

_NAMES = {
    "os": "operating system", "kernel": "kernel", "arch": "architecture", "cpus": "CPUs", "memory_kib": "memory",
    "disk_kib": "disk", "docker": "Docker engine", "composer": "composer", "clock_offset": "clock offset (s)",
}  # fmt: skip


def fingerprint(result: CampaignResult, source: Path) -> Html:
    """The section; a fact that changed during the campaign is shown with all its values."""
    found = nodes(result)
    parts: list[Html] = []
    if found:
        keys = sorted({k for facts in found.values() for k in facts}, key=_rank)
        rows = [[_NAMES.get(k, k), *(_all(k, facts.get(k, ())) for facts in found.values())] for k in keys]
        parts.append(Table("Nodes", ["fact", *found], rows).html())
    if pictures := images(result, source):
        rows = [[i.service, i.node, i.image, el("code", i.digest)] for i in pictures]
        parts.append(Table("Images", ["service", "node", "image", "digest"], rows).html())
    if more := engines(result, source):
        rows = [[name, el("pre", text) if "\n" in text else text] for name, text in more.items()]
        parts.append(Table("Engines and topology", ["what", "found"], rows).html())
    tool = [["tool", result.tool], *([k, v] for k, v in provenance(result, source).items())]
    tool += [[f"plugin {name}", version or "built in"] for name, version in sorted(result.plugins.items())]
    parts.append(Table("Tool and plugins", ["what", "version"], tool).html())
    state = [
        [k.removesuffix(": folder"), el("code", v[:16])]
        for k, v in scenario_state(result, source, only="folder").items()
    ]
    if state:
        parts.append(Table("Files of each scenario", ["scenario", "SHA-256 of its folder"], state).html())
    return el("section", el("h2", "What ran where"), parts, id="fingerprint", aria_label="What ran where")


def _rank(key: str) -> tuple[int, str]:
    return (list(_NAMES).index(key) if key in _NAMES else len(_NAMES), key)


def _all(key: str, values: Iterable[Any]) -> str:
    return " → ".join(_said(key, v) for v in values)


def _said(key: str, value: Any) -> str:
    if key.endswith("_kib") and isinstance(value, int):
        return size(value * 1024)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return "; ".join(_said("", v) for v in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{v}" if k in ("name", "kind") else f"{k} {v}" for k, v in value.items())
    return str(value)
