"""Which folders are scenarios, and in what order they run."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from attrs import evolve, frozen
from playbook_kernel.api import Document, Problems, Scenario, dotted

from .vocabulary import Execution, Filters, OrderEntry

COMPOSE_NAMES = ("docker-compose.yml", "docker-compose.yaml")
ENV_NAMES = (".env", "env", "environment.env")
TEST_CONFIG_NAMES = ("test_config.json", "test_config.yaml", "config.json")
_NUMBER = re.compile(r"\d+")


@frozen
class Folder:
    """A scenario's folder, and what the order file says of it."""

    path: Path
    name: str
    enabled: bool = True
    description: str = ""


def first(folder: Path, names: Iterable[str]) -> Path | None:
    """The first of the names that exists in a folder."""
    return next((folder / n for n in names if (folder / n).is_file()), None)


def is_scenario(folder: Path) -> bool:
    """Whether a folder holds a compose file or manifests."""
    return first(folder, COMPOSE_NAMES) is not None or (folder / "manifests").is_dir()


def found_in(root: Path) -> list[Folder]:
    """Every scenario below a root, by leading number, then name; folders without a number come last."""
    if not root.is_dir():
        return []

    def rank(path: Path) -> tuple[int, str]:
        number = _NUMBER.match(path.name)
        return (int(number[0]) if number else 999_999, path.name)

    return [Folder(p, p.name) for p in sorted((p for p in root.iterdir() if p.is_dir()), key=rank) if is_scenario(p)]


def ordered(root: Path, execution: Execution, document: Document, problems: Problems) -> list[Folder]:
    """The folders in the order that the scenarios file asks for."""
    if execution.execution_mode != "custom":
        return found_in(root)
    if not execution.custom_order:
        problems.add(
            document.file, document.line("execution"), "execution.custom_order", "must name scenarios in mode custom"
        )
    chosen = []
    for index, raw in enumerate(execution.custom_order):
        where = ("execution", "custom_order", index)
        if isinstance(raw, str):
            entry: OrderEntry | None = OrderEntry(raw)
        elif isinstance(raw, Mapping):
            entry = document.structure(OrderEntry, problems, where, raw)
        else:
            problems.add(document.file, document.line(*where), dotted(where), "expected a folder's name or a mapping")
            continue
        if entry is None:
            continue
        path = root / entry.directory
        if not path.resolve().is_relative_to(root.resolve()):
            problems.add(
                document.file, document.line(*where), dotted(where), f"{entry.directory!r} leads out of {root}"
            )
        elif not is_scenario(path):
            problems.add(
                document.file,
                document.line(*where),
                dotted(where),
                f"{entry.directory!r} is not a scenario: no {COMPOSE_NAMES[0]} in {path}",
            )
        else:
            chosen.append(Folder(path, entry.name or path.name, entry.enabled, entry.description))
    names = [f.name for f in chosen]
    for name in sorted({n for n in names if names.count(n) > 1}):
        problems.add(
            document.file, document.line("execution", "custom_order"), "execution.custom_order", f"{name!r} comes twice"
        )
    return chosen


def filtered(scenarios: Sequence[Scenario], filters: Filters, document: Document, problems: Problems) -> list[Scenario]:
    """Mark what the filters leave out; a scenario without tags passes the tag tests."""
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
            lambda s: bool(filters.include_tags and s.tags) and not set(s.tags) & set(filters.include_tags),
            "no tag of include_tags",
        ),
        (lambda s: bool(set(s.tags) & set(filters.exclude_tags)), "a tag of exclude_tags"),
    ]
    return [evolve(s, skip=next((why for leaves_out, why in tests if leaves_out(s)), s.skip)) for s in scenarios]


def by_dependency(scenarios: Sequence[Scenario], problems: Problems) -> list[Scenario]:
    """Move scenarios behind those they depend on, and otherwise keep the order."""
    by_name = {s.name: s for s in scenarios}
    done: dict[str, Scenario] = {}

    def visit(scenario: Scenario, trail: tuple[str, ...]) -> None:
        if scenario.name in done:
            return
        if scenario.name in trail:
            circle = " -> ".join((*trail[trail.index(scenario.name) :], scenario.name))
            problems.add(scenario.directory, 0, "dependencies", f"scenarios wait for one another: {circle}")
            return
        for name in scenario.depends_on:
            if name not in by_name:
                problems.add(scenario.directory, 0, "dependencies", f"no scenario is called {name!r}")
            else:
                visit(by_name[name], (*trail, scenario.name))
        done.setdefault(scenario.name, scenario)

    for scenario in scenarios:
        visit(scenario, ())
    return list(done.values())
