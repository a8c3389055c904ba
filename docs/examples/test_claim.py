from types import SimpleNamespace

import claim
import pytest
from playbook_kernel.api import CampaignContext, NodeInUse
from playbook_kernel.testing import FakeSession, node


def asked(tmp_path, *sessions):
    """The hook's answer in a campaign whose nodes are these."""
    nodes = {session.node.name: session for session in sessions}
    transport = SimpleNamespace(connect=lambda node: nodes[node.name])
    ctx = CampaignContext("20260101_all", tmp_path, {}, log=None, build=lambda kind, ref: transport)
    return claim.playbook_claim(ctx, [session.node for session in sessions])


def test_it_takes_and_gives_back(tmp_path):
    session = FakeSession({"mkdir *": "", "rm *": ""}, node=node("n1"))
    give_back = asked(tmp_path, session)
    assert session.files[f"{claim.LOCK}/owner"] == b"20260101_all"
    give_back()
    assert session.lines[-1] == f"rm -rf {claim.LOCK}"


def test_somebody_elses_is_respected_and_nothing_is_kept_meanwhile(tmp_path):
    free = FakeSession({"mkdir *": "", "rm *": ""}, node=node("n1"))
    taken = FakeSession({"mkdir *": 1, "cat *": "nightly-training"}, node=node("n2"))
    with pytest.raises(NodeInUse, match="nightly-training"):
        asked(tmp_path, free, taken)
    assert free.lines[-1] == f"rm -rf {claim.LOCK}"
    assert taken.lines[-1].startswith("cat")
