"""Faults of one service: killed, stopped, held still, restarted; whatever brings it up knows how."""

from __future__ import annotations

import difflib
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar

from playbook_kernel.api import (
    Composer,
    Deployment,
    Fault,
    PhaseFailed,
    Scenario,
    Session,
    Share,
    State,
    TrialContext,
    Wound,
    current,
    frozen,
)

from playbook_plugins.deployment import composer_for, share_for

_PATIENCE, _PAUSE = 10.0, 0.1


@frozen
class Options:
    """``service``: which one; ``name@node`` is only that on one node, ``name`` those on all."""

    service: str


def places(service: str, scenario: Scenario) -> list[tuple[str, str]]:
    """The instances, (service, node), that a name means; none if there is no such service.

    >>> places("x", Scenario("s", Path(), DriverRef("noop")))
    []
    """
    name, _, wanted = service.partition("@")
    return [(s.name, n) for s in scenario.services if s.name == name for n in s.nodes if wanted in ("", n)]


def missing(service: str, scenario: Scenario) -> str:
    """What is wrong with the name of a service, if anything is."""
    if places(service, scenario):
        return ""
    known = [n for s in scenario.services for n in (s.name, *(f"{s.name}@{node}" for node in s.nodes))]
    near = difflib.get_close_matches(service, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(known) or 'none'}"
    return f"there is no service {service!r}; {hint}"


class _OfService(Fault[Options]):
    """Common to all of them. ``done``: the word for what was done; ``down``: whether the service is out of order then."""

    done: ClassVar[str]
    down: ClassVar[bool] = True

    def check(self, scenario: Scenario) -> Sequence[str]:
        said = missing(self.options.service, scenario)
        return [f"service: {said}"] if said else []

    def fit(self, ctx: TrialContext) -> str | None:
        if type(self).strike not in (Kill.strike, Pause.strike):
            return None
        for _, node in places(self.options.service, ctx.trial.scenario):
            if type(composer_for(ctx, node)).disturb is Composer.disturb:
                return f"{node}: composer {ctx.facts[node].get('composer')} has no way to do that"
        return None

    def plan(self, ctx: TrialContext, deployment: Deployment) -> Sequence[Wound]:
        found = places(self.options.service, ctx.trial.scenario)
        return [Wound(n, f"{s} on {n} {self.done}", s if self.down else "", {"instance": s}) for s, n in found]

    @abstractmethod
    def strike(self, ctx: TrialContext, wound: Wound) -> None: ...

    def heal(self, ctx: TrialContext, wound: Wound) -> None:
        """Started again."""
        composer, session, share, service = _at(ctx, wound)
        if composer.states(session, share)[service].status != "running":
            composer.start(ctx, session, share, service)
        _until(ctx, wound, lambda s: s.status == "running", "does not run again")

    def undo(self, ctx: TrialContext, wound: Wound) -> None:
        """Nothing: a service that is down is taken down with the others."""


class Kill(_OfService):
    """Kills all that a service runs, as a crash would; ``for`` that long, then it is started again."""

    done = "killed"

    def strike(self, ctx: TrialContext, wound: Wound) -> None:
        composer, session, share, service = _at(ctx, wound)
        composer.disturb(session, share, service, "kill")
        _until(ctx, wound, lambda s: s.status not in ("running", "paused"), "still runs")


class Stop(_OfService):
    """Stops a service as an operator would; ``for`` that long, then it is started again."""

    done = "stopped"

    def strike(self, ctx: TrialContext, wound: Wound) -> None:
        composer, session, share, service = _at(ctx, wound)
        composer.stop(ctx, session, share, service)
        _until(ctx, wound, lambda s: s.status not in ("running", "paused"), "still runs")


class Restart(_OfService):
    """Stops a service and starts it at once."""

    done = "restarted"
    down = False

    def strike(self, ctx: TrialContext, wound: Wound) -> None:
        composer, session, share, service = _at(ctx, wound)
        composer.stop(ctx, session, share, service)
        _until(ctx, wound, lambda s: s.status not in ("running", "paused"), "still runs")
        super().heal(ctx, wound)

    def heal(self, ctx: TrialContext, wound: Wound) -> None:
        """It was started by the fault itself."""


class Pause(_OfService):
    """Holds a service still: it keeps its connections and its memory, and does nothing, as if it hung."""

    done = "paused"

    def strike(self, ctx: TrialContext, wound: Wound) -> None:
        composer, session, share, service = _at(ctx, wound)
        composer.disturb(session, share, service, "pause")

    def heal(self, ctx: TrialContext, wound: Wound) -> None:
        composer, session, share, service = _at(ctx, wound)
        composer.disturb(session, share, service, "resume")
        _until(ctx, wound, lambda s: s.status != "paused", "is still paused")

    def undo(self, ctx: TrialContext, wound: Wound) -> None:
        self.heal(ctx, wound)


def _at(ctx: TrialContext, wound: Wound) -> tuple[Composer[object], Session, Share, str]:
    service = str(wound.data["instance"])
    return composer_for(ctx, wound.node), ctx.session(wound.node), share_for(ctx, wound.node), service


def _until(ctx: TrialContext, wound: Wound, good: Callable[[State], bool], otherwise: str) -> None:
    """See that it is so: a command that was carried out is no proof."""
    composer, session, share, service = _at(ctx, wound)
    for _ in range(round(_PATIENCE / _PAUSE)):
        if good(composer.states(session, share)[service]):
            return
        current().sleep(_PAUSE)
    raise PhaseFailed(f"{service} on {wound.node} {otherwise}")
