import event
from playbook_kernel.api import DriverRef, PhaseFailed, Scenario, hookimpl
from playbook_kernel.testing import run_campaign


class Fails:
    @hookimpl
    def playbook_healthcheck(self, ctx):
        if ctx.trial.scenario.name == "bad":
            raise PhaseFailed("too hot")


def test_the_failed_one_is_noted(tmp_path):
    scenarios = [Scenario(name, tmp_path, DriverRef("noop")) for name in ("good", "bad")]
    outcome = run_campaign(tmp_path / "results", scenarios, hooks={"fails": Fails(), "list": event}, installed=True)
    [line] = (outcome.folder / "failed.txt").read_text().splitlines()
    assert line.startswith("bad: ") and "too hot" in line
