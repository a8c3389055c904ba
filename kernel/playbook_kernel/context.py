"""What a plugin may touch while a campaign runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from attrs import define, field, frozen

from .drivers import Driver
from .model import Configuration, DriverRef, Event, Fact, Node, Trial
from .session import Session

if TYPE_CHECKING:
    import structlog

D = TypeVar("D", bound=Driver[Any])


class Build(Protocol):
    """Makes a driver of a kind, by its name and with its options."""

    def __call__(self, kind: Callable[[Any], D], ref: DriverRef, /) -> D:
        """Raises DriverNotFound, DriverConflict or ConfigError.

        ``kind`` is the class of the kind, such as ``Benchmark``.
        """


@frozen
class Effect:
    """Something that was, or is about to be, changed outside this process, as the journal has it.

    ``kind`` names who knows how to undo it (``compose``, ``file``, ``process``, ...), ``data`` is what undoing needs:
    JSON, no secrets. ``state``: ``intended`` (may or may not have happened), ``done`` or ``undone``.
    """

    id: int
    kind: str
    node: str
    data: Mapping[str, Any] = field(factory=dict)
    state: str = "intended"


class Effects(Protocol):
    """The journal, as a trial sees it."""

    def intend(self, kind: str, node: str, **data: Fact) -> Effect:
        """Record that something is about to be done; returns once that is on disk. Only then do it."""

    def done(self, effect: Effect, **data: Fact) -> None:
        """Record that it was done, with what was learned (ids)."""

    def undone(self, effect: Effect) -> None:
        """Record that it was undone, and verified to be."""

    def open(self, kind: str | None = None, node: str | None = None) -> Sequence[Effect]:
        """Every effect of this trial that is not known to be undone, newest first."""


class Sessions(Protocol):
    """The nodes' sessions, opened when first asked for and shared by all."""

    def __call__(self, node: str) -> Session:
        """The session of a node; ``local`` is always one: this machine.

        Raises Unreachable, HostKeyRejected, AuthenticationFailed, or KeyError.
        """


@define(eq=False)
class TrialContext:
    """Handed to every lifecycle hook of one trial, in the trial's own process.

    ``nodes``: those that the trial uses, by name; ``facts``: what discovery found, by node. ``directory``: the trial's
    folder in the results; everything that is to be kept goes there. ``stash``: for plugins to keep things from one hook
    to the next, keyed by their own name. ``emergency``: this process only cleans up after one that died. ``began``: when
    the trial began, Unix seconds.
    """

    run: str
    trial: Trial
    nodes: Mapping[str, Node]
    directory: Path
    session: Sessions
    effects: Effects
    emit: Callable[[Event], None] = field(repr=False)
    build: Build = field(repr=False)
    log: structlog.stdlib.BoundLogger = field(repr=False)
    facts: MutableMapping[str, dict[str, Fact]] = field(factory=dict)
    stash: MutableMapping[str, Any] = field(factory=dict, repr=False)
    emergency: bool = False
    began: float = field(factory=time.time)

    def warn(self, message: str, node: str = "") -> None:
        """Tell the user something that fails nothing; it is in the log, on the screen and in the report."""
        from .model import Warned

        self.emit(Warned(message, node, trial=self.trial.id, scenario=self.trial.scenario.name))


@define(eq=False)
class CampaignContext:
    """Handed to hooks that run in the parent.

    ``folder``: the run's folder; while a plan is made there is none yet, and ``run`` is empty. ``reporters``: those that
    are configured. ``warn`` tells the user something that fails nothing.
    """

    run: str
    folder: Path
    nodes: Mapping[str, Node]
    log: structlog.stdlib.BoundLogger = field(repr=False)
    build: Build = field(repr=False)
    reporters: Sequence[DriverRef] = ()
    warn: Callable[[str], None] = field(default=lambda _message: None, repr=False)


@define(eq=False)
class CommandContext:
    """Handed to commands of plugins: ``ctx.obj["context"]()`` of a click command makes one.

    That reads the user's files, and raises ConfigError with all that is wrong with them. ``echo_json`` prints a value
    as JSON on stdout, ``table`` a head and rows as columns; neither shows secrets.
    """

    config: Configuration
    build: Build = field(repr=False)
    echo_json: Callable[[object], None] = field(repr=False)
    table: Callable[[Sequence[str], Sequence[Sequence[object]]], None] = field(repr=False)
