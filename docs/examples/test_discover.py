import discover
from playbook_kernel.testing import FakeSession, fake_trial, node


def test_what_it_finds(tmp_path):
    gpus = FakeSession({"nvidia-smi *": "570.1\n570.1\n"}, node=node("n1"))
    none = FakeSession({"nvidia-smi *": 127}, node=node("n2"))
    ctx = fake_trial(tmp_path, {"n1": gpus, "n2": none}).ctx
    assert discover.playbook_discover(ctx, gpus.node, gpus) == {"site.driver": "570.1"}
    assert discover.playbook_discover(ctx, none.node, none) is None
