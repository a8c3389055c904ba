"""Entry points, read from the folders beside the packages: importlib.metadata takes as long to import as all else of --help."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any, NamedTuple


class Point(NamedTuple):
    """What a distribution, its name spelt as the index does, offers: ``value`` is ``module:attribute``."""

    name: str
    value: str
    distribution: str

    @property
    def module(self) -> str:
        """The module to import."""
        return self.value.partition(":")[0].strip()

    def load(self) -> Any:
        """Import it."""
        found: Any = importlib.import_module(self.module)
        for attribute in filter(None, self.value.partition("[")[0].partition(":")[2].strip().split(".")):
            found = getattr(found, attribute)
        return found


def normal(name: str) -> str:
    """A distribution's name as the index spells it."""
    return name.replace("_", "-").replace(".", "-").lower()


def points(group: str) -> list[Point]:
    """Every entry point of a group, as far as ``sys.path`` leads; of two versions the first counts."""
    found: dict[str, list[Point]] = {}
    for place in sys.path:
        try:
            entries = os.listdir(place or ".")  # noqa: PTH208 - pathlib would be one more import of --help
        except NotADirectoryError:
            return _in_archives(group)
        except OSError:
            continue
        for entry in entries:
            stem, extension = os.path.splitext(entry)  # noqa: PTH122
            name = normal(stem.partition("-")[0])
            if extension in (".dist-info", ".egg-info") and name not in found:
                lines = _lines(os.path.join(place, entry, "entry_points.txt"), group)  # noqa: PTH118
                found[name] = [Point(*line, name) for line in lines]
    return [point for of in found.values() for point in of]


def _lines(path: str, group: str) -> list[tuple[str, str]]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:  # noqa: PTH123
            text = file.read()
    except OSError:
        return []
    section, found = "", []
    for line in map(str.strip, text.splitlines() if group in text else ()):
        if line.startswith("["):
            section = line.strip("[]")
        elif section == group and "=" in line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found.append((name.strip(), value.strip()))
    return found


def _in_archives(group: str) -> list[Point]:
    """The same where only the library knows the way."""
    from importlib.metadata import entry_points

    return [Point(p.name, p.value, normal(p.dist.name)) for p in entry_points(group=group) if p.dist is not None]
