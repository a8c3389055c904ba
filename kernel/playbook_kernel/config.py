"""What is wrong with the user's files: all of it, each with its place; and where those files are. Knows no format and no key."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from attrs import define, field, frozen


@frozen
class Problem:
    """One thing that is wrong, as ``file:line: key: message (hint)``; line 0 and empty parts are left out."""

    file: str
    line: int
    key: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        text = ": ".join(part for part in (place, self.key, self.message) if part)
        return f"{text} ({self.hint})" if self.hint else text


@define
class Problems:
    """Where everything that reads configuration puts what it finds, so that the user sees it all at once."""

    items: list[Problem] = field(factory=list)
    warnings: list[Problem] = field(factory=list)
    notes: list[Problem] = field(factory=list)

    def add(self, file: object, line: int, key: str, message: str, hint: str = "") -> None:
        """Note something that must be mended."""
        self._note(self.items, Problem(str(file), line, key, message, hint))

    def warn(self, file: object, line: int, key: str, message: str, hint: str = "") -> None:
        """Note something that the user should know, and that stops nothing."""
        self._note(self.warnings, Problem(str(file), line, key, message, hint))

    def note(self, file: object, line: int, key: str, message: str) -> None:
        """Note something good to know, which only ``validate`` tells."""
        self._note(self.notes, Problem(str(file), line, key, message))

    @staticmethod
    def _note(into: list[Problem], problem: Problem) -> None:
        if problem not in into:
            into.append(problem)


@frozen
class Sources:
    """Where the user's files are, and what surrounds them. ``scenarios_dir`` None: the files say, or the default."""

    config_dir: Path
    results_dir: Path
    working_dir: Path
    scenarios_dir: Path | None = None
    environ: Mapping[str, str] = field(factory=dict, repr=False)
