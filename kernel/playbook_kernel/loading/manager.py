"""pluggy, plus knowing whose fault it was."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import pluggy

from playbook_kernel import hookspecs
from playbook_kernel.errors import PluginError
from playbook_kernel.hookspecs import HOOKS, ISOLATED, PROJECT
from playbook_kernel.scope import bounded, within
from playbook_kernel.structuring import instead

from .answers import answer
from .blame import blame, suspect
from .loader import Loader, drivers_of
from .offers import Quarantined

_PATIENCE = 60.0
"""Seconds that a plugin may take to register."""


def _signed(
    function: Callable[..., Any], plugin: str, hook: str, *, wraps: bool, enter: Callable[[str], None]
) -> Callable[..., Any]:
    if wraps and inspect.isgeneratorfunction(function):

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with blame(plugin, hook):
                return (yield from function(*args, **kwargs))

    else:

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            try:
                with blame(plugin, hook):
                    enter(plugin)
                    return answer(hook, function(*args, **kwargs))
            finally:
                enter(suspect())

    return wrapper


class HookManager(pluggy.PluginManager):
    """Registers hook plugins and calls them. ``entered`` is told whose hook runs now; empty: nobody's."""

    def __init__(self) -> None:
        super().__init__(PROJECT)
        self.add_hookspecs(hookspecs)
        self.entered: Callable[[str], None] = lambda _plugin: None

    def register(self, plugin: object, name: str | None = None) -> str | None:
        """Register, then sign every implementation so that errors name their plugin.

        One that is refused may be half registered: its name is to be unregistered.
        """
        registered = super().register(plugin, name)
        for caller in self.get_hookcallers(plugin) or ():
            for impl in caller.get_hookimpls():
                if impl.plugin is not plugin:
                    continue
                wraps = impl.wrapper or impl.hookwrapper
                if caller.name in ISOLATED and wraps:
                    raise pluggy.PluginValidationError(
                        plugin, f"{caller.name} cannot be wrapped: its calls are isolated"
                    )
                impl.function = _signed(  # type: ignore[misc]
                    impl.function, impl.plugin_name, caller.name, wraps=wraps, enter=lambda name: self.entered(name)
                )
        return registered

    def calls(self, hook: str, **kwargs: object) -> Sequence[tuple[str, Callable[[], Any]]]:
        """Every implementation of a hook as (plugin, call), newest first: for whoever bounds each one by itself."""
        return [
            (impl.plugin_name, functools.partial(impl.function, *(kwargs[a] for a in impl.argnames)))
            for impl in reversed(getattr(self.hook, hook).get_hookimpls())
        ]


def load_hooks(loader: Loader) -> HookManager:
    """Register every usable hook plugin; one that pluggy refuses goes to quarantine. Drivers made in code are added."""
    manager = HookManager()
    manager.hook.playbook_register.call_historic(functools.partial(answer, "playbook_register"), {"registry": loader})
    by_name = {offer.name: offer for offer in loader.offers("hooks")}
    for name, plugin in loader.hook_plugins().items():
        try:
            with within(_PATIENCE):
                bounded(functools.partial(manager.register, plugin, name), grace=1.0)
            for problem in _pending(manager, plugin):
                raise pluggy.PluginValidationError(plugin, problem)
        except Exception as error:
            if manager.has_plugin(
                name
            ):  # a historic call that raises, or does not come back, leaves it half registered
                manager.unregister(name=name)
            if name not in by_name:
                raise PluginError(f"plugin {name} cannot be registered: {error}") from error
            loader.quarantine.append(Quarantined(by_name[name], f"{type(error).__name__}: {error}"))
        else:
            if name not in by_name:
                for driver_name, cls in drivers_of(plugin).items():
                    loader.add(driver_name, cls)
    return manager


def _pending(manager: HookManager, plugin: object) -> list[str]:
    """Hooks that a plugin implements and that do not exist."""
    return [
        f"there is no hook {caller.name}; {instead(caller.name, HOOKS, 'there are')}"
        for caller in manager.get_hookcallers(plugin) or ()
        if not caller.has_spec()
        and any(impl.plugin is plugin and not impl.optionalhook for impl in caller.get_hookimpls())
    ]
