import cleanup
from playbook_kernel.api import Deployment
from playbook_kernel.testing import FakeSession, check_cleanup, fake_trial, later, node


def test_a_later_process_lets_the_clocks_go(tmp_path):
    session = FakeSession({"nvidia-smi *": ""}, node=node("n1"))
    trial = fake_trial(tmp_path, {"n1": session})
    list(cleanup.playbook_healthcheck(trial.ctx, Deployment()))
    assert check_cleanup(cleanup, later(trial), kinds=[cleanup.KIND]) == []
    assert session.lines[-1] == "nvidia-smi --reset-gpu-clocks"


def test_what_stays_is_told(tmp_path):
    session = FakeSession({"nvidia-smi --lock*": "", "nvidia-smi --reset*": 4}, node=node("n1"))
    trial = fake_trial(tmp_path, {"n1": session})
    list(cleanup.playbook_healthcheck(trial.ctx, Deployment()))
    [left] = cleanup.playbook_cleanup(trial.ctx, None)
    assert (left.node, left.detail) == ("n1", "status 4")
