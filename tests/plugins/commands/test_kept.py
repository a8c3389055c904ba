"""What fits a node's engine is found out once, kept for later runs, and forgotten when anything it depends on changes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from attrs import evolve
from playbook_kernel.api import DriverRef, Node
from playbook_kernel.testing import FakeSession, check_driver
from playbook_plugins.commands import checks
from playbook_plugins.composers.v2 import ComposeV2
from playbook_plugins.discovery import TOOLS, parse
from playbook_plugins.kept import Kept, cache_folder

NODE = Node("n1", DriverRef("ssh"), host="10.0.0.1", composer="v2")
FACTS = {"docker": "27.1", "hostname": "n1", "kernel": "Linux 6", "user": "ops", TOOLS: ["/usr/bin/docker 1 2 3"]}


class Asked(ComposeV2):
    """Counts how often it is asked."""

    times = 0
    answer: str | None = None

    def fit(self, session: Any) -> str | None:
        Asked.times += 1
        return self.answer


@pytest.fixture(autouse=True)
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(Asked, "times", 0)
    monkeypatch.setattr(Asked, "answer", None)


def asked(node: Node = NODE, facts: Mapping[str, Any] = FACTS) -> str:
    """The verdict, as another process would find it."""
    checks._fitted._found = None
    ctx: Any = SimpleNamespace(build=lambda kind, ref: check_driver(Asked))
    return checks._engine(ctx, node, FakeSession(node=node), facts).status


def test_the_same_engine_is_asked_once() -> None:
    assert [asked(), asked(), asked()] == ["healthy"] * 3
    assert Asked.times == 1


@pytest.mark.parametrize(
    "changed",
    [
        {"docker": "27.2"},
        {TOOLS: ["/usr/bin/docker 1 3 3"]},
        {"user": "root"},
        {"hostname": "n2"},
        {"kernel": "Linux 7"},
    ],
)
def test_whatever_changes_it_is_asked_again(changed: Mapping[str, Any]) -> None:
    asked()
    asked(facts={**FACTS, **changed})
    assert Asked.times == 2


def test_another_node_composer_or_code_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked()
    asked(evolve(NODE, name="n2"))
    asked(evolve(NODE, host="10.0.0.2"))
    asked(evolve(NODE, composer="v1"))
    monkeypatch.setattr(checks, "_code", lambda driver: ["changed"])
    asked()
    monkeypatch.setattr(checks, "version_of", lambda name: "99")
    asked()
    assert Asked.times == 6


def test_what_does_not_fit_is_never_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Asked, "answer", "no docker compose")
    assert [asked(), asked()] == ["unhealthy"] * 2
    monkeypatch.setattr(Asked, "answer", None)
    assert asked() == "healthy"
    assert Asked.times == 3


@pytest.mark.parametrize("missing", ["docker", TOOLS])
def test_an_engine_that_does_not_answer_or_unknown_programs_are_asked_each_time(missing: str) -> None:
    facts = {k: v for k, v in FACTS.items() if k != missing}
    asked(facts=facts)
    asked(facts=facts)
    assert Asked.times == 2


@pytest.mark.parametrize("text", ["", "{", "[]", '{"a": 1}'])
def test_a_file_that_is_damaged_is_no_file(text: str) -> None:
    kept = Kept("some")
    kept.path.parent.mkdir(parents=True)
    kept.path.write_text(text)
    assert kept.get("a") is None
    kept.put("a", {"x": 1})
    assert Kept("some").get("a") == {"x": 1}


def test_a_place_that_cannot_be_written_to_costs_nothing_but_time(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    kept = Kept("some")
    kept.put("a", {"x": 1})
    assert kept.get("a") == {"x": 1}
    assert cache_folder().parent.read_text() == "a file"


def test_two_processes_lose_nothing_of_one_another() -> None:
    one, other = Kept("some"), Kept("some")
    assert one.get("a") is other.get("b") is None
    one.put("a", {"x": 1})
    other.put("b", {"x": 2})
    assert Kept("some").get("a") == {"x": 1}
    assert Kept("some").get("b") == {"x": 2}


def test_the_programs_are_told_by_the_node() -> None:
    assert parse("docker_tool\t/usr/bin/docker 5 6 7\ndocker_tool\t/x 1 2 3")[TOOLS] == [
        "/usr/bin/docker 5 6 7",
        "/x 1 2 3",
    ]
