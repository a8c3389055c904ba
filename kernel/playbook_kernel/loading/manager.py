"""pluggy, plus knowing whose fault it was."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import pluggy

from playbook_kernel import hookspecs
from playbook_kernel.errors import PluginError
from playbook_kernel.hookspecs import ISOLATED, PROJECT

from .answers import answer
from .loader import Loader, drivers_of
from .offers import Quarantined

E = TypeVar("E", bound=BaseException)
_ORIGIN = "_playbook_origin"
_running: list[str] = []  # plugins whose hooks run right now, the innermost last: suspects when a call does not return


def origin(error: BaseException) -> str:
    """Which plugin an error came from; empty if from none."""
    name: str = getattr(error, _ORIGIN, "")
    return name


def signed(error: E, plugin: str) -> E:
    """Note which plugin an error came from, unless that is known, and give it back."""
    if not origin(error):
        setattr(error, _ORIGIN, plugin)
    return error


def suspect() -> str:
    """The plugin whose hook was entered last and has not returned; empty if there is none."""
    return _running[-1] if _running else ""


@contextmanager
def blame(plugin: str, hook: str) -> Iterator[None]:
    """Sign whatever error leaves the block, unless somebody deeper already did.

    A plugin has no business ending the process, so SystemExit and KeyboardInterrupt become a PluginError.
    """
    _running.append(plugin)
    try:
        yield
    except (SystemExit, KeyboardInterrupt) as error:
        raised = PluginError(f"plugin {plugin!r} raised {type(error).__name__} in {hook}")
        raise signed(raised, plugin) from error
    except GeneratorExit:
        raise
    except BaseException as error:
        if not origin(error):
            signed(error, plugin).add_note(f"raised by plugin {plugin!r} in {hook}")
        raise
    finally:
        _running.remove(plugin)


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
        """Register, then sign every implementation so that errors name their plugin."""
        name = name or self.get_canonical_name(plugin)
        taken = self.has_plugin(name)
        try:
            registered = super().register(plugin, name)
        except BaseException:
            if not taken and self.has_plugin(name):  # a historic call that raises leaves the plugin half registered
                self.unregister(name=name)
            raise
        for caller in self.get_hookcallers(plugin) or ():
            for impl in caller.get_hookimpls():
                if impl.plugin is not plugin:
                    continue
                wraps = impl.wrapper or impl.hookwrapper
                if caller.name in ISOLATED and wraps:
                    self.unregister(plugin)
                    raise pluggy.PluginValidationError(
                        plugin, f"{caller.name} cannot be wrapped: its calls are isolated"
                    )
                impl.function = _signed(  # type: ignore[misc]
                    impl.function, impl.plugin_name, caller.name, wraps=wraps, enter=lambda name: self.entered(name)
                )
        return registered

    def call_isolated(self, hook: str, **kwargs: object) -> tuple[list[Any], list[Exception]]:
        """Call every implementation whatever the others raise, newest plugin first; results and signed errors."""
        results, errors = [], []
        for _, call in self.calls(hook, **kwargs):
            try:
                value = call()
            except Exception as error:  # noqa: BLE001 - the caller gets every one of them
                errors.append(error)
            else:
                if value is not None:
                    results.append(value)
        return results, errors

    def calls(self, hook: str, **kwargs: object) -> Sequence[tuple[str, Callable[[], Any]]]:
        """Every implementation of a hook as (plugin, call), newest first: for whoever bounds each one by itself."""
        return [
            (impl.plugin_name, functools.partial(impl.function, *(kwargs[a] for a in impl.argnames)))
            for impl in reversed(getattr(self.hook, hook).get_hookimpls())
        ]


def load_hooks(loader: Loader) -> HookManager:
    """Register every usable hook plugin; one that pluggy refuses goes to quarantine. Drivers made in code are added."""
    manager = HookManager()
    manager.hook.playbook_register.call_historic(kwargs={"registry": loader})
    by_name = {offer.name: offer for offer in loader.offers("hooks")}
    for name, plugin in loader.hook_plugins().items():
        try:
            manager.register(plugin, name)
            for problem in _pending(manager, plugin):
                manager.unregister(plugin)
                raise pluggy.PluginValidationError(plugin, problem)
        except Exception as error:
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
        f"there is no hook {caller.name}"
        for caller in manager.get_hookcallers(plugin) or ()
        if not caller.has_spec()
        and any(impl.plugin is plugin and not impl.optionalhook for impl in caller.get_hookimpls())
    ]
