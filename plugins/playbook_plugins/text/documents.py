"""A file becomes a tree in which every value knows its line. Bad input becomes problems, never a traceback.

YAML is read as YAML 1.1 (``yes`` and ``off`` are booleans) through composed nodes, so that duplicate keys are seen and
every value keeps its place; TOML has the same shape. Variables are replaced after parsing, in values only: an
unquoted one is resolved again afterwards (``port: ${PORT}`` is a number), a quoted one stays a text. While YAML is
parsed a variable is one word, also where its braces, or the blanks and colons of its default, would mean something:
``nodes: [${NODE:-n1}]``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import tomli
import yaml
from attrs import define, field
from playbook_kernel.api import Problems

from .interpolate import hide, interpolate, show
from .toml_lines import key_lines
from .tree import Document, Key, dotted

MAX_BYTES = 4 * 1024 * 1024
MAX_VALUES = 200_000
MAX_DEPTH = 40

_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INDENT = re.compile(r"^[ \t?:-]+", re.MULTILINE)
_RULES: Any = yaml.resolver.Resolver()
_TEXT = "tag:yaml.org,2002:str"


class _Loader(_Base):  # type: ignore[misc]
    """Finds a plain scalar's type once for each text: keys come again and again, and the rules are slow expressions."""

    _known: ClassVar[dict[str, str]] = {}

    def resolve(self, kind: type[yaml.Node], value: str | None, implicit: Any) -> str:
        if kind is not yaml.ScalarNode or value is None or not implicit[0] or len(value) > 64:
            return str(super().resolve(kind, value, implicit))
        tag = self._known.get(value)
        if tag is None:
            tag = str(super().resolve(kind, value, implicit))
            if len(self._known) < MAX_VALUES:
                self._known[value] = tag
        return tag

    def descend_resolver(self, current_node: Any, current_index: Any) -> None:
        """Nothing: no type depends on the place of a value."""

    def ascend_resolver(self) -> None:
        """Nothing, as above."""


@define
class _Build:
    """One pass over the composed nodes of one file."""

    file: Path
    problems: Problems
    expand: Callable[[str, tuple[Key, ...], int], str]
    lines: dict[tuple[Key, ...], int] = field(factory=dict)
    left: int = MAX_VALUES
    constructor: Any = field(factory=yaml.constructor.SafeConstructor)

    def value(self, node: yaml.Node, path: tuple[Key, ...]) -> Any:
        self.left -= 1
        if self.left < 0 or len(path) > MAX_DEPTH:
            raise _TooBig(node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            items = []
            for index, item in enumerate(node.value):
                self.lines[(*path, index)] = item.start_mark.line + 1
                items.append(self.value(item, (*path, index)))
            return items
        assert isinstance(node, yaml.ScalarNode)
        return self.scalar(node, path)

    def mapping(self, node: yaml.MappingNode, path: tuple[Key, ...]) -> dict[str, Any]:
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if key_node.tag == "tag:yaml.org,2002:merge":
                for source in value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]:
                    if isinstance(source, yaml.MappingNode):
                        merged = {**self.mapping(source, path), **merged}  # the first that has a key gives it
                    else:
                        self.problems.add(self.file, line, dotted(path), "`<<` wants a mapping")
                continue
            if not isinstance(key_node, yaml.ScalarNode):
                self.problems.add(self.file, line, dotted(path), "a key must be a plain text")
                continue
            key = show(key_node.value)
            if key in own:
                first = self.lines[(*path, key)]
                self.problems.add(self.file, line, dotted((*path, key)), f"this key was given before, in line {first}")
                continue
            self.lines[(*path, key)] = line
            own[key] = self.value(value_node, (*path, key))
        return {**merged, **own}

    def scalar(self, node: yaml.ScalarNode, path: tuple[Key, ...]) -> Any:
        line = node.start_mark.line + 1
        if "${" in (text := show(node.value)):
            text = self.expand(text, path, line)
            if node.style:  # plain scalars have none
                return text
            tag = _RULES.resolve(yaml.ScalarNode, text, (True, False))
            node = yaml.ScalarNode(tag, text, node.start_mark, node.end_mark)
        if node.tag == _TEXT:
            return node.value
        try:
            return self.constructor.construct_object(node, deep=True)
        except (yaml.YAMLError, ValueError, OverflowError):
            self.problems.add(self.file, line, dotted(path), f"cannot be read as {node.tag.rpartition(':')[2]}")
            return None


class _TooBig(Exception):
    def __init__(self, line: int) -> None:
        self.line = line


def load_document(
    path: Path,
    problems: Problems,
    environ: Mapping[str, str] | None,
    *,
    unset: Callable[[tuple[Key, ...], str], str | None] | None = None,
) -> Document:
    """Read a YAML or TOML file; what is wrong with it goes to ``problems``, and an empty document comes back.

    ``environ`` None: variables stay as they are written. ``unset`` is asked about a variable that has no value and no
    default: a text makes it a warning, None a problem.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        problems.add(path, 0, "", f"cannot be read: {error.strerror}")
        return Document(path)
    if len(raw) > MAX_BYTES:
        problems.add(path, 0, "", f"is larger than {MAX_BYTES // 1024 // 1024} MiB")
        return Document(path)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        problems.add(path, raw[: error.start].count(b"\n") + 1, "", "is not UTF-8 text")
        return Document(path)

    def expand(value: str, where: tuple[Key, ...], line: int) -> str:
        def missing(name: str) -> None:
            warning = unset(where, name) if unset else None
            if warning is None:
                problems.add(
                    path, line, dotted(where), f"variable {name} is not set",
                    f"set it, or give a default: ${{{name}:-...}}",
                )  # fmt: skip
            else:
                problems.warn(path, line, dotted(where), warning)

        return value if environ is None else interpolate(value, environ, missing)

    if path.suffix == ".toml":
        return _read_toml(path, text, problems, expand)
    return _read_yaml(path, text if environ is None else hide(text), problems, expand)


def _read_yaml(
    path: Path, text: str, problems: Problems, expand: Callable[[str, tuple[Key, ...], int], str]
) -> Document:
    try:
        if excess := _excess(text):
            problems.add(path, excess[0], "", excess[1])
            return Document(path)
        root = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 0
        what = " ".join(part for part in (error.context, error.problem) if part)
        hint = "indent with spaces, not tabs" if _has_tab(text, line) else ""
        deep = "maximum nesting depth" in what  # newer parsers have a limit of their own
        problems.add(path, line, "", "is nested too deeply" if deep else f"is not valid YAML: {what}", hint)
        return Document(path)
    except yaml.reader.ReaderError as error:
        line = text.encode()[: error.position].count(b"\n") + 1
        problems.add(path, line, "", f"is not valid YAML: {error.reason}")
        return Document(path)
    except (yaml.YAMLError, ValueError) as error:
        problems.add(path, 0, "", f"is not valid YAML: {error}")
        return Document(path)
    except RecursionError:
        problems.add(path, 0, "", "is nested too deeply")
        return Document(path)
    if root is None or (isinstance(root, yaml.ScalarNode) and root.tag == "tag:yaml.org,2002:null"):
        return Document(path)
    if not isinstance(root, yaml.MappingNode):
        problems.add(path, root.start_mark.line + 1, "", "must be a mapping of keys to values")
        return Document(path)
    build = _Build(path, problems, expand)
    try:
        data = build.mapping(root, ())
    except (_TooBig, RecursionError) as error:
        line = error.line if isinstance(error, _TooBig) else 0
        problems.add(path, line, "", "grows too big or too deep when its aliases are followed")
        return Document(path)
    return Document(path, data, build.lines)


def _excess(text: str) -> tuple[int, str] | None:
    """Where a text holds more than it may, before it is composed: the C composer overruns its stack when it is deep."""
    if _is_small(text):
        return None
    depth = values = 0
    events: Iterator[Any] = yaml.parse(text, Loader=_Loader)
    for event in events:
        if isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.NodeEvent):
            values += 1
            mark: Any = event.start_mark
            depth += isinstance(event, yaml.CollectionStartEvent)
            if depth > MAX_DEPTH:
                return mark.line + 1, "is nested too deeply"
            if values > 2 * MAX_VALUES:  # a key and its value
                return mark.line + 1, "holds too many values"
    return None


def _is_small(text: str) -> bool:
    """Whether a text cannot hold too much, seen without parsing it; of files that people write, most cannot.

    Every level of nesting costs a bracket, or a column of indentation (and a list may start in its parent's column).
    """
    brackets = text.count("[") + text.count("{")
    widest = max((len(m[0]) for m in _INDENT.finditer(text)), default=0)
    return len(text) <= MAX_VALUES and brackets + 2 * widest + 2 <= MAX_DEPTH


def _has_tab(text: str, line: int) -> bool:
    rows = text.splitlines()
    return any("\t" in row[: len(row) - len(row.lstrip())] for row in rows[max(0, line - 2) : line + 1])


def _read_toml(
    path: Path, text: str, problems: Problems, expand: Callable[[str, tuple[Key, ...], int], str]
) -> Document:
    try:
        data = tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        problems.add(path, error.lineno, "", f"is not valid TOML: {error.msg}")
        return Document(path)
    except RecursionError:
        problems.add(path, 0, "", "is nested too deeply")
        return Document(path)
    document = Document(path, data, key_lines(text))

    def walk(value: Any, where: tuple[Key, ...]) -> Any:
        if len(where) > MAX_DEPTH:
            raise _TooBig(document.line(*where))
        if isinstance(value, dict):
            return {k: walk(v, (*where, k)) for k, v in value.items()}
        if isinstance(value, list):
            return [walk(v, (*where, n)) for n, v in enumerate(value)]
        if isinstance(value, str) and "${" in value:
            return expand(value, where, document.line(*where))
        return value

    try:
        return Document(path, walk(data, ()), document.lines)
    except _TooBig as error:
        problems.add(path, error.line, "", "is nested too deeply")
        return Document(path)
