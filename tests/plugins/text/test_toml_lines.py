"""Each key of a TOML document stands where a reader would look for it."""

from __future__ import annotations

from typing import Any

import tomli
from hypothesis import given
from hypothesis import strategies as st
from playbook_plugins.text.toml_lines import key_lines

DOCUMENT = '''\
# a = "comment"
title = "a # b"

[owner] # of it
name = """
[not.a.table]
x = 1
"""
"quoted key" = 'single # [x]'
a.b."c.d" = 1
list = [
  "1 ] # no",  # a comment with ]
  [2, 3],
]
inline = { x = 1, y = { z = 2 } }

[owner.sub]
k = 1

[[point]]
x = 1
[[point]]
x = 2
[point.more]
y = 1
[[point.part]]
z = 1
[[point.part]]
z = 2
last = """a\\"""b"""
end = \'\'\'
''\'\'\'
'''


def test_lines() -> None:
    lines = key_lines(DOCUMENT)
    expected = {
        ("title",): 2,
        ("owner",): 4,
        ("owner", "name"): 5,
        ("owner", "quoted key"): 9,
        ("owner", "a", "b", "c.d"): 10,
        ("owner", "list"): 11,
        ("owner", "inline"): 15,
        ("owner", "sub", "k"): 18,
        ("point", 0): 20,
        ("point", 0, "x"): 21,
        ("point", 1, "x"): 23,
        ("point", 1, "more", "y"): 25,
        ("point", 1, "part", 0, "z"): 27,
        ("point", 1, "part", 1, "z"): 29,
        ("point", 1, "part", 1, "last"): 30,
        ("point", 1, "part", 1, "end"): 31,
    }
    assert {path: lines.get(path) for path in expected} == expected
    assert not any("not" in map(str, path) or "x" in path[:1] for path in lines)


values = st.one_of(
    st.integers(), st.booleans(), st.text(alphabet="ab#[]{}='\"\\\n ", max_size=12), st.lists(st.integers(), max_size=3)
)


def spelled(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
    if isinstance(value, list):
        return "[\n" + "".join(f"  {v}, # ]\n" for v in value) + "]"
    return str(value)


@given(st.lists(values, max_size=6))
def test_whatever_the_values_are_the_keys_are_found(made: list[Any]) -> None:
    text, expected = "", {}
    for n, value in enumerate(made):
        expected[f"k{n}",] = text.count("\n") + 1
        text += f"k{n} = {spelled(value)}\n"
    assert list(tomli.loads(text).values()) == made
    assert key_lines(text) == expected
