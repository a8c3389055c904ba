"""What of the API is going away: the one list, and the one way in which it is told.

A name, an argument or a behaviour of the API is deprecated in one minor release and removed at the earliest in the second
one after it; until then it works as before and warns. The warning names the release that removes it, and what to use instead.

* A name of :mod:`playbook_kernel.api` that moved or went: an entry of :data:`NAMES`.
* A method, function or class that stays importable: the decorator :func:`deprecated`.
* An argument of a hook: ``warn_on_impl_args`` of its ``hookspec``, with :meth:`Going.warning`.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

from attrs import frozen

P = ParamSpec("P")
T = TypeVar("T")


@frozen
class Going:
    """Deprecated ``since`` a release (``0.3``), removed in another (``0.5``). ``value`` gives what it still means."""

    since: str
    removed: str
    instead: str
    value: Callable[[], Any] | None = None

    def warning(self, what: str) -> DeprecationWarning:
        """What is told."""
        return DeprecationWarning(
            f"{what} is deprecated since {self.since} and goes in {self.removed}: use {self.instead}"
        )


NAMES: Mapping[str, Going] = {}
"""Names that :mod:`playbook_kernel.api` still serves, with a warning, and no longer lists."""


def lookup(module: str, name: str) -> Any:
    """The value of a deprecated name, told to whoever asked for it. Raises AttributeError for any other."""
    going = NAMES.get(name)
    if going is None or going.value is None:
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    warnings.warn(going.warning(f"{module}.{name}"), stacklevel=3)
    return going.value()


def deprecated(going: Going) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Mark a function or method: it works as before, and each caller is told."""

    def mark(function: Callable[P, T]) -> Callable[P, T]:
        @functools.wraps(function)
        def told(*args: P.args, **kwargs: P.kwargs) -> T:
            warnings.warn(going.warning(function.__qualname__), stacklevel=2)
            return function(*args, **kwargs)

        told.__dict__["going"] = going
        return told

    return mark
