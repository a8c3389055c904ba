import collect
from playbook_kernel.api import Warned
from playbook_kernel.testing import FakeSession, Said, fake_trial, node


def test_one_is_kept_and_the_other_is_told(tmp_path):
    good = FakeSession({"dmesg *": "NVRM: Xid 79\n"}, node=node("n1"))
    bad = FakeSession({"dmesg *": Said(stderr="not permitted", status=1)}, node=node("n2"))
    trial = fake_trial(tmp_path, {"n1": good, "n2": bad})
    [kept] = collect.playbook_collect(trial.ctx, None)
    assert (trial.ctx.directory / kept.path).read_text() == "NVRM: Xid 79\n"
    assert [w.node for w in trial.of(Warned)] == ["n2"]
