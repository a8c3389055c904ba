"""``${VAR}`` and its defaults, one scalar at a time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from playbook_plugins.text import interpolate, variables

ENVIRON = {"A": "1", "EMPTY": "", "NESTED": "${A}", "LONG_name_2": "x"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${A}", "1"),
        ("${A}${A}-${LONG_name_2}", "11-x"),
        ("${NONE:default}", "default"),
        ("${NONE:-default}", "default"),
        ("${NONE:}", ""),
        ("${NONE:-}", ""),
        ("${EMPTY}", ""),
        ("${EMPTY:default}", ""),
        ("${EMPTY:-default}", "default"),
        ("${A:-default}", "1"),
        ("${NONE:-http://h:80/x}", "http://h:80/x"),
        ("${NONE:-{a: 1}}", "{a: 1}"),
        ("${NESTED}", "${A}"),
        ("$A and $$ and ${} and ${1X} and ${A", "$A and $$ and ${} and ${1X} and ${A"),
        ("${A }", "${A }"),
    ],
)
def test_what_becomes_of_a_text(text: str, expected: str) -> None:
    missing: list[str] = []
    assert interpolate(text, ENVIRON, missing.append) == expected
    assert missing == []


def test_what_has_neither_value_nor_default_is_told_and_stays() -> None:
    missing: list[str] = []
    assert interpolate("${X} ${A} ${Y}${X}", ENVIRON, missing.append) == "${X} 1 ${Y}${X}"
    assert missing == ["X", "Y", "X"]
    assert variables("${X:-1} ${A} ${Y}${X} ${") == ["X", "A", "Y", "X"]


@given(st.text(), st.text())
def test_a_value_is_put_in_as_it_is(value: str, around: str) -> None:
    if "$" not in around:
        assert interpolate(f"{around}${{V}}{around}", {"V": value}, pytest.fail) == around + value + around
