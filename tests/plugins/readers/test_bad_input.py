"""Whatever stands in a user's files: one clear error each, with file, line and key, all of a file at once, no traceback."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from playbook_kernel.api import Problems
from playbook_plugins.compose_lint import lint
from playbook_plugins.text import load_document

from tests.cli.calls import Called, call, write

FILES = Path(__file__).parents[1] / "composers/files"
PLACE = "config/scenarios/001_a/"
META, COMPOSE, SCENARIOS, NODES = (
    f"{PLACE}metadata.yaml",
    f"{PLACE}docker-compose.yml",
    "config/scenarios.yaml",
    "config/nodes.yaml",
)
GOOD = {
    SCENARIOS: "inter_scenario: {wait_between_scenarios: 0}\n",
    COMPOSE: "services:\n  engine: {image: x, command: [sleep, '9']}\n",
    META: "name: a\nservices: [{name: engine, nodes: [local]}]\n",
    f"{PLACE}run_test.sh": "exit 0\n",
}
BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
SERVICE = "services: [{name: engine, nodes: [local]%s}]\n"
CHECKS = """services:
  - name: engine
    nodes: [local]
    health_check:
      checks:
        - {type: http_endpont, url: 'http://localhost:1'}
        - {type: http_endpoint, urll: 'http://localhost:1'}
        - {type: http_endpoint, url: 5, expected_status: many}
        - {type: dokcer}
        - {url: x}
"""
TWO = "services:\n  engine: {image: x, command: [a]%s}\n  b: {image: x, command: [a]%s}\n"
TYPOS = """services:
  engine:
    imagee: x
    command: [sleep]
    healthcheck: {tests: [a]}
    environment: 5
    ports: 8000
    deploy: {replicaz: 2}
"""

# what is wrong: the files that differ from good ones, and how each issue begins, in order
ROWS: Mapping[str, tuple[Mapping[str, str | None], list[str]]] = {
    "a YAML bomb": ({META: BOMB}, [f"{META}:1: grows too big"]),
    "a deep file": ({META: "a: " + "[" * 200 + "]" * 200}, [f"{META}:1: is nested too deeply"]),
    "a tab": ({META: "name: a\nservices:\n\t- x\n"}, [f"{META}:3: is not valid YAML"]),
    "a duplicate key": ({META: f"name: a\nname: b\n{SERVICE % ''}"}, [f"{META}:2: name: this key was given before"]),
    "a NUL": ({META: "name: a\0\n"}, [f"{META}:1: is not valid YAML"]),
    "wrong types in metadata": (
        {META: "name: [a]\ntags: 5\nestimated_duration: soon\nservices: 7\n"},
        [f"{META}:1: name: expected a text", f"{META}:2: tags: expected a list",
         f"{META}:3: estimated_duration: expected a number", f"{META}:4: services: expected a list"],
    ),
    "wrong types in scenarios": (
        {SCENARIOS: "execution: 5\ninter_scenario: {wait_between_scenarios: long}\nfilters: [1]\n"},
        [f"{SCENARIOS}:1: execution: expected a mapping",
         f"{SCENARIOS}:2: inter_scenario.wait_between_scenarios: expected a number",
         f"{SCENARIOS}:3: filters: expected a mapping"],
    ),
    "wrong types in defaults": (
        {"config/defaults.yaml": "service_health_check: on\ntest_execution: [x]\n"},
        ["config/defaults.yaml:1: service_health_check: expected a mapping",
         "config/defaults.yaml:2: test_execution: expected a mapping"],
    ),
    "nodes that are a list": ({NODES: "nodes: [a]\n"}, [f"{NODES}:1: nodes: expected a mapping"]),
    "structure and values, in every file": (
        {
            NODES: "nodes:\n  n1: {host: h, username: u, prot: 1, composer: proces}\n  n2: {transport: local}\n",
            SCENARIOS: "filters: {tags: [x]}\nexecution_config: {retry_strategy: {by_error_class: {imagee: 3}}}\n"
            "reports: [{us: x}, htlm]\ninter_scenario: {retry_count: many, wait_between_scenarios: -1}\n",
            "config/defaults.yaml": "plugins: {paths: [none.py], disabled: [x], import_timeout: -1}\n",
            META: "enabled: 3\ncollection_mode: lots\ndependencies: [nope]\nupload: [missing.txt]\nbenchmark: aicpp\n"
            "services:\n  - {name: enginee, nodes: [n1], health_check: {checks: [{type: http, ulr: x, timeout: -2}]}}\n"
            "  - {name: two, depends_on: [three], compose_file: 5}\ntest_execution: {timeout: soon, node: n9, scrpt: x}\n",
            COMPOSE: "services:\n  engine: {image: x, command: [a], depends_on: [other]}\n",
        },
        [
            f"{NODES}:2: nodes.n1: unknown key 'prot'", f"{NODES}:2: nodes.n1: no composer is called 'proces'",
            f"{NODES}:3: nodes.n2.host: required key is missing",
            f"{SCENARIOS}:1: filters: unknown key 'tags'",
            f"{SCENARIOS}:2: execution_config.retry_strategy.by_error_class.imagee: no class",
            f"{SCENARIOS}:3: reports[0].use: required key", f"{SCENARIOS}:3: reports[0]: unknown key 'us'",
            f"{SCENARIOS}:3: reports[1]: no reporter is called 'htlm'",
            f"{SCENARIOS}:4: inter_scenario.retry_count: expected a whole number",
            f"{SCENARIOS}:4: inter_scenario.wait_between_scenarios: must be at least 0",
            "config/defaults.yaml:1: plugins.paths[0]: there is no file",
            "config/defaults.yaml:1: plugins: unknown key 'disabled'",
            "config/defaults.yaml:1: plugins.import_timeout: expected a number of seconds above 0",
            f"{META}:1: enabled: expected true or false", f"{META}:2: collection_mode: unknown mode",
            f"{META}:3: dependencies[0]: no scenario", f"{META}:4: upload: there is no 'missing.txt'",
            f"{META}:5: benchmark: no benchmark is called 'aicpp'",
            f"{META}:7: services[0].name: there is no service 'enginee'",
            f"{META}:7: services[0].health_check.checks[0].timeout: expected seconds above 0",
            f"{META}:7: services[0].health_check.checks[0]: url: required key",
            f"{META}:7: services[0].health_check.checks[0]: unknown key 'ulr'",
            f"{META}:8: services[1].compose_file: expected a text",
            f"{META}:8: services[1].depends_on: there is no service 'three'",
            f"{META}:9: test_execution.timeout: expected a number", f"{META}:9: test_execution.node: there is no node 'n9'",
            f"{META}:9: test_execution: unknown key 'scrpt'",
            f"{COMPOSE}:2: services.engine.depends_on: there is no service 'other'",
        ],
    ),
    "what is misspelt is not missing, too": (
        {META: "servces: [{name: engine, nodes: [local]}]\ntest_execution: 5\n", NODES: "nods: {}\n",
         f"{PLACE}run_test.sh": None},
        [f"{META}:1: unknown key 'servces'", f"{META}:2: test_execution: expected a mapping",
         f"{NODES}:1: unknown key 'nods'"],
    ),
    "wrong types in nodes": (
        {NODES: "nodes:\n  local: {host: [1], username: u, port: many, enabled: perhaps}\n"},
        [f"{NODES}:2: nodes.local.host: expected a text", f"{NODES}:2: nodes.local.port: expected a whole number",
         f"{NODES}:2: nodes.local.enabled: expected true or false"],
    ),
    "a port too high": (
        {NODES: "nodes:\n  local: {host: h, username: u, password: x, port: 70000}\n"},
        [f"{NODES}:2: nodes.local.port: expected 1 to 65535"],
    ),
    "a variable without value": (
        {NODES: "nodes:\n  local: {host: h, username: u, password: '${NOPE_PW}'}\n"},
        [f"{NODES}:2: nodes.local.password: variable NOPE_PW is not set"],
    ),
    "a key file that is missing": (
        {NODES: "nodes:\n  local: {host: h, username: u, key_filename: /nope/key}\n"},
        [f"{NODES}:2: nodes.local.key_filename: there is no file /nope/key"],
    ),
    "a key of nobody's": (
        {NODES: "nodes:\n  local: {host: h, username: u, key_filename: ~nobody-of-that-name/key}\n"},
        [f"{NODES}:2: nodes.local.key_filename: there is no file ~nobody-of-that-name/key"],
    ),
    "a circle of services": (
        {COMPOSE: TWO % (", depends_on: [b]", ", depends_on: [engine]")}, [f"{META}:2: services: services wait for one another"]
    ),
    "a service that waits for itself": (
        {META: SERVICE % ", depends_on: [engine]"}, [f"{META}:1: services: services wait for one another"]
    ),
    "a circle of scenarios": (
        {META: f"dependencies: [001_a]\n{SERVICE % ''}"}, [f"{META}:1: dependencies[0]: scenarios wait for one another"]
    ),
    "an unknown scenario": (
        {META: f"dependencies: [001_b]\n{SERVICE % ''}"}, [f"{META}:1: dependencies[0]: no scenario is called '001_b' (did you"]
    ),
    "an unknown service": (
        {META: "services: [{name: engin, nodes: [local]}]\n"}, [f"{META}:1: services[0].name: there is no service 'engin'"]
    ),
    "an unknown node": (
        {META: "services: [{name: engine, nodes: [locl]}]\n"},
        [f"{META}:1: services[0].nodes: there is no node 'locl' (did you mean 'local'?)"],
    ),
    "an unknown key": (
        {META: "servces: [{name: engine}]\n"}, [f"{META}:1: unknown key 'servces', did you mean 'services'?"]
    ),
    "an unknown key of a health check": (
        {META: SERVICE % ", health_check: {max_retrys: 3}"},
        [f"{META}:1: services[0].health_check: unknown key 'max_retrys', did you mean 'max_retries'?"],
    ),
    "checks": (
        {META: CHECKS},
        [f"{META}:6: services[0].health_check.checks[0].type: there is no check 'http_endpont' (did you mean 'http_endpoint'?)",
         f"{META}:9: services[0].health_check.checks[3].type: there is no check 'dokcer' (did you mean 'docker'?)",
         f"{META}:10: services[0].health_check.checks[4]: a check needs a type",
         f"{META}:7: services[0].health_check.checks[1]: url: required key is missing",
         f"{META}:7: services[0].health_check.checks[1]: unknown key 'urll', did you mean 'url'?",
         f"{META}:8: services[0].health_check.checks[2]: url: expected a text",
         f"{META}:8: services[0].health_check.checks[2]: expected_status: expected a whole number"],
    ),
    "an unknown mode": (
        {SCENARIOS: "execution:\n  execution_mode: cutsom\n"}, [f"{SCENARIOS}:2: execution.execution_mode: expected 'auto'"]
    ),
    "an unknown collection mode": (
        {META: f"{SERVICE % ''}test_execution: {{collection_mode: evrything, timeout: -5}}\n"},
        [f"{META}:2: test_execution.collection_mode: unknown mode 'evrything'",
         f"{META}:2: test_execution.timeout: must be above 0"],
    ),
    "an unknown report": (
        {SCENARIOS: "reports: [htlm]\n"}, [f"{SCENARIOS}:1: reports[0]: no reporter is called 'htlm'; did you mean 'html'?"]
    ),
    "an unknown benchmark": (
        {META: f"{SERVICE % ''}benchmark: scrpt\n"},
        [f"{META}:2: benchmark: no benchmark is called 'scrpt'; did you mean 'script'?"],
    ),
    "a custom order of nothing": (
        {SCENARIOS: "execution:\n  execution_mode: custom\n  custom_order: [nope, ../../etc, 5]\n"},
        [f"{SCENARIOS}:3: execution.custom_order[0]: 'nope' is not a scenario",
         f"{SCENARIOS}:3: execution.custom_order[1]: '../../etc' leads out of",
         f"{SCENARIOS}:3: execution.custom_order[2]: expected a folder's name"],
    ),
    "a script that is missing": (
        {META: f"{SERVICE % ''}test_execution: {{script: nope.sh}}\n"}, [f"{META}:2: test_execution: {PLACE}nope.sh: there is no"]
    ),
    "a script elsewhere": (
        {META: f"{SERVICE % ''}test_execution: {{script: ../../nodes.yaml}}\n"},
        [f"{META}:2: test_execution: script '../../nodes.yaml' leads out of"],
    ),
    "a compose file elsewhere": (
        {META: SERVICE % ", compose_file: ../../../etc/x.yml"},
        [f"{META}:1: services[0].compose_file: '../../../etc/x.yml' leads out of the scenario's folder"],
    ),
    "results elsewhere": (
        {META: f"{SERVICE % ''}test_execution:\n  result_paths:\n  - out\n  - ../../x\n"},
        [f"{META}:5: test_execution.result_paths[1]: '../../x' leads out of the folder that the script runs in (let the script"],
    ),
    "results elsewhere, said in the older home": (
        {META: f"{SERVICE % ''}deployment: {{test_execution: {{result_paths: [a/../..]}}}}\n"},
        [f"{META}:2: deployment.test_execution.result_paths[0]: 'a/../..' leads out of the folder"],
    ),
    "results elsewhere, by default": (
        {"config/defaults.yaml": "test_execution: {result_paths: [../x]}\n"},
        ["config/defaults.yaml:1: test_execution.result_paths[0]: '../x' leads out of the folder"],
    ),
    "paths that are a command": (
        {META: f"{SERVICE % ''}test_execution: {{result_paths: $(touch x)}}\n"},
        [f"{META}:2: test_execution.result_paths: expected a list"],
    ),
    "a compose file without services": ({COMPOSE: ""}, [f"{COMPOSE}:1: there are no services in it"]),
    "a compose file that is a list": ({COMPOSE: "- a\n"}, [f"{COMPOSE}:1: must be a mapping"]),
    "a typing error at a compose file's top": (
        {COMPOSE: "servces:\n  engine: {image: x}\n"}, [f"{COMPOSE}:1: servces: is not a key of compose files (did"]
    ),
    "typing errors in a compose file": (
        {COMPOSE: TYPOS},
        [f"{COMPOSE}:3: services.engine.imagee: is not a key of compose files (did you mean 'image'?)",
         f"{COMPOSE}:5: services.engine.healthcheck.tests: is not a key of compose files (did you mean 'test'?)",
         f"{COMPOSE}:8: services.engine.deploy.replicaz: is not a key of compose files (did you mean 'replicas'?)",
         f"{COMPOSE}:6: services.engine.environment: must be a list",
         f"{COMPOSE}:7: services.engine.ports: must be a list"],
    ),
    "ports that are none": (
        {COMPOSE: "services:\n  engine: {image: x, command: [a], ports: ['99999:1', 'a:b']}\n"},
        [f"{COMPOSE}:2: services.engine.ports: cannot be understood: '99999:1'", f"{COMPOSE}:2: services.engine.ports"],
    ),
    "a compose variable that must be set": (
        {COMPOSE: "services:\n  engine: {image: '${IMG:?the image}', command: [a]}\n"},
        [f"{COMPOSE}:2: services.engine.image: variable IMG must be set: the image"],
    ),
    "a test_config that is no JSON": (
        {f"{PLACE}run_test.sh": None, f"{PLACE}test_config.json": "{nonsense: ]"}, [f"{PLACE}test_config.json"]
    ),
}  # fmt: skip


def tried(root: Path, files: Mapping[str, str | None]) -> tuple[Called, list[str]]:
    write(root, {k: v for k, v in {**GOOD, **files}.items() if v is not None})
    called = call("validate", "--json", cwd=root)
    assert "Traceback" not in called.err
    return called, [str(issue).replace(f"{root}/", "") for issue in called.json["issues"]]


@pytest.mark.parametrize("what", ROWS)
def test_it_is_told_once_where_and_what(tmp_path: Path, what: str) -> None:
    files, wanted = ROWS[what]
    called, issues = tried(tmp_path, files)
    assert called.code in (2, 3)
    assert len(issues) == len(wanted), issues
    assert [issue for issue in wanted if not any(told.startswith(issue) for told in issues)] == [], issues


def test_good_files_are_good(tmp_path: Path) -> None:
    called, issues = tried(tmp_path, {})
    assert (called.code, issues) == (0, [])


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    (tmp_path / META).write_bytes(b"name: \xff\n")
    [issue] = call("validate", "--json", cwd=tmp_path).json["issues"]
    assert issue.replace(f"{tmp_path}/", "") == f"{META}:1: is not UTF-8 text"


def test_what_a_newer_compose_may_know_is_only_warned_about(tmp_path: Path) -> None:
    called, issues = tried(
        tmp_path,
        {COMPOSE: "services:\n  engine: {image: x, command: [a], frobnicate: 1, x-mine: 2, env_file: none.env}\n"},
    )
    assert (called.code, issues) == (0, [])
    warnings = [w.replace(f"{tmp_path}/", "") for w in called.json["warnings"]]
    assert warnings == [
        f"{COMPOSE}:2: services.engine.frobnicate: is no key of compose files that is known here; Compose may refuse it",
        f"{COMPOSE}:2: services.engine.env_file: none.env is not in the scenario's folder: Compose will look for it on the node",
    ]


@pytest.mark.parametrize("name", ["$(touch x)", 'q"uote', "it's", "with space", "new\nline", "-rf", "größe", "实验"])
def test_a_folder_of_any_name_is_a_scenario_or_an_error_and_runs_nothing(tmp_path: Path, name: str) -> None:
    write(tmp_path, {k.replace("001_a", name): v for k, v in GOOD.items()})
    called = call("validate", "--json", cwd=tmp_path)
    assert "Traceback" not in called.err
    assert called.code in (0, 2)
    assert bool(called.json["issues"]) == (called.code == 2)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    "files, hint",
    [
        ({"docker-compose-pd.yaml": "services: {}\n", "metadata.yaml": "name: a\n"}, "rename docker-compose-pd.yaml"),
        ({"compose.yaml": "services: {}\n"}, "rename compose.yaml"),
        ({"metadata.yaml": "name: a\n"}, ""),
    ],
)
def test_a_folder_that_is_nearly_a_scenario_is_told(tmp_path: Path, files: Mapping[str, str], hint: str) -> None:
    called, issues = tried(tmp_path, {f"config/scenarios/002_lost/{k}": v for k, v in files.items()})
    assert issues == []
    [warning] = called.json["warnings"]
    assert "config/scenarios/002_lost: is no scenario: there is no docker-compose.yml in it" in warning
    assert hint in warning


def test_no_key_of_the_files_that_compose_was_compared_on_is_unknown() -> None:
    files = sorted(FILES.glob("*.yml"))
    assert len(files) > 20
    for path in files:
        problems = Problems()
        lint(load_document(path, problems, None), problems)
        assert [*map(str, problems.items), *map(str, problems.warnings)] == []


def test_a_compose_file_that_is_missing_beside_services_is_an_error_and_so_are_empty_metadata(tmp_path: Path) -> None:
    other = "config/scenarios/002_b/"
    files = {COMPOSE: None, f"{PLACE}compose.yaml": GOOD[COMPOSE], f"{other}docker-compose.yml": GOOD[COMPOSE]}
    called, issues = tried(tmp_path, {**files, f"{other}metadata.yaml": "# name: b\n", f"{other}run_test.sh": "true\n"})
    assert called.code == 2
    assert issues == [
        (
            "config/scenarios/001_a: there is no docker-compose.yml in it "
            "(rename compose.yaml: only docker-compose.yml and docker-compose.yaml are looked for)"
        ),
        f"{other}metadata.yaml: is empty (say at least `name:`, or remove the file)",
    ]


def test_a_broken_test_config_beside_a_script_is_a_warning(tmp_path: Path) -> None:
    called, issues = tried(tmp_path, {f"{PLACE}test_config.json": '{\n  // fine\n  "model": nope\n}'})
    assert (called.code, issues) == (0, []), "the script may make JSON of it first"
    assert called.json["warnings"] == [f"{PLACE}test_config.json:3: is not JSON: Expecting value"]
