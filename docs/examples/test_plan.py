import plan
from playbook_kernel.api import DriverRef, Scenario
from playbook_kernel.testing import run_campaign


def test_the_shortest_comes_first_and_the_night_is_not_exceeded(tmp_path):
    hours = {"long": 5, "short": 1, "middle": 3}
    scenarios = [Scenario(n, tmp_path, DriverRef("noop"), estimated_duration=h * 3600.0) for n, h in hours.items()]
    outcome = run_campaign(tmp_path / "results", scenarios, hooks={"night": plan}, installed=True)
    assert [s.scenario for s in outcome.result.scenarios] == ["short", "middle"]
