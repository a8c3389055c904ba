"""Whose fault it was: errors bear the name of the plugin that they came from, a driver's that of the driver."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from playbook_kernel.drivers import KINDS, Driver
from playbook_kernel.errors import Cancelled, PhaseTimeout, PlaybookError, PluginError, PluginTimeout
from playbook_kernel.hookspecs import LIFECYCLE
from playbook_kernel.scope import bounded

from .answers import given

D = TypeVar("D", bound=Driver[Any])
E = TypeVar("E", bound=BaseException)
T = TypeVar("T")
_ORIGIN = "_playbook_origin"
_running: list[str] = []
"""What of plugins runs right now, the innermost last: suspects when a call does not return."""


def origin(error: BaseException) -> str:
    """Which plugin an error came from, ``kind:name`` for a driver; empty if from none."""
    return str(getattr(error, _ORIGIN, ""))


def signed(error: E, plugin: str) -> E:
    """Note which plugin an error came from, unless that is known, and give it back."""
    if not origin(error):
        setattr(error, _ORIGIN, plugin)
    return error


def suspect() -> str:
    """The plugin whose hook or driver was entered last and has not returned; empty if there is none."""
    return _running[-1] if _running else ""


def called(call: Callable[[], T], *, grace: float) -> T:
    """Make a bounded call into plugins; one that does not come back is blamed on whoever was entered last."""
    try:
        return bounded(call, grace=grace)
    except (PluginTimeout, PhaseTimeout, Cancelled) as error:
        if not origin(error) and (plugin := suspect()):
            error.args = (f"{error} (plugin {plugin})",)
            signed(error, plugin)
        raise


@contextmanager
def blame(plugin: str, call: str, *, driver: bool = False) -> Iterator[None]:
    """Sign whatever error leaves the block, unless somebody deeper already did, or it is what a driver was to tell.

    A plugin has no business ending the process, so SystemExit and KeyboardInterrupt become a PluginError.
    """
    suspected = driver or call in LIFECYCLE
    if suspected:
        _running.append(plugin)
    try:
        yield
    except (SystemExit, KeyboardInterrupt) as error:
        raised = PluginError(f"plugin {plugin!r} raised {type(error).__name__} in {call}")
        raise signed(raised, plugin) from error
    except BaseException as error:
        told = driver and isinstance(error, PlaybookError) and not isinstance(error, PluginError)
        if not told and not origin(error):
            signed(error, plugin).add_note(f"raised by plugin {plugin!r} in {call}")
        raise
    finally:
        if suspected:
            _running.remove(plugin)


def watched(driver: D, name: str) -> D:
    """The driver, each of whose answers is looked at, and each of whose errors bears its name."""
    for method, promise in vars(KINDS[driver.kind]).items():
        if inspect.isfunction(promise) and not method.startswith("_"):
            vars(driver)[method] = functools.partial(_ask, driver.kind, name, promise, getattr(driver, method))
    return driver


def _ask(kind: str, name: str, promise: Callable[..., Any], call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    with blame(f"{kind}:{name}", promise.__name__, driver=True):
        return given(f"{kind} {name!r}: {promise.__name__}", call(*args, **kwargs), promise)
