import register
from playbook_kernel.api import Probe, Service, State, Target
from playbook_kernel.testing import FakeSession, check_driver, check_hooks, node


class Kept(dict):
    def add(self, name, driver):
        self[name] = driver


def test_each_has_a_limit_of_its_own(tmp_path):
    kept = Kept()
    register.playbook_register(kept)
    assert check_hooks(register) == ["playbook_register"]
    session = FakeSession({"nvidia-smi *": "61\n84\n"}, node=node("n1"))
    target = Target(Service("engine", ("n1",), tmp_path), session.node, "n1", session, State("engine", "running"))
    verdicts = {name: check_driver(probe).check(target).ok for name, probe in kept.items() if issubclass(probe, Probe)}
    assert verdicts == {"cooler-than-70": False, "cooler-than-80": False, "cooler-than-90": True}
