"""Plugins in the campaign's own process: none can hold it. One that does not come back is named, and left out from then on."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from typing import Any

from attrs import define, field

from playbook_kernel import logs
from playbook_kernel.context import CampaignContext
from playbook_kernel.errors import Cancelled, NodeInUse, PluginTimeout, words
from playbook_kernel.loading import HookManager
from playbook_kernel.model import Event, Output, Progress
from playbook_kernel.scope import Cancel, Hand, outcome, within

EPHEMERAL = (Output, Progress)
"""Events that nobody may rely on: the journal has none of them, and a plugin that is slow misses some."""
_ROOM = 50_000
"""How many events may wait for one plugin; an ephemeral one must not wait behind more than half as many."""


@define(eq=False)
class Guests:
    """Calls the hooks of the parent, each implementation by itself. ``watch``: seconds that a watcher may take for an event.

    ``note`` is told what a plugin did wrong: once for each plugin and hook.
    """

    hooks: HookManager
    ctx: CampaignContext
    note: Callable[[str], None]
    watch: float
    grace: float
    _guests: dict[str, Hand] = field(factory=dict)
    _out: set[str] = field(factory=set)
    _told: set[tuple[str, str]] = field(factory=set)
    _lock: threading.RLock = field(factory=threading.RLock)

    def call(self, hook: str, seconds: float, cancel: Cancel, **kwargs: object) -> Iterator[Any]:
        """What each implementation answers; one that raises, or takes longer than ``seconds``, is told, and the others go on.

        Ends early when cancelled. Raises NodeInUse, which is what a plugin that claims nodes is to tell.
        """
        for plugin, call in self._calls(hook, **kwargs):
            try:
                with within(seconds, cancel):
                    said = outcome(self._guest(plugin).ask(call), grace=self.grace)
            except Cancelled:
                return
            except NodeInUse:
                raise
            except PluginTimeout:
                self._leave_out(plugin, f"{hook} did not come back within {seconds:.0f} s")
            except Exception as error:  # noqa: BLE001 - each by itself
                self._failed(plugin, hook, error)
            else:
                yield said

    def tell(self, event: Event) -> None:
        """Give an event to every plugin that watches, without waiting for any."""
        with self._lock:
            for plugin, call in self._calls("playbook_event", event=event):
                guest = self._guest(plugin)
                began, waiting = guest.began, guest.waiting.qsize()
                if began and time.monotonic() - began > self.watch:
                    self._leave_out(plugin, f"playbook_event did not come back within {self.watch:.0f} s")
                elif waiting >= _ROOM:
                    self._leave_out(plugin, f"{waiting} events wait for it")
                elif waiting < _ROOM / 2 or not isinstance(event, EPHEMERAL):
                    guest.ask(call).add_done_callback(functools.partial(self._watched, plugin))
                else:
                    self._tell_once(plugin, "output", f"plugin {plugin} is too slow to see all output")

    def settle(self) -> None:
        """Wait until every event that was told has been seen, for ``watch`` seconds at most."""
        asked = {plugin: guest.ask(lambda: None) for plugin, guest in self._guests.items() if plugin not in self._out}
        wait(asked.values(), self.watch)
        for plugin, future in asked.items():
            if not future.done():
                self._leave_out(plugin, f"it was not done with the events {self.watch:.0f} s after the last one")

    def _calls(self, hook: str, **kwargs: object) -> list[tuple[str, Callable[[], Any]]]:
        return [(p, c) for p, c in self.hooks.calls(hook, ctx=self.ctx, **kwargs) if p not in self._out]

    def _guest(self, plugin: str) -> Hand:
        with self._lock:
            if plugin not in self._guests:
                self._guests[plugin] = Hand()
            return self._guests[plugin]

    def _watched(self, plugin: str, seen: Future[None]) -> None:
        if (error := seen.exception()) is not None:
            self._failed(plugin, "playbook_event", error)

    def _leave_out(self, plugin: str, why: str) -> None:
        self._out.add(plugin)
        # in the log only: the note is what the user is told, once
        logs.logger("plugins").info("a plugin is left out", plugin=plugin, why=why)
        self.note(f"plugin {plugin} is left out from now on: {why}")

    def _failed(self, plugin: str, hook: str, error: BaseException) -> None:
        if self._tell_once(plugin, hook, f"plugin {plugin} failed in {hook}: {words(error)}"):
            logs.logger("plugins").info("a plugin failed", plugin=plugin, hook=hook, exc_info=error)

    def _tell_once(self, plugin: str, what: str, message: str) -> bool:
        if new := (plugin, what) not in self._told:
            self._told.add((plugin, what))
            self.note(message)
        return new
