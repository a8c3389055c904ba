"""The files of an existing user, unchanged: every key of the earlier tool does what its name says, or says why not."""

import pytest
from playbook_plugins.deployment import retries

from .reading import ENVIRON, examples, read


@pytest.fixture
def existing(tmp_path):
    return read(examples(tmp_path), ENVIRON)


def test_nothing_is_wrong_with_them(existing):
    assert existing.problems == []


def test_o1_variables_are_expanded_in_nodes_and_cannot_change_its_structure(existing):
    node1, node2 = existing.config.nodes["node1"], existing.config.nodes["node2"]
    assert node1.transport.options["password"].reveal() == "s3cret: #1"
    assert node2.transport.options["password"].reveal() == "fallback secret"
    assert node1.transport.options["port"] == 22
    assert node1.transport.options["username"] == "root"


def test_keys_of_nodes(existing):
    node1, node2, node3 = (existing.config.nodes[n] for n in ("node1", "node2", "node3"))
    assert (node1.role, node1.tags, node1.stage_dir, node1.work_dir) == (
        "master",
        ("gpu", "prefill"),
        "/opt/inference",
        "/opt/bench",
    )
    assert (node1.composer, node2.composer) == ("auto", "v1")
    assert (node1.enabled, node3.enabled) == (True, False), "yes and off are booleans, as YAML 1.1 has them"
    assert any("NEVER_SET_PASSWORD is not set; the node is disabled" in w for w in existing.warnings)


def test_what_has_no_effect_is_told_once_each(existing):
    silent = [w for w in existing.warnings if "has no effect" in w or "cannot be switched off" in w]
    assert [w.split(": ")[1] for w in silent] == [
        "monitoring", "file_operations", "progress_display", "system_resources",
        "nodes.node1.results_path", "nodes.node2.env_vars", "artifacts_collection", "deployment.platform",
        "deployment.test_execution.wait_for_all_services",
    ]  # fmt: skip
    assert all(":" in w.split(": ")[0] for w in silent), "each says file:line"


def test_what_works_now_and_did_not_is_noted(existing):
    keys = [n.split(": ")[1] for n in existing.notes]
    assert {"inter_scenario.retry_interval", "notifications", "dependencies", "resource_requirements"} <= set(keys)
    assert len(keys) == len(set(keys))


def test_the_order_is_by_number_then_name_and_others_are_told(existing):
    assert existing.names == ["001_unified", "002_pd", "010_readme", "no_number"]
    assert any("scenarios/001xxxx_test: is no scenario" in w for w in existing.warnings)


def test_between_scenarios(existing):
    policy = existing.config.policy
    assert (policy.wait_between, policy.continue_on_failure, policy.retries, policy.retry_interval) == (
        120, True, 2, 45,
    )  # fmt: skip


def test_o51_one_service_at_a_time_is_possible(existing):
    one = existing["no_number"]
    assert (one.max_concurrent_services, one.max_concurrent_checks) == (1, 7)
    assert one.timeouts.service == 900


def test_retry_and_smart_timeout_by_error_class(existing):
    retry = existing["no_number"].retry
    assert (retry.other, retry.delay) == (4, 11)
    assert retries.timeout(retry, "", 900) == 900, "the first try has the whole time"
    assert [retries.timeout(retry, c, 900) for c in ("network", "image", "start", "health")] == [120, 600, 60, 300]
    assert retries.class_of(retry, "start", "dial tcp: Connection refused") == "network"
    assert retries.class_of(retry, "start", "Error: pull access denied for x") == "image"
    assert retries.class_of(retry, "start", "exited with 1") == "start"


def test_place_a_with_every_key(existing):
    one = existing["001_unified"]
    assert one.tags == ("unified", "8b", "2024")
    assert one.estimated_duration == 3600
    assert one.info["requirements"] == {"min_gpu_memory": 80e9, "min_memory": 64e9, "min_nodes": 1}
    assert one.info["created"] == "2024-11-05"
    (service,) = one.services
    assert service.nodes == ("node1", "node2")
    health = service.health
    assert (health.grace, health.retries, health.interval, health.timeout) == (30, 2, 10, 240)
    assert [(c.probe.use, c.required, c.timeout) for c in service.checks] == [
        ("docker", True, 10.0),
        ("http", False, 5.0),
    ]
    assert service.checks[1].probe.options["expected_status"] == 200
    assert one.benchmark.use == "script"
    assert one.benchmark.options == {
        "script": "bench.sh", "node": "node1", "result_paths": ["/benchmark/results", "out"],
    }  # fmt: skip
    assert one.timeouts.benchmark == 7200
    assert one.collectors[1].options == {"mode": "comprehensive"}, "Detailed is an older word for it"


def test_o9_place_b_and_a_test_at_the_top(existing):
    one = existing["002_pd"]
    assert [s.name for s in one.services] == ["prefill", "decode", "router"]
    router = one.services[2]
    assert [(e.service, e.condition) for e in router.after] == [("prefill", "healthy"), ("decode", "healthy")]
    assert router.health.abort
    assert [(c.probe.use, dict(c.probe.options)) for c in router.checks] == [
        ("script", {"command": ["true"]}),
        ("docker", {"health": True}),
    ]
    assert one.benchmark.options["node"] == "auto"
    assert one.benchmark.options["result_paths"] == ["results"]
    assert one.timeouts.benchmark == 1800, "the rest comes from the defaults file"
    assert one.collectors[1].options == {"mode": "standard"}, "defaults beat scenarios"
    assert one.depends_on == ("001_unified",)
    assert one.env_file.name == "environment.env"
    assert one.services[0].definition.name == "docker-compose.yaml"


def test_o29_node_in_the_singular_places_the_service(existing):
    one = existing["010_readme"]
    assert one.services[0].nodes == ("node1",)
    assert one.timeouts.benchmark == 60, "the older home of test_execution counts beside services at the top"


def test_defaults_fill_in_what_a_service_leaves_open(existing):
    health = existing["no_number"].services[0].health
    assert (health.grace, health.interval, health.retries) == (120, 10, 5)
    assert [c.probe.use for c in existing["no_number"].services[0].checks] == ["docker"], "O4: never nothing at all"


def test_a_token_of_the_scenarios_env_is_a_known_secret(existing):
    from playbook_kernel.api import redact

    assert existing["001_unified"].env_file is not None
    assert redact("the token is hf_abcdefghijklmnop!") == "the token is ***!"


def test_o49_another_config_dir_takes_nothing_from_the_working_directory(tmp_path):
    root = examples(tmp_path)
    (root / "elsewhere").mkdir()
    from playbook_kernel.api import NoOptions, Problems, Sources
    from playbook_plugins.readers.playbook import PlaybookReader

    where = Sources(root / "elsewhere", root / "results", root, root / "scenarios", {})
    config = PlaybookReader(NoOptions()).read(where, Problems())
    assert list(config.nodes) == ["local"]
    assert config.policy.wait_between == 60
