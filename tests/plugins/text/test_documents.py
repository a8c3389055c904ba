"""A file becomes a tree with places; whatever is wrong is told as file:line: key, all at once, never as a traceback."""

from __future__ import annotations

import datetime as dt
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from hypothesis import given, settings
from hypothesis import strategies as st
from playbook_kernel.api import Problems
from playbook_plugins.text import Document, env_lines, load_document, read_env_file
from playbook_plugins.text.documents import MAX_BYTES, MAX_VALUES


@frozen
class Read:
    """A document, and what was said about it, without the folder's name."""

    document: Document
    problems: list[str]
    warnings: list[str]

    @property
    def data(self) -> Mapping[str, Any]:
        return self.document.data


Reader = Callable[..., Read]


@pytest.fixture
def read(tmp_path: Path) -> Reader:
    def reader(text: str | bytes, environ: Mapping[str, str] | None = None, name: str = "f.yaml", **more: Any) -> Read:
        raw = text if isinstance(text, bytes) else textwrap.dedent(text).encode()
        (tmp_path / name).write_bytes(raw)
        return load(tmp_path / name, environ, **more)

    return reader


def load(path: Path, environ: Mapping[str, str] | None = None, **more: Any) -> Read:
    problems = Problems()
    document = load_document(path, problems, environ, **more)

    def short(found: list[Any]) -> list[str]:
        return [str(p).replace(f"{path.parent}/", "") for p in found]

    return Read(document, short(problems.items), short(problems.warnings))


def test_values_are_those_of_yaml_1_1(read: Reader) -> None:
    got = read("""\
        yes: yes
        bools: [on, Off, TRUE, n, 'yes', "off"]
        numbers: [010, 0x1F, 1_000, 1e3, 1.0e+3, .5]
        times: [12:30, 2026-01-02]
        nothing: [~, null, '', ]
        1: a number as a key
        text: |
          two
          lines
        """)
    assert got.problems == []
    assert got.data == {
        "yes": True,
        "bools": [True, False, True, "n", "yes", "off"],
        "numbers": [8, 31, 1000, "1e3", 1000.0, 0.5],
        "times": [750, dt.date(2026, 1, 2)],
        "nothing": [None, None, ""],
        "1": "a number as a key",
        "text": "two\nlines\n",
    }


def test_every_value_knows_its_line(read: Reader) -> None:
    document = read("""\
        # a comment
        services:
          - name: a
            ports: [1,
              2]
          - name: b
        """).document
    assert document.line("services") == 2
    assert document.line("services", 0, "ports", 1) == 5
    assert document.line("services", 1, "name") == 6
    assert document.line("services", 1, "missing", "deeper") == 6, "what is not there stands where it would be"
    assert document.line("missing") == 1
    assert document.origin("services", 1, "name") == f"{document.file}:6: services[1].name"
    assert document.at("services", 0, "ports", 1) == 2
    assert document.at("services", 7) is None
    assert document.at("services", 0, "name", "deeper") is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\nb: 2\na: 3\n", "f.yaml:3: a: this key was given before, in line 1"),
        ("x:\n  a: 1\n  a: 1\n", "f.yaml:3: x.a: this key was given before, in line 2"),
        ("a:\n\tb: 1\n", ("f.yaml:2: is not valid YAML: while scanning for the next token found character that cannot "
         "start any token (indent with spaces, not tabs)")),
        ("a: [1\nb: 2\n", "f.yaml:2: is not valid YAML: while parsing a flow sequence did not find expected ',' or ']'"),
        ("a: *nobody\n", "f.yaml:1: is not valid YAML: found undefined alias"),
        ("a: 1\n---\nb: 2\n", ("f.yaml:2: is not valid YAML: expected a single document in the stream but found another "
         "document")),
        ("a: 1\nb: \x00\n", "f.yaml:2: is not valid YAML: control characters are not allowed"),
        (b"a: 1\nb: \xff\n", "f.yaml:2: is not UTF-8 text"),
        ("- a\n", "f.yaml:1: must be a mapping of keys to values"),
        ("just text\n", "f.yaml:1: must be a mapping of keys to values"),
        ("a: 1\n? [b, c]\n: 2\n", "f.yaml:2: a key must be a plain text"),
        ("a: 1\nx:\n  <<: 5\n", "f.yaml:3: x: `<<` wants a mapping"),
        ("a: !!python/name:os.system x\n", "f.yaml:1: a: cannot be read as os.system"),
        ("a: !mine x\n", "f.yaml:1: a: cannot be read as !mine"),
        ("a: !!int x\n", "f.yaml:1: a: cannot be read as int"),
        ("a: 2026-99-99\n", "f.yaml:1: a: cannot be read as timestamp"),
        ("a: &a [*a]\n", "f.yaml:1: grows too big or too deep when its aliases are followed"),
        ("a: " + "[" * 100_000, "f.yaml:1: is nested too deeply"),
        ("a: [" + "1, " * (2 * MAX_VALUES), "f.yaml:1: holds too many values"),
        ("a: " + "x" * MAX_BYTES, "f.yaml: is larger than 4 MiB"),
    ],
    ids=range(20),
)  # fmt: skip
def test_what_is_wrong_with_yaml_is_told_with_its_place(read: Reader, text: str | bytes, problem: str) -> None:
    assert read(text).problems == [problem]


def test_a_tag_of_a_programming_language_makes_no_object(read: Reader) -> None:
    assert read("a: !!python/object/apply:os.system ['true']\n").data == {"a": ["true"]}


def test_an_alias_bomb_is_refused_before_it_grows(read: Reader) -> None:
    text = "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
    text += "".join(
        f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
    )
    [problem] = read(text).problems
    assert problem.endswith("grows too big or too deep when its aliases are followed")


def test_merge_keys_and_anchors(read: Reader) -> None:
    got = read("""\
        base: &base {a: 1, b: 2}
        other: &other {b: 3, c: 4}
        own: {<<: *base, b: own}
        both: {<<: [*base, *other], d: 5}
        same: *base
        """)
    assert got.problems == []
    assert got.data["own"] == {"a": 1, "b": "own"}
    assert got.data["both"] == {"a": 1, "b": 2, "c": 4, "d": 5}, "of several, the first that has a key gives it"
    assert got.data["same"] == {"a": 1, "b": 2}


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "\ufeff"])
def test_an_empty_file_is_an_empty_document(read: Reader, text: str) -> None:
    got = read(text)
    assert (got.data, got.problems) == ({}, [])


def test_a_byte_order_mark_and_line_ends_of_windows_are_nothing_special(read: Reader) -> None:
    got = read(b"\xef\xbb\xbfa: 1\r\nb:\r\n  c: x\r\n")
    assert (got.data, got.problems) == ({"a": 1, "b": {"c": "x"}}, [])
    assert got.document.line("b", "c") == 3


def test_a_file_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    assert load(tmp_path / "none.yaml").problems == ["none.yaml: cannot be read: No such file or directory"]
    (tmp_path / "folder.yaml").mkdir()
    assert load(tmp_path / "folder.yaml").problems == ["folder.yaml: cannot be read: Is a directory"]


def test_variables_are_replaced_in_scalars_and_change_no_structure(read: Reader) -> None:
    environ = {"PORT": "8080", "EVIL": "1\nb: [2, {c: 3}]", "EMPTY": "", "YES": "yes"}
    got = read(
        """\
        plain: ${PORT}
        quoted: '${PORT}'
        inside: http://h:${PORT}/x
        evil: ${EVIL}
        flag: ${YES}
        default: ${NONE:-5}
        empty: ${EMPTY:-filled}
        "${PORT}": a key stays
        """,
        environ,
    )
    assert got.problems == []
    assert got.data == {
        "plain": 8080,
        "quoted": "8080",
        "inside": "http://h:8080/x",
        "evil": environ["EVIL"],
        "flag": True,
        "default": 5,
        "empty": "filled",
        "${PORT}": "a key stays",
    }
    assert read("a: ${PORT}\n", None).data == {"a": "${PORT}"}, "without an environment they stay"


def test_a_variable_is_one_word_to_yaml(read: Reader) -> None:
    got = read(
        """\
        list: [${A}, "${A}", ${NONE:-x, y}, x${A}z]  # ${A}
        map: {a: ${NONE:-0}, b: ${NONE:b: c #d}, ${A}: 1}
        plain: ${NONE:-{a: 1}} # a comment
        text: |
          ${NONE:-a: b} {c}
        """,
        {"A": "7"},
    )
    assert got.problems == []
    assert got.data == {
        "list": [7, "7", "x, y", "x7z"], "map": {"a": 0, "b": "b: c #d", "${A}": 1}, "plain": "{a: 1}",
        "text": "a: b {c}\n",
    }  # fmt: skip


def test_a_variable_without_a_value_is_a_problem_unless_somebody_says_that_it_does_not_matter(read: Reader) -> None:
    text = "a: ${NONE}\nb:\n  - ${NONE}\n"
    assert read(text, {}).problems == [
        "f.yaml:1: a: variable NONE is not set (set it, or give a default: ${NONE:-...})",
        "f.yaml:3: b[0]: variable NONE is not set (set it, or give a default: ${NONE:-...})",
    ]

    def unset(where: tuple[Any, ...], name: str) -> str | None:
        return f"{name} is not needed" if where[0] == "b" else None

    got = read(text, {}, unset=unset)
    assert len(got.problems) == 1
    assert got.warnings == ["f.yaml:3: b[0]: NONE is not needed"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a = 1\na = 2\n", "f.toml:2: is not valid TOML: Cannot overwrite a value"),
        ("a = 1\nb =\n", "f.toml:2: is not valid TOML: Invalid value"),
        ("a = " + "{b = " * 100 + "1" + "}" * 100, "f.toml:1: is nested too deeply"),
        ("a = " + "[" * 5000, "f.toml: is nested too deeply"),
        ("x = 1\na" + ".a" * 900 + " = 1", "f.toml:2: is nested too deeply"),
        ("a = 1\nb = '${NONE}'\n", "f.toml:2: b: variable NONE is not set (set it, or give a default: ${NONE:-...})"),
    ],
    ids=range(6),
)
def test_what_is_wrong_with_toml_is_told_with_its_place(read: Reader, text: str, problem: str) -> None:
    assert read(text, {}, "f.toml").problems == [problem]


def test_toml_has_the_same_shape(read: Reader) -> None:
    got = read("port = 1\ntext = '${PORT}'\n[[s]]\nname = 'a'\n[[s]]\nname = 'b'\n", {"PORT": "80"}, "f.toml")
    assert got.data == {"port": 1, "text": "80", "s": [{"name": "a"}, {"name": "b"}]}
    assert got.document.line("s", 1, "name") == 6


def test_a_problem_is_told_once_and_says_where_it_is() -> None:
    problems = Problems()
    problems.add("b.yaml", 1, "", "first", "a hint")
    problems.add("a.yaml", 9, "k", "before")
    problems.add("a.yaml", 9, "k", "before")
    problems.warn("a.yaml", 0, "", "only a warning")
    assert [str(p) for p in problems.items] == ["b.yaml:1: first (a hint)", "a.yaml:9: k: before"]
    assert str(problems.warnings[0]) == "a.yaml: only a warning"


def test_env_files(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text(
        "\ufeff# comment\n\nA=1\nexport B = two words # said\nC='kept # here'\nD=\"x\"\nA=3\nno value\n1X=1\nE=a=b\n"
    )
    problems = Problems()
    assert read_env_file(path, problems) == {"A": "3", "B": "two words", "C": "kept # here", "D": "x", "E": "a=b"}
    assert [str(p) for p in problems.items] == [
        f"{path}:8: expected KEY=VALUE",
        f"{path}:9: 1X: is not a variable's name",
    ]
    assert [n for n, name, _ in env_lines(path, Problems()) if name == "A"] == [3, 7]
    missing = Problems()
    assert read_env_file(tmp_path / "none", missing) == {}
    path.write_bytes(b"A=\xff\n")
    assert read_env_file(path, missing) == {}
    assert [p.message for p in missing.items] == [
        "cannot be read: No such file or directory",
        "cannot be read: it is not UTF-8 text",
    ]


yamlish = st.text(alphabet="ab:-[]{}&*!|>'\"#%@`,?<= \n\t0.~${}\\\x00é", max_size=60)


@settings(max_examples=300, deadline=None)
@given(yamlish, st.sampled_from(["f.yaml", "f.toml"]))
def test_whatever_a_file_holds_there_is_no_traceback(
    tmp_path_factory: pytest.TempPathFactory, text: str, name: str
) -> None:
    path = tmp_path_factory.getbasetemp() / name
    path.write_text(text, encoding="utf-8")
    problems = Problems()
    document = load_document(path, problems, {"a": "b"})
    assert isinstance(document.data, dict)
    assert all("\n" not in str(p) for p in problems.items)
