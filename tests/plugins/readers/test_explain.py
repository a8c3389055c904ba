"""`config show`: every value that counts, and who said it."""

from playbook_kernel.api import NoOptions
from playbook_plugins.readers.playbook import PlaybookReader

from .reading import ENVIRON, examples, read, small, sources


def explained(root, environ=None, scenarios_dir=None):
    found = PlaybookReader(NoOptions()).explain(sources(root, environ, scenarios_dir))
    return {s.key: (s.value, s.origin.replace(f"{root}/", "")) for s in found}


def test_each_layer_is_named_by_file_and_line(tmp_path):
    root = examples(tmp_path)
    found = explained(root, ENVIRON)
    assert found["scenarios_dir"][1] == "config/scenarios.yaml:2"
    assert found["inter_scenario.retry_count"] == (2, "config/scenarios.yaml:12")
    assert found["nodes.node1.port"] == (22, "config/nodes.yaml:7")
    assert found["nodes.node2.role"] == ("worker", "default")
    engine = "scenario 001_unified: services.engine.health"
    assert found[f"{engine}.grace"] == (30, "scenarios/001_unified/metadata.yaml:22")
    assert found[f"{engine}.interval"] == (10, "config/defaults.yaml:8")
    assert found[f"{engine}.timeout"] == (240, "config/defaults.yaml:4")
    assert found["scenario 002_pd: test_execution.timeout"] == (1800, "config/defaults.yaml:13")
    assert found["scenario 002_pd: test_execution.node"] == ("auto", "scenarios/002_pd/metadata.yml:21")
    assert found["scenario no_number: deployment_timeout"] == (900, "config/scenarios.yaml:19")


def test_the_flag_and_the_strategy_and_the_default_are_named(tmp_path):
    root = small(tmp_path, **{"1_a": "services:\n  - {name: engine, node: local, health_check: {strategy: quick}}\n"})
    found = explained(root, scenarios_dir=root / "config" / "scenarios")
    assert found["scenarios_dir"][1] == "--scenarios-dir"
    grace = found["scenario 1_a: services.engine.health.grace"]
    assert grace == (30, "config/scenarios/1_a/metadata.yaml:2 (strategy)")
    assert found["scenario 1_a: max_concurrent_services"] == (5, "default")
    assert found["inter_scenario.retry_count"] == (1, "default")


def test_values_are_those_that_the_campaign_works_with(tmp_path):
    root = examples(tmp_path)
    found, config = explained(root, ENVIRON), read(root, ENVIRON)
    for scenario in config.config.scenarios:
        for service in scenario.services:
            key = f"scenario {scenario.name}: services.{service.name}"
            assert found[f"{key}.health.timeout"][0] == service.health.timeout
            assert found[f"{key}.nodes"][0] == list(service.nodes)


def test_a_cluster_a_mode_and_an_order_of_services_are_told_where_they_are_said(tmp_path):
    metadata = (
        "collection_mode: detailed\nservices:\n  - {name: a, nodes: [${N:-local}]}\n"
        "  - name: b\n    nodes: [local]\n    depends_on: [a]\n"
    )
    compose = "services: {a: {image: x}, b: {image: x}}\n"
    root = small(tmp_path, files={
        "config/nodes.yaml": "nodes: {local: {host: local}}\n"
            "kubernetes:\n  c1: {host: h, username: u, password: x, enabled: no}\n",
        "config/scenarios/1_a/docker-compose.yml": compose,
    }, **{"1_a": metadata})  # fmt: skip
    found = explained(root)
    assert found["kubernetes.c1.host"] == ("h", "config/nodes.yaml:3")
    assert found["kubernetes.c1.enabled"] == (False, "config/nodes.yaml:3")
    assert not [key for key in found if key.startswith("nodes.c1")]
    place = "config/scenarios/1_a/metadata.yaml"
    assert found["scenario 1_a: collection_mode"] == ("comprehensive", f"{place}:1")
    assert found["scenario 1_a: services.b.after"] == (["a (healthy)"], f"{place}:6")
