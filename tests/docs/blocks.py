"""The commands of the documents: fenced blocks marked ``console``, with a comment above that says where they run.

``<!-- run: project -->``: in a folder that this document's blocks share, empty at first; a block below ``<!-- file: PATH -->`` is
written there when its turn comes. ``lab``: in a folder with a campaign
over the lab's nodes. ``clone-lab``: at the root of the repository, in a lab of the document's own. ``make``: by
the Makefile's own tests. ``elsewhere``: by the test that is named after it.
"""

from __future__ import annotations

import re
from pathlib import Path

from attrs import field, frozen

ROOT = Path(__file__).resolve().parents[2]
_BLOCK = re.compile(
    r"(?:<!-- run: (?P<where>[a-z-]+)(?: (?P<test>\S+))? -->\n)?```console\n(?P<body>.*?)```", re.DOTALL
)


@frozen
class Step:
    """A command, and what the document says it prints."""

    command: str
    output: tuple[str, ...]
    line: int


@frozen
class Block:
    """One fenced block."""

    path: Path
    where: str
    steps: tuple[Step, ...]
    test: str = ""

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.steps[0].line if self.steps else 0}"


@frozen
class Book:
    """A document."""

    path: Path
    blocks: tuple[Block, ...] = field(factory=tuple)


def documents() -> list[Path]:
    """Every document of the project."""
    return sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def blocks(path: Path) -> list[Block]:
    """The console blocks of a document."""
    text = path.read_text(encoding="utf-8")
    found = []
    for match in _BLOCK.finditer(text):
        line = text.count("\n", 0, match.start("body")) + 1
        found.append(Block(path, match["where"] or "", tuple(_steps(match["body"], line)), match["test"] or ""))
    return found


_FILE = re.compile(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", re.DOTALL)


def script(path: Path, where: str) -> list[tuple[str, str] | Block]:
    """The files (name and text) and the blocks of one place of a document, in order."""
    text = path.read_text(encoding="utf-8")
    found: list[tuple[int, tuple[str, str] | Block]] = [
        (text.count("\n", 0, m.start()) + 1, (m[1], m[2])) for m in _FILE.finditer(text)
    ]
    found += [(b.steps[0].line, b) for b in blocks(path) if b.where == where]
    return [step for _, step in sorted(found, key=lambda pair: pair[0])]


def write(file: tuple[str, str], folder: Path) -> None:
    """Write a file of a document."""
    place = folder / file[0]
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(file[1], encoding="utf-8")


def _steps(body: str, first: int) -> list[Step]:
    steps: list[tuple[str, list[str], int]] = []
    for number, line in enumerate(body.splitlines(), first):
        if line.startswith("$ "):
            steps.append((line[2:], [], number))
        elif steps and steps[-1][0].endswith("\\"):
            command, output, at = steps.pop()
            steps.append((command[:-1] + line.strip(), output, at))
        elif steps:
            steps[-1][1].append(line)
    return [Step(command, tuple(output), at) for command, output, at in steps]


def shape(line: str) -> str:
    """A line without its numbers and spacing, which differ from run to run.

    >>> shape("deploy ok   12.5 s")
    'deploy ok 0.0 s'
    """
    return " ".join(re.sub(r"\d+", "0", line).split())


def missing(step: Step, printed: str) -> list[str]:
    """Lines that the document shows and that were not printed, in that order; ``...`` stands for anything."""
    left = [shape(line) for line in printed.splitlines()]
    lost = []
    for line in step.output:
        wanted = shape(line)
        if wanted in ("", "..."):
            continue
        if wanted in left:
            left = left[left.index(wanted) + 1 :]
        else:
            lost.append(line)
    return lost
