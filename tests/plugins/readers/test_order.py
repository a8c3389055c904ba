"""Which scenarios run, and in what order: modes, filters, dependencies, disabled ones."""

import pytest

from .reading import read, small

CUSTOM = "execution:\n  execution_mode: custom\n  custom_order:\n"


def three(root, scenarios_yaml="", **metadata):
    names = {"1_a": "", "2_b": "", "3_c": ""}
    return small(root, {"config/scenarios.yaml": scenarios_yaml}, **{**names, **metadata})


@pytest.mark.parametrize("mode", ["auto", "directory"])
def test_by_number_and_name(tmp_path, mode):
    root = small(
        tmp_path, {"config/scenarios.yaml": f"execution: {{execution_mode: {mode}}}\n"},
        **{"10_x": "", "2_y": "", "002_a": "", "zebra": "", "alpha": ""},
    )  # fmt: skip
    assert read(root).names == ["002_a", "2_y", "10_x", "alpha", "zebra"]


def test_custom_order_takes_names_and_mappings_and_nothing_else(tmp_path):
    order = (
        CUSTOM
        + "    - 3_c\n    - {name: first, directory: 1_a, description: Renamed}\n    - {name: 2_b, enabled: no}\n"
    )
    found = read(three(tmp_path, order))
    assert found.problems == []
    assert found.names == ["3_c", "first", "2_b"]
    assert found["first"].description == "Renamed"
    assert [s.enabled for s in found.config.scenarios] == [True, True, False]


def test_a_custom_order_that_names_what_is_not_there(tmp_path):
    order = (
        CUSTOM + "    - nowhere\n    - {directory: gone, enabled: false}\n    - ../1_a\n    - 7\n    - 1_a\n    - 1_a\n"
    )
    found = read(three(tmp_path, order))
    assert [p.split(": ", 1)[0] for p in found.problems] == [
        "config/scenarios.yaml:4", "config/scenarios.yaml:6", "config/scenarios.yaml:7", "config/scenarios.yaml:3",
    ]  # fmt: skip
    assert "is not a scenario" in found.problems[0]
    assert "leads out of" in found.problems[1]
    assert "comes twice" in found.problems[3]
    assert any("there is no scenario 'gone'" in w for w in found.warnings)


@pytest.mark.parametrize(
    ("filters", "left"),
    [
        ("{only_scenarios: [1_a, 3_c]}", ["1_a", "3_c"]),
        ("{skip_scenarios: [1_a]}", ["2_b", "3_c"]),
        ("{include_tags: [fast]}", ["1_a", "3_c"]),  # 3_c has no metadata file, and passes the tag tests
        ("{exclude_tags: [slow]}", ["1_a", "3_c"]),
        ("{include_tags: [fast, slow], exclude_tags: [slow], skip_scenarios: [3_c]}", ["1_a"]),
    ],
)
def test_filters(tmp_path, filters, left):
    found = read(three(tmp_path, f"filters: {filters}\n", **{"1_a": "tags: [fast]\n", "2_b": "tags: [slow]\n"}))
    assert [s.name for s in found.config.scenarios if not s.skip] == left
    assert all(s.skip for s in found.config.scenarios if s.name not in left)


def test_a_filter_that_names_nothing_is_told(tmp_path):
    assert "no scenario is called '9_z'" in read(three(tmp_path, "filters: {only_scenarios: [9_z]}\n")).warnings[0]


def test_dependencies_order(tmp_path):
    found = read(three(tmp_path, **{"1_a": "dependencies: [3_c]\n"}))
    assert found.names == ["3_c", "1_a", "2_b"]


def test_dependencies_that_cannot_be(tmp_path):
    found = read(three(tmp_path, **{"1_a": "name: a\ndependencies:\n  - 2_b\n", "2_b": "dependencies: [1_a, 2_bb]\n"}))
    assert any("wait for one another: 1_a -> 2_b -> 1_a" in p for p in found.problems)
    assert (
        "config/scenarios/2_b/metadata.yaml:1: dependencies[1]: no scenario is called '2_bb' (did you mean '2_b'?)"
        in (found.problems)
    )


def test_what_is_wrong_with_a_disabled_scenario_is_only_a_warning(tmp_path):
    found = read(three(tmp_path, **{"1_a": "enabled: false\nservices: [{name: nowhere}]\n"}))
    assert found.problems == []
    assert any("there is no service 'nowhere'" in w for w in found.warnings)
    assert not found["1_a"].enabled


def test_o48_the_flag_beats_the_file(tmp_path):
    root = three(tmp_path, "execution: {scenarios_root: config/scenarios}\n")
    small(tmp_path / "other", **{"9_z": ""})
    assert read(root, scenarios_dir=tmp_path / "other" / "config" / "scenarios").names == ["9_z"]


def test_retries_of_the_older_key_count_where_the_newer_is_not_given(tmp_path):
    text = "execution_config: {retry_strategy: {scenario_level_retries: 3}}\n"
    assert read(three(tmp_path, text)).config.policy.retries == 3
    assert read(three(tmp_path, text + "inter_scenario: {retry_count: 0}\n")).config.policy.retries == 0
    assert read(three(tmp_path, "inter_scenario:\n")).config.policy.retries == 1, "an empty section is no section"
