import benchmark
from playbook_kernel.api import DriverRef, Scenario
from playbook_kernel.testing import run_campaign


def test_the_time_stands_beside_what_was_measured(tmp_path):
    scenario = Scenario("one", tmp_path, DriverRef("noop"))
    outcome = run_campaign(tmp_path / "results", [scenario], hooks={"wall": benchmark}, installed=True)
    metrics = outcome.result.scenarios[0].last.measurement.metrics
    assert metrics["wall"].unit == "s" and len(metrics) > 1
