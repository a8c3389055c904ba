"""One scenario: placement, health strategies, collection, benchmark, requirements, and what can be wrong."""

import pytest

from .reading import read, small

TWO = "nodes:\n  a: {host: local, composer: process}\n  b: {host: local, composer: process}\n"


def one(root, metadata, files=None):
    return read(small(root, files, **{"1_a": metadata}))


def test_without_placement_everything_goes_to_the_one_enabled_node(tmp_path):
    compose = "services:\n  x: {command: [a]}\n  y: {command: [b], depends_on: [x]}\n"
    found = one(tmp_path, "", {"config/scenarios/1_a/docker-compose.yml": compose})
    assert found.problems == []
    assert [(s.name, s.nodes) for s in found["1_a"].services] == [("x", ("local",)), ("y", ("local",))]


def test_without_placement_on_several_nodes_there_must_be_one(tmp_path):
    found = one(tmp_path, "name: a\n", {"config/nodes.yaml": TWO})
    (problem,) = found.problems
    assert problem.startswith("config/scenarios/1_a/metadata.yaml:1: services: nothing says which node each service")
    unplaced = one(tmp_path, "services:\n  - name: engine\n", {"config/nodes.yaml": TWO})
    assert "'engine' is placed on no node" in unplaced.problems[0]


@pytest.mark.parametrize("nodes", ["nodes: [a]", "nodes: a", "node: a", "node: [a]", "nodes: [a]\n    node: a"])
def test_every_way_to_say_the_node(tmp_path, nodes):
    found = one(tmp_path, f"services:\n  - name: engine\n    {nodes}\n", {"config/nodes.yaml": TWO})
    assert found.problems == []
    assert found["1_a"].services[0].nodes == ("a",)


@pytest.mark.parametrize(
    ("metadata", "line", "key", "message"),
    [
        ("services:\n  - name: engine\n    nodes: [c]\n", 3, "services[0].nodes", "there is no node 'c'"),
        ("services:\n  - name: engine\n    nodes: [a]\n    node: b\n", 4, "services[0].node", "different things"),
        ("services:\n  - name: enigne\n    node: a\n", 2, "services[0].name", "there is no service 'enigne'"),
        ("services:\n  - name: engine\n    node: a\n    depends_on: [x]\n", 4, "services[0].depends_on", "'x'"),
        ("services:\n  - name: engine\n    node: a\n    helth_check: {}\n", 4, "services[0]", "did you mean 'health_check'"),
        ("services:\n  - name: engine\n    node: a\n    compose_file: ../x.yml\n", 4, "services[0].compose_file", "leads out"),
        ("services:\n  - name: engine\n    node: a\n    compose_file: x.yml\n", 4, "services[0].compose_file", "no file"),
        ("services: engine\n", 1, "services", "expected a list"),
        ("services:\n  - name: engine\n    node: a\n  - name: engine\n    node: b\n", 4, "services[1].name", "comes twice"),
        ("services:\n  - name: engine\n    node: a\ntest_execution: {node: gone}\n", 4, "test_execution.node", "no node"),
        ("services:\n  - name: engine\n    node: a\ntest_execution:\n  timeout: soon\n", 5, "test_execution.timeout", "a number"),
        ("services:\n  - name: engine\n    node: a\ntest_execution: {timeout: 0}\n", 4, "test_execution.timeout", "above 0"),
        (
            "services:\n  - name: engine\n    node: a\n    health_check: {max_retries: -1}\n",
            4, "services[0].health_check.max_retries", "at least 0",
        ),
        ("services:\n  - name: engine\n    node: a\ncollection_mode: everything\n", 4, "collection_mode", "unknown mode"),
        (
            "services:\n  - name: engine\n    node: a\nresource_requirements: {min_nodes: 3}\n",
            4, "resource_requirements.min_nodes", "3 are needed, 2 enabled",
        ),
        (
            "services:\n  - name: engine\n    node: a\nresource_requirements: {min_gpu_memory: big}\n",
            4, "resource_requirements.min_gpu_memory", "80GiB",
        ),
        (
            "services:\n  - name: engine\n    node: a\n    kubectl: {steps: [{manifest: m.yaml}]}\n",
            4, "services[0].kubectl", "'a' is no cluster",
        ),
    ],
)  # fmt: skip
def test_o28_a_mistake_is_one_problem_with_its_line_and_key(tmp_path, metadata, line, key, message):
    found = one(tmp_path, metadata, {"config/nodes.yaml": TWO})
    assert len(found.problems) == 1, found.problems
    assert found.problems[0].startswith(f"config/scenarios/1_a/metadata.yaml:{line}: {key}")
    assert message in found.problems[0]


def test_a_circle_of_services_is_told_as_one(tmp_path):
    metadata = "services:\n  - {name: x, node: local, depends_on: [y]}\n  - {name: y, node: local, depends_on: [x]}\n"
    compose = {"config/scenarios/1_a/docker-compose.yml": "services:\n  x: {command: [a]}\n  y: {command: [b]}\n"}
    found = one(tmp_path, metadata, compose)
    assert any("wait for one another: x -> y -> x" in p for p in found.problems)


def test_both_forms_of_metadata(tmp_path):
    yml = {"config/scenarios/1_a/metadata.yml": "name: first\n"}
    found = one(tmp_path / "x", "name: second\n", yml)
    assert found.problems == []
    assert found["1_a"].info["title"] == "first"
    assert any("metadata.yaml: is not read" in w for w in found.warnings)
    toml = {"config/scenarios/1_a/metadata.toml": 'name = "third"\n'}
    assert "metadata.toml: metadata.yaml is there too" in one(tmp_path / "y", "name: second\n", toml).problems[0]


def test_toml_says_the_same(tmp_path):
    toml = 'tags = ["t"]\n[[services]]\nname = "engine"\nnode = "local"\n[test_execution]\ntimeout = 7\n'
    found = one(tmp_path, "", {"config/scenarios/1_a/metadata.toml": toml})
    assert found.problems == []
    assert (found["1_a"].tags, found["1_a"].timeouts.benchmark) == (("t",), 7)


STRATEGIES = {
    "quick": (30, 5, 2), "minimal": (30, 5, 2), "basic": (30, 5, 2), "Standard": (90, 15, 3), "kubernetes": (90, 15, 3),
    "thorough": (180, 15, 8), "comprehensive": (180, 15, 8), "home-made": (90, 15, 3),
}  # fmt: skip


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_strategies_preset_what_is_left_open(tmp_path, strategy):
    text = "services:\n  - name: engine\n    node: local\n    health_check: {strategy: %s%s}\n"
    preset = one(tmp_path, text % (strategy, ""))
    health = preset["1_a"].services[0].health
    assert (health.grace, health.interval, health.retries) == STRATEGIES[strategy]
    assert any("'home-made' is not known" in w for w in preset.warnings) == (strategy == "home-made")
    given = one(tmp_path, text % (strategy, ", max_retries: 0"))["1_a"].services[0].health
    assert (given.grace, given.retries) == (STRATEGIES[strategy][0], 0), "a key that is given beats its preset"


def health(root, text, files=None):
    return one(root, f"services:\n  - name: engine\n    node: local\n    health_check: {text}\n", files)[
        "1_a"
    ].services[0]


def test_health_keys(tmp_path):
    assert not health(tmp_path, "{enabled: false}").checks
    assert not health(tmp_path, "{enabled: off}").health.enabled
    assert health(tmp_path, "{failure_action: abort}").health.abort
    skip = health(tmp_path, "{failure_action: skip, checks: [{type: http, url: 'http://localhost:1/'}]}")
    assert [c.required for c in skip.checks] == [False], "skip: what fails is told, and stops nothing"
    assert health(tmp_path, "{check_interval: 3}").health.interval == 3
    assert health(tmp_path, "{check_interval: 3, retry_delay: 4}").health.interval == 4, "as the earlier tool waited"
    late = health(tmp_path, "{startup_grace_period: 500, startup_timeout: 10}").health
    assert late.timeout > late.grace, "a grace period longer than the bound does not mean that nothing is checked"


def test_a_default_check_is_blamed_on_the_defaults_file(tmp_path):
    bad = {"config/defaults.yaml": "service_health_check:\n  checks:\n    - {type: http_endpoint, timeout: -1}\n"}
    assert one(tmp_path, "", bad).problems == [
        "config/defaults.yaml:3: service_health_check.checks[0].timeout: expected seconds above 0, got -1"
    ]


@pytest.mark.parametrize(
    ("said", "mode"),
    [
        ("basic", None), ("minimal", None), ("standard", "standard"), ("COMPREHENSIVE", "comprehensive"),
        ("detailed", "comprehensive"), ("full", "comprehensive"), (None, "standard"),
    ],
)  # fmt: skip
def test_collection_modes(tmp_path, said, mode):
    found = one(tmp_path, f"test_execution: {{collection_mode: {said}}}\n" if said else "")
    collectors = {c.use: c.options for c in found["1_a"].collectors}
    assert collectors.get("logs") == (None if mode is None else {"mode": mode})
    assert "artifacts" in collectors


def test_three_services_are_collected_comprehensively(tmp_path):
    compose = "services:\n" + "".join(f"  s{n}: {{command: [a]}}\n" for n in range(3))
    found = one(tmp_path, "", {"config/scenarios/1_a/docker-compose.yml": compose})
    assert found["1_a"].collectors[1].options == {"mode": "comprehensive"}


def test_what_is_run(tmp_path):
    chosen = one(tmp_path / "1", "benchmark: {use: noop}\nload: {concurrency: 4}\n")["1_a"]
    assert (chosen.benchmark.use, chosen.load.concurrency) == ("noop", 4)
    named = one(tmp_path / "2", "test_execution: {script: mine.py}\n")["1_a"]
    assert named.benchmark.options["script"] == "mine.py"
    config = small(tmp_path / "3", {"config/scenarios/1_a/test_config.json": "{}"}, **{"1_a": ""})
    (config / "config/scenarios/1_a/run_test.sh").unlink()
    assert read(config)["1_a"].benchmark.use == "aicp"
    (config / "config/scenarios/1_a/test_config.json").unlink()
    assert "nothing to run" in read(config).problems[0]


def test_lines_of_an_env_file_that_only_compose_understands_are_no_problem(tmp_path):
    found = one(tmp_path, "", {"config/scenarios/1_a/.env": "A=1\nHOME\nexport B='2'\n"})
    assert found.problems == []
    assert any(".env:2" in w for w in found.warnings)


def test_o13_a_key_file_must_be_there_unless_there_is_a_password(tmp_path):
    def nodes(more):
        return {"config/nodes.yaml": f"nodes:\n  local: {{host: h, username: u, key_filename: /nowhere/key{more}}}\n"}

    alone = one(tmp_path, "", nodes(""))
    assert alone.problems == ["config/nodes.yaml:2: nodes.local.key_filename: there is no file /nowhere/key"]
    beside = one(tmp_path, "", nodes(", password: abcd"))
    assert beside.problems == []
    assert "key_filename" not in beside.config.nodes["local"].transport.options
    assert any("the password is used" in w for w in beside.warnings)


def test_a_password_in_the_file_is_noted(tmp_path):
    nodes = "nodes:\n  local: {host: h, username: u, password: abcdefgh}\n"
    (note,) = [n for n in one(tmp_path, "", {"config/nodes.yaml": nodes}).notes if "nodes" in n]
    assert "stands in the file" in note
    assert "abcdefgh" not in note


def test_a_compose_file_is_read_once_however_many_ask(tmp_path):
    from playbook_kernel.engine.plan import make_plan
    from playbook_kernel.loading import Loader
    from playbook_plugins import compose_file

    nodes = "nodes:\n" + "".join(f"  n{n}: {{host: h, username: u, docker_compose_version: v2}}\n" for n in range(9))
    metadata = f"services: [{{name: engine, nodes: [{', '.join(f'n{n}' for n in range(9))}]}}]\n"
    compose = {"config/scenarios/1_a/docker-compose.yml": "services:\n  engine: {image: example}\n"}
    before = compose_file._read.cache_info().misses
    found = one(tmp_path, metadata, {"config/nodes.yaml": nodes, **compose})
    assert found.problems == []
    make_plan(found.config, Loader())
    assert compose_file._read.cache_info().misses - before == 1


def test_a_compose_file_that_changed_is_read_again(tmp_path):
    root = small(tmp_path, **{"1_a": ""})
    assert [s.name for s in read(root)["1_a"].services] == ["engine"]
    (root / "config/scenarios/1_a/docker-compose.yml").write_text("services:\n  other: {command: [a]}\n")
    assert [s.name for s in read(root)["1_a"].services] == ["other"]


@pytest.mark.parametrize("text", ["benchmark: noop", "benchmark: {use: noop}"])
def test_the_name_of_a_benchmark_will_do(tmp_path, text):
    found = one(tmp_path, f"{text}\n")
    assert found.problems == []
    assert found["1_a"].benchmark.use == "noop"


def test_a_benchmark_of_another_shape_is_told(tmp_path):
    (problem,) = one(tmp_path, "benchmark: [noop]\n").problems
    assert problem == "config/scenarios/1_a/metadata.yaml:1: benchmark: expected a text or a mapping, got ['noop']"


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("inter_scenario: {wait_between_scenarios: -1}\n", "1: inter_scenario.wait_between_scenarios", "at least 0"),
        (
            "execution_config:\n  concurrent_deployment:\n    max_concurrent_services: 0\n",
            "3: execution_config.concurrent_deployment.max_concurrent_services", "at least 1",
        ),
        (
            "execution_config:\n  retry_strategy:\n    by_error_class: {imgae: 1}\n",
            "3: execution_config.retry_strategy.by_error_class.imgae", "did you mean 'image'?",
        ),
        (
            "execution_config: {retry_strategy: {smart_timeout: {error_patterns: {disk: [full]}}}}\n",
            "1: execution_config.retry_strategy.smart_timeout.error_patterns.disk", "known: network_error",
        ),
    ],
)  # fmt: skip
def test_numbers_and_names_out_of_range(tmp_path, text, place, words):
    (problem,) = one(tmp_path, "", {"config/scenarios.yaml": text}).problems
    assert problem.startswith(f"config/scenarios.yaml:{place}: ")
    assert words in problem


def test_options_of_a_driver_are_its_own_business(tmp_path):
    assert one(tmp_path, "benchmark: {use: noop, options: {timeout: -5}}\n").problems == []


def test_a_cluster_names_the_package_that_is_missing(tmp_path, monkeypatch):
    from playbook_plugins.readers import nodes

    files = {"config/nodes.yaml": "kubernetes:\n  k8s: {host: localhost, username: u, transport: local}\n"}
    for installed, told in (({"process"}, 1), ({"process", "kubernetes"}, 0)):
        monkeypatch.setattr(nodes, "_composers", lambda installed=installed: frozenset(installed))
        warnings = [w for w in one(tmp_path, "", files).warnings if "playbook-deploy-kubernetes" in str(w)]
        assert len(warnings) == told, warnings


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("min_memory_gb: 2048", {"min_memory": 2048e9}),  # the key's name says GB, however many
        ("min_memory_gb: 1.5", {"min_memory": 1.5e9}),
        ("min_memory_gb: 64GiB", {"min_memory": 64 * 2**30}),
        ("min_gpu_memory: 24576", {"min_gpu_memory": 24576e6}),
        ("min_gpu_memory: 80", {"min_gpu_memory": 80e9}),
    ],
)
def test_what_a_size_without_a_unit_means(tmp_path, said, meant):
    found = one(tmp_path, f"services: [{{name: engine, node: local}}]\nresource_requirements: {{{said}}}\n")
    assert found.problems == []
    assert found["1_a"].info["requirements"] == meant
