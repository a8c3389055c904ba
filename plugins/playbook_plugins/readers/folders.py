"""Which folders are scenarios, and in what order they run."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from attrs import evolve, frozen
from playbook_kernel.api import Problems, Scenario

from playbook_plugins.text import Document, Key, dotted, is_dir, load_document

from .salvage import salvage
from .vocabulary import Execution, Filters, OrderEntry

COMPOSE_NAMES = ("docker-compose.yml", "docker-compose.yaml")
ENV_NAMES = (".env", "env", "environment.env")
METADATA_NAMES = ("metadata.yml", "metadata.yaml", "metadata.toml")
TEST_CONFIG_NAMES = ("test_config.json", "test_config.yaml", "config.json")
_NUMBER = re.compile(r"\d+")


@frozen
class Folder:
    """A scenario's folder, and what the scenarios file says of it: in ``entry``, if that is a mapping."""

    path: Path
    name: str
    enabled: bool = True
    description: str = ""
    entry: tuple[Key, ...] = ()


def first(folder: Path, names: Iterable[str]) -> Path | None:
    """The first of the names that exists in a folder."""
    return next((folder / n for n in names if os.path.isfile(f"{folder}/{n}")), None)  # noqa: PTH113 - asked of every folder


def is_scenario(folder: Path) -> bool:
    """Whether a folder holds a compose file or manifests."""
    return first(folder, COMPOSE_NAMES) is not None or (folder / "manifests").is_dir()


def _places_services(folder: Path) -> bool:
    """Whether metadata say what runs where: then a compose file that is missing is a mistake, and not another kind of folder."""
    file = first(folder, METADATA_NAMES)
    said = load_document(file, Problems(), None) if file else None
    return said is not None and bool(said.at("services") or said.at("deployment", "services"))


def rename(folder: Path) -> str:
    """A hint, where a compose file has a name that is not looked for."""
    other = next((p for p in sorted(folder.glob("*compose*.y*ml")) if p.is_file()), None)
    return f"rename {other.name}: only {' and '.join(COMPOSE_NAMES)} are looked for" if other else ""


def found_in(root: Path, problems: Problems) -> list[Folder]:
    """Every scenario below a root, by leading number, then name; folders without a number come last.

    A folder that is none, but has metadata or a compose file of another name, is warned about.
    """
    if not is_dir(root):
        return []

    def rank(path: Path) -> tuple[int, str]:
        number = _NUMBER.match(path.name)
        return (int(number[0]) if number else 999_999, path.name)

    chosen = []
    for path in sorted((p for p in root.iterdir() if p.is_dir()), key=rank):
        if is_scenario(path) or _places_services(path):
            chosen.append(Folder(path, path.name))
        else:
            hint = rename(path)
            if hint or first(path, METADATA_NAMES):
                problems.warn(path, 0, "", f"is no scenario: there is no {COMPOSE_NAMES[0]} in it", hint)
    return chosen


def ordered(root: Path, execution: Execution, document: Document, problems: Problems) -> list[Folder]:
    """The folders in the order that the scenarios file asks for."""
    if execution.execution_mode != "custom":
        return found_in(root, problems)

    def wrong(where: tuple[Key, ...], message: str) -> None:
        problems.add(document.file, document.line(*where), dotted(where), message)

    if not execution.custom_order and not document.at("execution", "custom_order"):
        wrong(("execution", "custom_order"), "must name scenarios in mode custom")
    chosen = []
    for index, raw in enumerate(execution.custom_order):
        where = ("execution", "custom_order", index)
        if not isinstance(raw, (str, Mapping)):
            wrong(where, "expected a folder's name or a mapping")
            continue
        plain = isinstance(raw, str)
        entry = OrderEntry(raw) if isinstance(raw, str) else salvage(document, OrderEntry, problems, where, raw)[0]
        if entry is None:
            continue
        directory = entry.directory or entry.name
        if not directory:
            wrong(where, "directory: required key is missing")
            continue
        path = root / directory
        if not path.resolve().is_relative_to(root.resolve()):
            wrong(where, f"{directory!r} leads out of {root}")
        elif is_scenario(path):
            place = () if plain else where
            chosen.append(Folder(path, entry.name or path.name, entry.enabled, entry.description, place))
        elif entry.enabled:
            wrong(where, f"{directory!r} is not a scenario: no {COMPOSE_NAMES[0]} in {path}")
        else:
            problems.warn(document.file, document.line(*where), dotted(where), f"there is no scenario {directory!r}")
    names = [f.name for f in chosen]
    for name in sorted({n for n in names if names.count(n) > 1}):
        wrong(("execution", "custom_order"), f"{name!r} comes twice")
    return chosen


def filtered(scenarios: Sequence[Scenario], filters: Filters, document: Document, problems: Problems) -> list[Scenario]:
    """Mark what the filters leave out; a scenario without a metadata file passes the tag tests."""
    names = {s.name for s in scenarios}
    for key in ("only_scenarios", "skip_scenarios"):
        for index, name in enumerate(getattr(filters, key)):
            if name not in names:
                problems.warn(
                    document.file,
                    document.line("filters", key, index),
                    f"filters.{key}",
                    f"no scenario is called {name!r}",
                )
    tests: list[tuple[Callable[[Scenario], bool], str]] = [
        (lambda s: bool(filters.only_scenarios) and s.name not in filters.only_scenarios, "not in only_scenarios"),
        (lambda s: s.name in filters.skip_scenarios, "in skip_scenarios"),
        (
            lambda s: (
                bool(filters.include_tags)
                and not set(s.tags) & set(filters.include_tags)
                and first(s.directory, METADATA_NAMES) is not None
            ),
            "no tag of include_tags",
        ),
        (lambda s: bool(set(s.tags) & set(filters.exclude_tags)), "a tag of exclude_tags"),
    ]
    return [evolve(s, skip=next((why for leaves_out, why in tests if leaves_out(s)), s.skip)) for s in scenarios]


def by_dependency(
    scenarios: Sequence[Scenario], documents: Mapping[str, Document], problems: Problems
) -> list[Scenario]:
    """Move scenarios behind those they depend on, and otherwise keep the order."""
    by_name = {s.name: s for s in scenarios}
    done: dict[str, Scenario] = {}

    def wrong(scenario: Scenario, index: int, message: str, hint: str = "") -> None:
        document, where = documents[scenario.name], ("dependencies", index)
        problems.add(document.file, document.line(*where), dotted(where), message, hint)

    def visit(scenario: Scenario, trail: tuple[str, ...]) -> None:
        if scenario.name in done:
            return
        for index, name in enumerate(scenario.depends_on):
            if name not in by_name:
                near = difflib.get_close_matches(name, by_name, n=1)
                hint = f"did you mean {near[0]!r}?" if near else ""
                wrong(scenario, index, f"no scenario is called {name!r}", hint)
            elif name in (*trail, scenario.name):
                circle = " -> ".join((*(*trail, scenario.name)[(*trail, scenario.name).index(name) :], name))
                wrong(scenario, index, f"scenarios wait for one another: {circle}")
            else:
                visit(by_name[name], (*trail, scenario.name))
        done.setdefault(scenario.name, scenario)

    for scenario in scenarios:
        visit(scenario, ())
    return list(done.values())
