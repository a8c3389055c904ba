"""What a scenario is read from: its own file, and the layers below it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from attrs import field, frozen
from playbook_kernel.api import Node, Problems

from playbook_plugins.text import Document, Key, dotted, load_document

from .folders import METADATA_NAMES, Folder, first
from .metadata import MetadataFile
from .salvage import salvage
from .vocabulary import Concurrency, DefaultsFile, ScenariosFile

T = TypeVar("T")


@frozen
class Layers:
    """What stands below a scenario's own metadata."""

    scenarios: ScenariosFile
    defaults: DefaultsFile
    environ: Mapping[str, str] = field(repr=False)
    nodes: Mapping[str, Node]
    scenarios_doc: Document = field(repr=False)
    defaults_doc: Document = field(repr=False)
    nodes_doc: Document | None = field(default=None, repr=False)

    def is_unreadable(self, node: str) -> bool:
        """Whether a node is not known because its file, or its entry there, has problems of its own."""
        return self.nodes_doc is not None and (not self.nodes or self.nodes_doc.at("nodes", node) is not None)


def pick(*values: T | None) -> T | None:
    """The first value that is given."""
    return next((v for v in values if v is not None), None)


def said(layers: Sequence[Concurrency], key: str) -> Any:
    """What the first layer that says anything of ``key`` says."""
    return pick(*(getattr(layer, key) for layer in layers))


def metadata_file(directory: Path) -> Path:
    """The metadata file of a scenario; where it would be if there is none."""
    return first(directory, METADATA_NAMES) or directory / METADATA_NAMES[1]


class Ground:
    """The file of one scenario, its layers, and where to tell what is wrong with it.

    ``doubt``: which parts of it are wrong themselves, so that nothing which follows from that is told.
    """

    def __init__(self, folder: Folder, layers: Layers, problems: Problems) -> None:
        self.folder, self.layers, self.problems = folder, layers, problems
        self.directory = folder.path
        self.file = metadata_file(self.directory)
        present = [n for n in METADATA_NAMES if (self.directory / n).is_file()]
        if len(present) > 1 and self.file.suffix != ".toml" and METADATA_NAMES[2] in present:
            problems.add(
                self.directory / METADATA_NAMES[2], 0, "", f"{self.file.name} is there too", "keep one of them"
            )
        elif len(present) > 1:
            problems.warn(self.directory / present[1], 0, "", f"is not read: {self.file.name} is there too")
        self.document = load_document(self.file, problems, layers.environ) if present else Document(self.file)
        if present and not self.document.data and not problems.items:
            hint = "say at least `name:`, or remove the file"
            problems.add(self.file, 0, "", "is empty", hint)
        metadata, self.doubt = salvage(self.document, MetadataFile, problems)
        self.metadata = metadata or MetadataFile()

    def wrong(self, path: tuple[Key, ...], message: str, hint: str = "") -> None:
        """Note what is wrong at ``path`` of the scenario's own file."""
        self.problems.add(self.file, self.document.line(*path), dotted(path), message, hint)

    def lacks(self, needs: Sequence[tuple[Key, ...]], path: tuple[Key, ...], message: str, hint: str = "") -> None:
        """Note that something is missing at ``path``, unless one of its ``needs`` stands there, and is wrong itself."""
        if not self.doubt.about(*needs):
            self.wrong(path, message, hint)

    def is_node(self, name: str, path: tuple[Key, ...], *more: str) -> bool:
        """Whether a node can be used; a node of which something else is wrong is not said to be missing, too."""
        node = self.layers.nodes.get(name)
        if node is None and not self.layers.is_unreadable(name):
            known = list(dict.fromkeys([*more, *self.layers.nodes]))
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known nodes: {', '.join(known) or 'none'}"
            if name == "local":  # it is there by itself only where there is no nodes file
                hint += (
                    "; this machine: `local: {host: localhost, transport: local, composer: process}` in the nodes file"
                )
            self.wrong(path, f"there is no node {name!r}", hint)
        elif node is not None and not node.enabled:
            self.wrong(path, f"node {name!r} is disabled")
        return node is not None
