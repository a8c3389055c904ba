"""A whole campaign in this process, over plugins and drivers that a test made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from playbook_kernel.drivers import Driver
from playbook_kernel.engine.campaign import Outcome, RunRequest
from playbook_kernel.engine.campaign import run as run_campaign_plan
from playbook_kernel.engine.plan import make_plan
from playbook_kernel.engine.store import new_run
from playbook_kernel.loading import HookManager, Loader
from playbook_kernel.model import Configuration, DriverRef, Node, PluginPolicy, Policy, Scenario

_QUICK = Policy(wait_between=0, retries=0, retry_interval=0, continue_on_failure=True)


def run_campaign(
    results: Path,
    scenarios: Sequence[Scenario],
    *,
    nodes: Sequence[Node] = (),
    hooks: Mapping[str, object] | None = None,
    drivers: Mapping[str, type[Driver[Any]]] | None = None,
    installed: bool = False,
    policy: Policy = _QUICK,
    reporters: Sequence[DriverRef] = (),
) -> Outcome:
    """Run scenarios in this process, one after the other, and return what came of it.

    ``hooks`` are hook plugins by name and ``drivers`` driver classes by name, on top of what is installed (``installed``)
    or of nothing at all. What is made is under ``results``. Raises ConfigError and PluginError as a real run does,
    before anything is touched.
    """
    loader = Loader() if installed else Loader(discover=_nothing)
    manager = HookManager()
    for name, driver in (drivers or {}).items():
        loader.add(name, driver)
    found = loader.hook_plugins() if installed else {}
    for name, plugin in {**found, **(hooks or {})}.items():
        manager.register(plugin, name)
    manager.hook.playbook_register.call_historic(kwargs={"registry": loader})
    config = Configuration({n.name: n for n in nodes}, tuple(scenarios), policy, PluginPolicy(), tuple(reporters))
    plan = make_plan(config, loader, manager)
    return run_campaign_plan(plan, RunRequest(new_run(results, "test"), in_process=True), manager, loader)


def _nothing(**_: object) -> tuple[Any, ...]:
    return ()
