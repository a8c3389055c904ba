import preflight
from playbook_kernel.api import DriverRef, Node, Scenario, Service
from playbook_kernel.testing import run_campaign


def test_a_drained_node_fails_what_needs_it_and_no_more(tmp_path, monkeypatch):
    monkeypatch.setenv("DRAINED_NODES", "gpu3")
    here = DriverRef("local")
    (tmp_path / "compose.yml").write_text("services: {engine: {command: sleep 60}}")
    on_gpu3 = (Service("engine", ("gpu3",), tmp_path / "compose.yml"),)
    scenarios = [
        Scenario("needs", tmp_path, DriverRef("noop"), on_gpu3),
        Scenario("other", tmp_path, DriverRef("noop")),
    ]
    outcome = run_campaign(
        tmp_path / "results", scenarios, nodes=[Node("gpu3", here, composer="process")],
        hooks={"drain": preflight}, installed=True,
    )  # fmt: skip
    assert [(s.status, "drained" in s.reason) for s in outcome.result.scenarios] == [
        ("failed", True),
        ("completed", False),
    ]
