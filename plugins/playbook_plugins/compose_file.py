"""What a compose file says, as far as this tool must know it before anything runs: services, order, ports, files.

Interpolation follows Compose: ``${V}``, ``$V``, ``${V:-x}``, ``${V-x}``, ``${V:+x}``, ``${V+x}``, ``${V:?e}``, ``$$``.
"""

from __future__ import annotations

import functools
import re
import shlex
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from attrs import evolve, field, frozen
from playbook_kernel.api import Condition, Problems

from playbook_plugins.text import Document, dotted

from .compose_extends import below, merged, moved
from .compose_lint import lint, near
from .text import is_file, load_document

_CONDITIONS: Mapping[str, Condition] = {
    "service_started": "started",
    "service_healthy": "healthy",
    "service_completed_successfully": "completed",
}
_VARIABLE = re.compile(
    r"\$(?:(?P<escaped>\$)|(?P<named>[A-Za-z_]\w*)"
    r"|\{(?P<braced>[A-Za-z_]\w*)(?:(?P<op>:?[-+?])(?P<word>(?:[^{}]|\{[^{}]*\})*))?\})"
)


@frozen
class Port:
    """A published port; ``published`` None: the engine picks one."""

    target: int
    published: int | None
    host_ip: str = ""
    protocol: str = "tcp"


@frozen
class ComposeService:
    """One service of a compose file. ``files`` are paths relative to the file that it needs beside it."""

    name: str
    line: int
    raw: Mapping[str, Any] = field(repr=False)
    depends_on: Mapping[str, Condition] = field(factory=dict)
    ports: tuple[Port, ...] = ()
    network_mode: str = ""
    has_healthcheck: bool = False
    image: str = ""
    command: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    environment: Mapping[str, str | None] = field(factory=dict)
    env_files: tuple[str, ...] = ()
    working_dir: str = ""
    files: tuple[str, ...] = ()
    profiles: tuple[str, ...] = ()
    replicas: int = 1

    def sources(self, section: str) -> list[str]:
        """The names of the ``configs`` or ``secrets`` that the service is given."""
        items = self.raw.get(section)
        named = (
            [i.get("source") if isinstance(i, Mapping) else i for i in items if i] if isinstance(items, list) else []
        )
        return [str(name) for name in named]


@frozen
class ComposeFile:
    """A compose file. ``document`` keeps the positions."""

    path: Path
    document: Document = field(repr=False)
    services: Mapping[str, ComposeService] = field(factory=dict)


def interpolated(text: str, env: Mapping[str, str]) -> tuple[str, list[str]]:
    """Replace variables as Compose does; returns the text and what went wrong.

    >>> interpolated("${A:-1} $B ${C+set} $$D", {"B": "2", "C": ""})
    ('1 2 set $D', [])
    """
    wrong: list[str] = []

    def replace(match: re.Match[str]) -> str:
        if match["escaped"]:
            return "$"
        name = match["named"] or match["braced"]
        operator, word = match["op"] or "", match["word"] or ""
        value = env.get(name)
        present = bool(value) if operator.startswith(":") else value is not None
        if operator.endswith("+"):
            return interpolated(word, env)[0] if present else ""
        if present or not operator:
            return value or ""
        if operator.endswith("?"):
            wrong.append(f"variable {name} must be set" + (f": {word}" if word else ""))
            return ""
        inner, more = interpolated(word, env)
        wrong.extend(more)
        return inner

    return _VARIABLE.sub(replace, text), wrong


def referenced(value: Any) -> set[str]:
    """The names of all variables in a value of any nesting that have no default."""
    if isinstance(value, str):
        return {
            m["named"] or m["braced"]
            for m in _VARIABLE.finditer(value)
            if not m["escaped"] and (m["op"] or "").lstrip(":") not in ("-", "+")
        }
    if isinstance(value, Mapping):
        return set().union(*(referenced(v) for v in value.values()), set())
    if isinstance(value, list):
        return set().union(*(referenced(v) for v in value), set())
    return set()


def load(path: Path, env: Mapping[str, str], problems: Problems) -> ComposeFile:
    """Read a compose file and those it includes. Problems carry file:line and key; what cannot be read is left out.

    A file that has not changed is read once, however many ask: every composer of every node looks at the same one.
    """
    try:
        stat = path.stat()
        stamp = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
    except OSError:
        stamp = (0, 0, 0)
    made, found = _read(path, stamp, frozenset(env.items()))
    for problem in found.items:
        problems.add(problem.file, problem.line, problem.key, problem.message, problem.hint)
    for warning in found.warnings:
        problems.warn(warning.file, warning.line, warning.key, warning.message, warning.hint)
    return made


@functools.lru_cache(maxsize=2048)  # those of a large folder of scenarios: the plan asks again for what was read
def _read(path: Path, stamp: tuple[int, ...], env: frozenset[tuple[str, str]]) -> tuple[ComposeFile, Problems]:
    found = Problems()
    return _load(path, dict(env), found, frozenset({path.resolve()})), found


def _load(path: Path, env: Mapping[str, str], problems: Problems, seen: frozenset[Path]) -> ComposeFile:
    document = load_document(path, problems, None)
    lint(document, problems)
    found = _included(document, env, problems, seen)
    services = document.data.get("services", {} if found else None)
    if not isinstance(services, Mapping):
        if "services" in document.data:
            problems.add(path, document.line("services"), "services", "must be a mapping of services")
        elif not problems.items:
            problems.add(path, 1, "", "there are no services in it")
        return ComposeFile(path, document, found)
    for name, raw in services.items():
        if not isinstance(raw, Mapping):
            problems.add(path, document.line("services", name), f"services.{name}", "must be a mapping")
            continue
        found[name] = _Service(document, name, env, problems, services).made()
    for name, service in found.items():
        for wanted in service.depends_on:
            if wanted not in found:
                problems.add(
                    path,
                    document.line("services", name, "depends_on", wanted),
                    f"services.{name}.depends_on",
                    f"there is no service {wanted!r} in this file",
                    near(wanted, found),
                )
    return ComposeFile(path, document, found)


def _included(
    document: Document, env: Mapping[str, str], problems: Problems, seen: frozenset[Path]
) -> dict[str, ComposeService]:
    """The services of the files that ``include`` names; their own files are told as seen from the including one."""
    found: dict[str, ComposeService] = {}
    entries = document.data.get("include")
    for number, entry in enumerate(entries if isinstance(entries, list) else []):
        paths = entry.get("path") if isinstance(entry, Mapping) else entry
        for name in paths if isinstance(paths, list) else [paths]:
            path = document.file.parent / str(name)
            if path.resolve() in seen or not is_file(path):
                why = "includes itself" if path.resolve() in seen else f"there is no file {name!r}"
                problems.add(document.file, document.line("include", number), f"include[{number}]", why)
                continue
            folder = PurePosixPath(str(name)).parent
            for service in _load(path, env, problems, seen | {path.resolve()}).services.values():
                found[service.name] = evolve(
                    service,
                    env_files=tuple(below(folder, f) for f in service.env_files),
                    files=tuple(sorted({str(name), *(below(folder, f) for f in service.files)})),
                )
    return found


class _Service:
    """Reads one service; every accessor notes its own problems."""

    def __init__(
        self, document: Document, name: str, env: Mapping[str, str], problems: Problems, siblings: Mapping[str, Any]
    ) -> None:
        self.document, self.name, self.problems = document, name, problems
        self.extended: list[str] = []
        raw = self._extended(siblings[name], siblings, {name})
        self.raw: Mapping[str, Any] = self._replaced(raw, env, ("services", name))

    def made(self) -> ComposeService:
        raw = self.raw
        healthcheck = raw.get("healthcheck")
        return ComposeService(
            self.name,
            self.document.line("services", self.name),
            raw,
            self._depends_on(),
            self._ports(),
            str(raw.get("network_mode") or ""),
            isinstance(healthcheck, Mapping) and not healthcheck.get("disable") and bool(healthcheck.get("test")),
            str(raw.get("image") or ""),
            self._words("command"),
            self._words("entrypoint"),
            self._environment(),
            tuple(self._env_files()),
            str(raw.get("working_dir") or ""),
            tuple(sorted(set(self._files()))),
            tuple(str(p) for p in self._list("profiles")),
            self._replicas(),
        )

    def _problem(self, key: str, message: str) -> None:
        path = ("services", self.name, key)
        self.problems.add(self.document.file, self.document.line(*path), dotted(path), message)

    def _extended(self, raw: Mapping[str, Any], siblings: Mapping[str, Any], seen: set[str]) -> Mapping[str, Any]:
        """Follow ``extends``, in this file and into others."""
        extends = raw.get("extends")
        if extends is None:
            return raw
        base, file = (extends, None) if isinstance(extends, str) else (extends.get("service"), extends.get("file"))
        rest = {k: v for k, v in raw.items() if k != "extends"}
        if file:
            return merged(self._of_other_file(str(file), str(base)), rest)
        if base in seen or not isinstance(siblings.get(base), Mapping):
            self._problem("extends", f"there is no other service {base!r} in this file")
            return rest
        return merged(self._extended(siblings[base], siblings, {*seen, base}), rest)

    def _of_other_file(self, file: str, name: str) -> Mapping[str, Any]:
        """A service of another file, its paths as seen from this one."""
        path = self.document.file.parent / file
        if not is_file(path):
            self._problem("extends", f"there is no file {file!r}")
            return {}
        other = load_document(path, self.problems, None)
        siblings = other.at("services")
        if not isinstance(siblings, Mapping) or not isinstance(siblings.get(name), Mapping):
            self._problem("extends", f"there is no service {name!r} in {file}")
            return {}
        self.extended.append(file)
        return moved(self._extended(siblings[name], siblings, {name}), PurePosixPath(file).parent)

    def _replaced(self, value: Any, env: Mapping[str, str], path: tuple[str | int, ...]) -> Any:
        if isinstance(value, str):
            text, wrong = interpolated(value, env)
            for message in wrong:
                self.problems.add(self.document.file, self.document.line(*path), dotted(path), message)
            return text
        if isinstance(value, dict):
            return {k: self._replaced(v, env, (*path, k)) for k, v in value.items()}
        if isinstance(value, list):
            return [self._replaced(v, env, (*path, n)) for n, v in enumerate(value)]
        return value

    def _list(self, key: str) -> list[Any]:
        value = self.raw.get(key)
        if value is None:
            return []
        if isinstance(value, list):
            return value
        self._problem(key, "must be a list")
        return []

    def _words(self, key: str) -> tuple[str, ...] | None:
        value = self.raw.get(key)
        if value is None:
            return None
        if isinstance(value, list):
            return tuple(str(v) for v in value)
        try:
            return tuple(shlex.split(str(value)))
        except ValueError as error:
            self._problem(key, f"cannot be split into words: {error}")
            return None

    def _depends_on(self) -> dict[str, Condition]:
        value = self.raw.get("depends_on")
        found: dict[str, Condition] = {}
        if isinstance(value, list):
            found = {str(v): "started" for v in value}
        elif isinstance(value, Mapping):
            for name, spec in value.items():
                condition = spec.get("condition", "service_started") if isinstance(spec, Mapping) else "service_started"
                if condition not in _CONDITIONS:
                    self._problem("depends_on", f"unknown condition {condition!r}")
                found[name] = _CONDITIONS.get(condition, "started")
        elif value is not None:
            self._problem("depends_on", "must be a list or a mapping")
        for key in ("network_mode", "pid", "ipc"):
            kind, _, name = str(self.raw.get(key) or "").partition(":")
            if kind == "service" and name:
                found.setdefault(name, "started")
        for item in self._list("volumes_from"):
            name = str(item).partition(":")[0]
            if name != "container":
                found.setdefault(name, "started")
        for item in self._list("links"):
            found.setdefault(str(item).partition(":")[0], "started")
        return found

    def _ports(self) -> tuple[Port, ...]:
        found: list[Port] = []
        for item in self._list("ports"):
            try:
                found += _port(item)
            except (ValueError, TypeError, KeyError):
                self._problem("ports", f"cannot be understood: {item!r}")
        return tuple(found)

    def _environment(self) -> dict[str, str | None]:
        value = self.raw.get("environment")
        if isinstance(value, Mapping):
            return {str(k): None if v is None else _text(v) for k, v in value.items()}
        found: dict[str, str | None] = {}
        for item in self._list("environment"):
            name, equals, text = str(item).partition("=")
            found[name] = text if equals else None
        return found

    def _env_files(self) -> list[str]:
        value = self.raw.get("env_file")
        items = value if isinstance(value, list) else [] if value is None else [value]
        return [str(i.get("path")) if isinstance(i, Mapping) else str(i) for i in items]

    def _files(self) -> list[str]:
        found = [*self.extended, *self._env_files()]
        for item in self._list("volumes"):
            if isinstance(item, Mapping):
                source = str(item.get("source") or "") if item.get("type") == "bind" else ""
            else:
                source = str(item).partition(":")[0] if ":" in str(item) else ""
            if source.startswith("."):
                found.append(source)
        for section in ("configs", "secrets"):
            for item in self._list(section):
                name = item.get("source") if isinstance(item, Mapping) else item
                file = self.document.at(section, str(name), "file")
                if file:
                    found.append(str(file))
        return [f for f in found if not PurePosixPath(f).is_absolute() and not f.startswith("~")]

    def _replicas(self) -> int:
        deploy = self.raw.get("deploy")
        value = deploy.get("replicas", 1) if isinstance(deploy, Mapping) else self.raw.get("scale", 1)
        return value if isinstance(value, int) and not isinstance(value, bool) else 1


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _port(item: Any) -> list[Port]:
    if isinstance(item, Mapping):
        published = item.get("published")
        return [
            Port(
                int(item["target"]),
                None if published in (None, "") else int(str(published)),
                str(item.get("host_ip") or ""),
                str(item.get("protocol") or "tcp"),
            )
        ]
    text, _, protocol = str(item).partition("/")
    head, _, target = text.rpartition(":")
    host_ip, _, published = head.rpartition(":")
    targets, publisheds = _range(target), _range(published) if published else []
    if publisheds and len(publisheds) != len(targets):
        raise ValueError(item)
    return [
        Port(t, publisheds[n] if publisheds else None, host_ip.strip("[]"), protocol or "tcp")
        for n, t in enumerate(targets)
    ]


def _range(text: str) -> list[int]:
    first, _, last = text.partition("-")
    low, high = int(first), int(last or first)
    if not 0 < low <= high <= 65535:
        raise ValueError(text)
    return list(range(low, high + 1))
