"""Measures an engine that somebody else runs: ``ENGINE_URL=http://10.0.0.5:8000``. Nothing is deployed."""

import os

from playbook_kernel.api import Deployment, Endpoint, Instance, Scenario, TrialContext, hookimpl


@hookimpl
def playbook_deploy(ctx: TrialContext, scenario: Scenario) -> Deployment | None:
    """The first answer counts; None leaves the deploying to the plugins after this one."""
    url = os.environ.get("ENGINE_URL")
    if not url:
        return None
    return Deployment((Instance("engine", "local", "ready"),), {"engine": Endpoint(url)})
