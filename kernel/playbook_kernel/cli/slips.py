"""What is written in a plugin, and is never used: slips that nothing refuses."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import attrs

from playbook_kernel.drivers import Driver
from playbook_kernel.hookspecs import HOOKS, PROJECT
from playbook_kernel.testing.signatures import misfits


def slips(plugin: Any) -> Iterator[str]:
    """Look at a loaded hook plugin, a single file, or a driver class."""
    if isinstance(plugin, type):
        yield from _driver(plugin)
        return
    for name in HOOKS:
        function = getattr(plugin, name, None)
        if inspect.isroutine(function) and not hasattr(function, f"{PROJECT}_impl"):
            yield f"{name}{_line(function)} has no @hookimpl, so it is never called"
    for value in vars(plugin).values() if inspect.ismodule(plugin) else ():
        if isinstance(value, type) and issubclass(value, Driver) and value.__module__ == plugin.__name__:
            if missing := sorted(getattr(value, "__abstractmethods__", ())):
                yield f"{value.__name__}{_line(value)} lacks {', '.join(missing)}, so it is not offered"
            yield from _driver(value)


def _driver(driver: type[Any]) -> Iterator[str]:
    if issubclass(driver, Driver) and not getattr(driver, "__abstractmethods__", ()):
        yield from (f"{misfit}{_line(driver)}" for misfit in misfits(driver))
    for base in getattr(driver, "__orig_bases__", ()):
        for options in getattr(base, "__args__", ()):
            if isinstance(options, type) and not attrs.has(options):
                name = options.__name__
                yield f"{driver.__name__}{_line(driver)}: {name} is no attrs class (@frozen), so it takes no options"


def _line(thing: Any) -> str:
    try:
        return f" ({inspect.getsourcefile(thing)}:{inspect.getsourcelines(thing)[1]})"
    except (OSError, TypeError):
        return ""
