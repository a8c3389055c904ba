"""Mappings in, objects out: nothing is coerced, and every problem of a file is told at once, with its place."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pytest
from attrs import field, frozen
from playbook_kernel.api import Problems, structure
from playbook_kernel.redaction import Secret
from playbook_plugins.text import load_document


@frozen
class Port:
    number: int
    ratio: float = 1.0
    tags: tuple[str, ...] = ()


@frozen
class Options:
    name: str
    port: Port | None = None
    ports: tuple[Port, ...] = ()
    by_name: Mapping[str, Port] = field(factory=dict)
    flag: bool = False
    key: Secret = field(factory=lambda: Secret(""))
    path: Path | None = None
    mode: Literal["fast", "slow"] = "fast"
    words: str | list[str] = ""
    free: Any = None


def read(tmp_path: Path, text: str, name: str = "f.yaml") -> tuple[Options | None, list[str]]:
    (tmp_path / name).write_text(text)
    problems = Problems()
    made = load_document(tmp_path / name, problems, {}).structure(Options, problems)
    assert (made is None) == bool(problems.items)
    return made, sorted(str(p).replace(f"{tmp_path}/", "") for p in problems.items)


def test_a_good_file_becomes_an_object(tmp_path: Path) -> None:
    made, problems = read(
        tmp_path,
        """\
name: x
port: {number: 1, ratio: 2}
ports: [{number: 3}]
by_name: {k: {number: 4, tags: [a]}}
flag: on
key: conv-secret
path: ~/x
mode: slow
words: [one]
free: {any: [1, {thing: 2}]}
""",
    )
    assert problems == []
    assert made == Options(
        "x", Port(1, 2.0), (Port(3),), {"k": Port(4, 1.0, ("a",))}, flag=True, key=Secret("conv-secret"),
        path=Path("~/x").expanduser(), mode="slow", words=["one"], free={"any": [1, {"thing": 2}]},
    )  # fmt: skip
    assert made.port is not None
    assert type(made.port.ratio) is float
    assert "conv-secret" not in repr(made)


def test_all_that_is_wrong_is_told_at_once_each_with_its_place(tmp_path: Path) -> None:
    _, problems = read(
        tmp_path,
        """\
nam: x
port:
  numbr: 1
  ratio: fast
ports:
  - {number: 3, tags: abc}
  - number: '4'
  - 5
by_name:
  k: {number: 4.5}
  'a b': {number: yes}
flag: 'no'
key: 123456
path: 5
mode: quick
words: 5
""",
    )
    assert problems == sorted(
        [
            "f.yaml:1: unknown key 'nam', did you mean 'name'?",
            "f.yaml:1: name: required key is missing",
            "f.yaml:2: port.number: required key is missing",
            "f.yaml:3: port: unknown key 'numbr', did you mean 'number'?",
            "f.yaml:4: port.ratio: expected a number, got 'fast'",
            "f.yaml:6: ports[0].tags: expected a list, got 'abc'",
            "f.yaml:7: ports[1].number: expected a whole number, got '4'",
            "f.yaml:8: ports[2]: expected a mapping, got 5",
            "f.yaml:10: by_name.k.number: expected a whole number, got 4.5",
            "f.yaml:11: by_name.a b.number: expected a whole number, got True",
            "f.yaml:12: flag: expected true or false, got 'no'",
            "f.yaml:13: key: expected a text; quote it if it looks like a number",
            "f.yaml:14: path: expected a path, got 5",
            "f.yaml:15: mode: expected 'fast' or 'slow', got 'quick'",
            "f.yaml:16: words: expected a text or a list, got 5",
        ]
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("name: 5", "f.yaml:1: name: expected a text, got 5"),
        ("name: x\nports: {number: 1}", "f.yaml:2: ports: expected a list, got {'number': 1}"),
        ("name: x\nby_name: []", "f.yaml:2: by_name: expected a mapping, got []"),
        ("name: x\nport: number", "f.yaml:2: port: expected a mapping, got 'number'"),
        ("name: x\nport: {number: true}", "f.yaml:2: port.number: expected a whole number, got True"),
        ("name: x\nwords: [a, 1]", "f.yaml:2: words[1]: expected a text, got 1"),
        ("name: " + "[" + "x, " * 50 + "]", "f.yaml:1: name: expected a text, got " + repr(["x"] * 50)[:57] + "..."),
        ("name: {password: conv-unknown}", "f.yaml:1: name: expected a text, got {'password': '***'}"),
        ("name: x\nzzz: 1", ("f.yaml:2: unknown key 'zzz', known keys: name, port, ports, by_name, flag, key, path, mode, "
         "words, free")),
    ],
)  # fmt: skip
def test_nothing_is_coerced(tmp_path: Path, text: str, problem: str) -> None:
    assert read(tmp_path, text)[1] == [problem]


def test_a_key_that_holds_nothing_counts_as_absent(tmp_path: Path) -> None:
    assert read(tmp_path, "name: x\nport:\nwords:\nflag: ~\n")[0] == Options("x")
    assert read(tmp_path, "name:\n")[1] == ["f.yaml:1: name: required key is missing"]


def test_toml_problems_have_their_lines_too(tmp_path: Path) -> None:
    text = 'name = "x"\nzzz = 1\n[port]\nnumber = 1\nnumbr = 2\n[[ports]]\nnumber = 1\n[[ports]]\nnumber = "x"\n'
    _, problems = read(tmp_path, text, "f.toml")
    assert [p.split(" ", 2)[:2] for p in problems] == [
        ["f.toml:2:", "unknown"], ["f.toml:5:", "port:"], ["f.toml:9:", "ports[1].number:"],
    ]  # fmt: skip


def test_a_part_of_a_document_is_structured_with_its_own_path(tmp_path: Path) -> None:
    (tmp_path / "f.yaml").write_text("nodes:\n  - number: 1\n  - number: x\n  - text\n")
    problems = Problems()
    document = load_document(tmp_path / "f.yaml", problems, {})
    assert document.structure(Port, problems, ("nodes", 0)) == Port(1)
    assert document.structure(Port, problems, ("nodes", 1)) is None
    assert document.structure(Port, problems, ("nodes", 2)) is None
    assert document.structure(Port, problems, ("nodes", 0), {"number": 7}) == Port(7)
    assert [(p.line, p.key, p.message) for p in problems.items] == [
        (3, "nodes[1].number", "expected a whole number, got 'x'"),
        (4, "nodes[2]", "must be a mapping of keys to values"),
    ]


@frozen
class Tree:
    kids: tuple[Tree, ...] = ()
    one: Tree | None = None


def test_a_class_may_hold_itself() -> None:
    assert structure({"kids": [{"kids": [{}]}], "one": {}}, Tree) == (Tree((Tree((Tree(),)),), Tree()), [])
    assert structure({"kids": [{}, {"kids": 5}], "one": {"kid": 1}}, Tree)[1] == [
        ("kids[1].kids", "expected a list, got 5"),
        ("one", "unknown key 'kid', did you mean 'kids'?"),
    ]


def test_a_mapping_that_is_none_is_told_however_often_its_type_was_met() -> None:
    @frozen
    class First:
        some: Mapping[str, Any] = field(factory=dict)

    @frozen
    class Second:
        some: Mapping[str, Any] = field(factory=dict)

    for cls in (First, Second):
        assert structure({"some": [1]}, cls)[1] == [("some", "expected a mapping, got [1]")]
