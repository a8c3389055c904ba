import healthcheck
from playbook_kernel.api import Deployment
from playbook_kernel.testing import FakeSession, fake_trial, node


def test_a_busy_node_is_not_fit(tmp_path):
    sessions = {n: FakeSession({"nvidia-smi *": used}, node=node(n)) for n, used in (("n1", "0\n2"), ("n2", "97\n0"))}
    verdicts = healthcheck.playbook_healthcheck(fake_trial(tmp_path, sessions).ctx, Deployment())
    assert [(h.node, h.ok) for h in verdicts] == [("n1", True), ("n2", False)]
