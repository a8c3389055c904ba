"""The lifecycle, as hooks. To offer one more named thing (a benchmark, a reporter) write a driver instead.

=====================  ==================================  ============================================
hook                   called                              for
=====================  ==================================  ============================================
playbook_register      historic                            drivers made in code
playbook_plan          each in turn, in the parent         filter, reorder, repeat, sweep
playbook_preflight     all, in the parent; merged          which nodes cannot serve now, and why
playbook_claim         all, in the parent                  keep other campaigns off the nodes
playbook_discover      all, per node; merged               facts of a node
playbook_deploy        first result                        bring the services up
playbook_healthcheck   all; every verdict must be good     fit to be measured?
playbook_benchmark     first result; wrappers welcome      measure
playbook_collect       isolated; after failure too         bring evidence home
playbook_cleanup       isolated; always                    undo, and say what could not be undone
playbook_event         isolated, in the parent             watch
playbook_report        isolated, in the parent             write reports
=====================  ==================================  ============================================

*Isolated*: each implementation is called by itself, whatever the others raise, and cannot be wrapped. An exception
carries the name of the plugin it came from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pluggy

from .model import PHASES

if TYPE_CHECKING:
    from .context import CampaignContext, TrialContext
    from .drivers import Driver
    from .model import (
        Artifact,
        CampaignResult,
        Deployment,
        Event,
        Fact,
        Health,
        Load,
        Measurement,
        Node,
        Residue,
        Scenario,
    )
    from .session import Session

PROJECT = "playbook"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
"""Marks a function as one of a plugin's hooks."""


class Registry(Protocol):
    """Where ``playbook_register`` puts drivers that are made in code."""

    def add(self, name: str, driver: type[Driver[Any]]) -> None:
        """Offer a driver class under a name, in the group of its kind. Raises DriverConflict if it is taken."""


@hookspec(historic=True)
def playbook_register(registry: Registry) -> None:
    """Offer drivers that are made in code rather than named by entry points.

    Called once per process for every plugin, also for those that are registered later.

    .. versionadded:: 0.1
    """


@hookspec
def playbook_plan(ctx: CampaignContext, scenarios: Sequence[Scenario]) -> Sequence[Scenario] | None:
    """Return another sequence of scenarios: filtered, reordered, repeated or swept; None leaves it as it is.

    Each implementation gets what the one before it returned. Runs in the parent before anything is touched.

    .. versionadded:: 0.1
    """


@hookspec
def playbook_preflight(
    ctx: CampaignContext, nodes: Sequence[Node], scenarios: Sequence[Scenario]
) -> Mapping[str, str] | None:
    """Say which of these nodes cannot serve now, and why, by name: scenarios that need one fail without a trial.

    Called in the parent before the first trial, with every node that ``scenarios`` use; and again with a node that could
    not serve, or that a trial failed on, before its next use. Answers are merged. Must change nothing on a node.

    .. versionadded:: 0.1
    """


@hookspec
def playbook_claim(ctx: CampaignContext, nodes: Sequence[Node]) -> Callable[[], None] | None:
    """Keep other campaigns off these nodes, all of them or none, while this process lives; return what gives them back.

    Called in the parent before anything is changed, and again every few seconds while another campaign has a node and the
    user waits for it. Must change nothing else. Raises NodeInUse.

    .. versionadded:: 0.1
    """


@hookspec
def playbook_discover(ctx: TrialContext, node: Node, session: Session) -> Mapping[str, Fact] | None:
    """Say what is true of a node: its engine, its accelerators, its disk.

    Called once for each node, for several nodes at once. The mappings of all plugins are merged; two plugins that state
    different things under one key are an error. Must change nothing on the node.

    .. versionadded:: 0.1
    """


@hookspec(firstresult=True)
def playbook_deploy(ctx: TrialContext, scenario: Scenario) -> Deployment | None:
    """Bring the scenario's services up, in order, and return once all are ready. None leaves it to another plugin.

    Every effect must be announced through ``ctx.effects.intend`` before it is made, so that cleanup finds it even if
    this process dies.

    .. versionadded:: 0.1
    """


@hookspec
def playbook_healthcheck(ctx: TrialContext, deployment: Deployment) -> Health | Iterable[Health] | None:
    """Say whether the deployment is fit to be measured. Every verdict of every plugin must be good.

    .. versionadded:: 0.1
    """


@hookspec(firstresult=True)
def playbook_benchmark(ctx: TrialContext, deployment: Deployment, load: Load) -> Measurement | None:
    """Measure one load. Wrap it (``wrapper=True``) to act around every measurement.

    .. versionadded:: 0.1
    """


@hookspec
def playbook_collect(ctx: TrialContext, deployment: Deployment | None) -> Iterable[Artifact] | None:
    """Bring evidence home. Runs even when a phase before it failed; calls are isolated.

    ``deployment`` is None when the deploy phase did not complete.

    .. versionadded:: 0.1
    """


@hookspec
def playbook_cleanup(ctx: TrialContext, deployment: Deployment | None) -> Iterable[Residue] | None:
    """Undo what you did, verify that it is undone, and return what is left (an empty answer: nothing).

    Always runs, every plugin's, whatever the others raise; also in a later process (``ctx.emergency``), which has
    nothing but ``ctx.effects``.

    .. versionadded:: 0.1
    """


@hookspec
def playbook_event(ctx: CampaignContext, event: Event) -> None:
    """Watch what happens. Runs in the parent, in order; calls are isolated and must be quick.

    .. versionadded:: 0.1
    """


@hookspec
def playbook_report(ctx: CampaignContext, result: CampaignResult) -> Iterable[Path] | None:
    """Write reports and return the files, the one to open first. Runs in the parent; calls are isolated.

    .. versionadded:: 0.1
    """


LIFECYCLE = frozenset(f"playbook_{phase}" for phase in PHASES)
"""Hooks that run in a trial's own process."""

HOOKS = tuple(name for name in globals() if name.startswith("playbook_"))
"""Every hook, in the order of a campaign."""

ISOLATED = frozenset({"playbook_collect", "playbook_cleanup", "playbook_event", "playbook_report"})
"""Hooks whose implementations are called one by one, so that one failure stops no other."""
