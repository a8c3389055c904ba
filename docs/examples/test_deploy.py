import deploy
from playbook_kernel.testing import fake_trial


def test_the_address_is_that_of_the_environment(tmp_path, monkeypatch):
    ctx = fake_trial(tmp_path).ctx
    assert deploy.playbook_deploy(ctx, ctx.trial.scenario) is None
    monkeypatch.setenv("ENGINE_URL", "http://10.0.0.5:8000")
    made = deploy.playbook_deploy(ctx, ctx.trial.scenario)
    assert made.endpoints["engine"].url == "http://10.0.0.5:8000"
