"""One value changed in a file, and nothing else."""

import pytest
import yaml
from playbook_kernel.api import ConfigError
from playbook_plugins.readers.edit import set_member, set_value

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


PLACE = ("plugins", "disable")


@pytest.mark.parametrize(
    ("text", "with_it"),
    [
        (None, 'plugins:\n  disable: ["mine"]\n'),
        ("# nothing yet\n", '# nothing yet\nplugins:\n  disable: ["mine"]\n'),
        ("a: 1", 'a: 1\nplugins:\n  disable: ["mine"]\n'),
        ("plugins:  # none\nb: 2\n", 'plugins:\n  disable: ["mine"]  # none\nb: 2\n'),
        ("plugins:\n  # mine\n  prefer: {}\n", 'plugins:\n  # mine\n  disable: ["mine"]\n  prefer: {}\n'),
        ("plugins: {require: [x]}\n", 'plugins: {disable: ["mine"], require: [x]}\n'),
        ("plugins:\n  disable: []  # off\n", 'plugins:\n  disable: ["mine"]  # off\n'),
        ("plugins:\n  disable: [a]\n", 'plugins:\n  disable: ["mine", "a"]\n'),
        ("plugins:\n  disable:\n    # one\n    - a  # x\n  prefer: {}\n", None),
        ("plugins:\r\n  disable:\r\n  - a\r\n", 'plugins:\r\n  disable:\r\n  - "mine"\r\n  - a\r\n'),
    ],
)
def test_a_member_comes_and_goes_and_the_rest_stays(tmp_path, text, with_it):
    path = tmp_path / "file.yaml"
    if text is not None:
        path.write_bytes(text.encode())
    before = (yaml.safe_load(text or "") or {}).get("plugins") or {}
    assert set_member(path, PLACE, "mine", present=True)
    if with_it is None:
        with_it = 'plugins:\n  disable:\n    # one\n    - "mine"\n    - a  # x\n  prefer: {}\n'
    assert path.read_bytes().decode() == with_it
    assert not set_member(path, PLACE, "mine", present=True)
    assert set_member(path, PLACE, "mine", present=False)
    after = yaml.safe_load(path.read_text())["plugins"]
    assert (after["disable"], {**after, "disable": []}) == (before.get("disable") or [], {**before, "disable": []})


def test_the_last_member_of_a_list_of_lines_leaves_an_empty_list(tmp_path):
    path = tmp_path / "file.yaml"
    path.write_text("plugins:\n  disable:  # off\n    - mine\n  prefer: {}\n")
    assert set_member(path, PLACE, "mine", present=False)
    assert path.read_text() == "plugins:\n  disable: []  # off\n  prefer: {}\n"


def test_a_file_of_another_form_is_left_to_its_owner(tmp_path):
    path = tmp_path / "file.toml"
    path.write_text('[plugins]\ndisable = ["a"]\n')
    with pytest.raises(ConfigError, match=r"plugins.disable cannot be set from here") as caught:
        set_member(path, PLACE, "mine", present=True)
    assert caught.value.hint == "write disable: ['mine', 'a'] there"
    assert path.read_text() == '[plugins]\ndisable = ["a"]\n'


def test_variables_in_brackets_stay_as_they_are(tmp_path):
    file = tmp_path / "metadata.yaml"
    text = "enabled: ${ON:-yes}  # by hand\nservices: [{name: a, nodes: [${N:-local}, ${M}]}]\n"
    file.write_text(text)
    set_value(file, ("enabled",), False)
    assert file.read_text() == text.replace("${ON:-yes}", "false")
    assert set_member(file, ("plugins", "disable"), "x", present=True)
    assert "nodes: [${N:-local}, ${M}]" in file.read_text()
