"""One value changed in a file, and nothing else."""

import pytest
import yaml
from playbook_kernel.api import ConfigError
from playbook_plugins.readers.edit import set_value

FILE = """\
# A header.
execution:   # what runs
  custom_order:
    # the first
    - name: one      # a note
      directory: 001
      enabled: yes   # was on
    - {directory: two, description: "a # b"}
    - three
anchors: &a {x: 1}
same: *a
"""


@pytest.mark.parametrize(
    ("place", "before", "after"),
    [
        (("execution", "custom_order", 0, "enabled"), "enabled: yes   # was on", "enabled: false   # was on"),
        (("execution", "custom_order", 1, "enabled"), "{directory: two", "{enabled: false, directory: two"),
        (("enabled",), "execution:   # what runs", "enabled: false\nexecution:   # what runs"),
    ],
)
def test_only_that_place_changes(tmp_path, place, before, after):
    path = tmp_path / "file.yaml"
    path.write_text(FILE)
    path.chmod(0o640)
    set_value(path, place, value=False)
    assert path.read_text() == FILE.replace(before, after, 1)
    assert path.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [path]


def test_an_item_that_starts_a_list_entry_keeps_its_shape(tmp_path):
    path = tmp_path / "file.yaml"
    path.write_text("list:\n  - name: a\n    more: 1\n")
    set_value(path, ("list", 0, "enabled"), value=True)
    assert yaml.safe_load(path.read_text()) == {"list": [{"enabled": True, "name": "a", "more": 1}]}


@pytest.mark.parametrize(
    ("text", "result"),
    [("", "enabled: true\n"), ("# only a comment", "# only a comment\nenabled: true\n"), (None, "enabled: true\n")],
)
def test_a_file_that_holds_nothing_yet(tmp_path, text, result):
    path = tmp_path / "file.yaml"
    if text is not None:
        path.write_text(text)
    set_value(path, ("enabled",), value=True)
    assert path.read_text() == result


def test_line_ends_and_links_are_kept(tmp_path):
    real, link = tmp_path / "real.yaml", tmp_path / "link.yaml"
    real.write_bytes(b"a: 1\r\nb: 2\r\n")
    link.symlink_to(real)
    set_value(link, ("enabled",), value=True)
    assert link.is_symlink()
    assert real.read_bytes() == b"enabled: true\r\na: 1\r\nb: 2\r\n"


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("# c\nname = 'a'\n[t]\nenabled = 1\n", "enabled = true\n# c\nname = 'a'\n[t]\nenabled = 1\n"),
        ("enabled = false # why\n", "enabled = true # why\n"),
    ],
)
def test_toml(tmp_path, text, result):
    path = tmp_path / "file.toml"
    path.write_text(text)
    set_value(path, ("enabled",), value=True)
    assert path.read_text() == result


@pytest.mark.parametrize(
    ("name", "text", "place"),
    [
        ("f.yaml", "a: &x {k: 5}\nb: *x\n", ("b", "k")),  # would change a, too
        ("f.yaml", "a: 1\n", ("b", "c")),
        ("f.yaml", "- a\n", ("b",)),
        ("f.toml", "[t]\nk = 1\n", ("t", "k")),
    ],
)
def test_what_cannot_be_changed_alone_is_refused(tmp_path, name, text, place):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(ConfigError, match="cannot be set from here"):
        set_value(path, place, value=True)
    assert path.read_text() == text
