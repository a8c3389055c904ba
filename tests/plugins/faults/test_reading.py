"""``faults`` of a metadata file: what is understood, and what is told with its place."""

from __future__ import annotations

from typing import Any

import pytest
from playbook_kernel.api import FaultPlan, Problems
from playbook_plugins.readers.faults import plans
from playbook_plugins.text import Document, load_document


def read(tmp_path: Any, *entries: str) -> tuple[tuple[FaultPlan, ...], list[str]]:
    path = tmp_path / "metadata.yaml"
    path.write_text("name: x\nfaults:\n" + "".join(f"  - {e}\n" for e in entries))
    problems = Problems()
    document: Document = load_document(path, problems, {})
    found = plans(document.data["faults"], document, problems)
    return found, [str(p).removeprefix(f"{path}:") for p in problems.items]


@pytest.mark.parametrize(
    "entry, expected",
    [
        ("{type: kill, service: a, at: 30s}", {"at": 30.0}),
        ("{type: kill, service: a, at: 0, for: 1.5}", {"at": 0.0, "lasts": 1.5}),
        ("{type: kill, service: a, at: 2min, for: 200 ms}", {"at": 120.0, "lasts": 0.2}),
        ("{type: kill, service: a, at: 200 requests}", {"requests": 200}),
        ("{type: kill, service: a, at: 1 request}", {"requests": 1}),
        ("{type: kill, service: a, at: 12.5%}", {"share": 0.125}),
    ],
)
def test_moments(tmp_path: Any, entry: str, expected: dict[str, Any]) -> None:
    [plan], problems = read(tmp_path, entry)
    assert problems == []
    assert (plan.fault.use, plan.fault.options) == ("kill", {"service": "a"})
    assert plan.fault.origin.startswith(f"{tmp_path}/metadata.yaml:3")
    assert {k: getattr(plan, k) for k in ("at", "requests", "share", "lasts")} == {
        "at": None, "requests": None, "share": None, "lasts": None, **expected,
    }  # fmt: skip


def test_everything_wrong_is_told_at_once_with_its_line(tmp_path: Any) -> None:
    found, problems = read(
        tmp_path,
        "{service: a, at: 1s}",
        "{type: kill}",
        "{type: kill, at: soon, for: -1}",
        "{type: kill, at: 100%}",
        "{type: kill, at: true, for: 0}",
    )
    assert found == ()
    assert [(p.split(":")[0], p.split(": ")[1]) for p in problems] == [
        ("3", "faults[0]"), ("4", "faults[1]"), ("5", "faults[2].at"), ("5", "faults[2].for"), ("6", "faults[3].at"),
        ("7", "faults[4].at"), ("7", "faults[4].for"),
    ]  # fmt: skip
