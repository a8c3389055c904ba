"""What of the API is going away: the one list, and the one way in which it is told.

A name, an argument or a behaviour of the API is deprecated in one minor release and removed at the earliest in the second
one after it; until then it works as before and warns. The warning names the release that removes it, and what to use instead.

* A name of :mod:`playbook_kernel.api` that moved or went: an entry of :data:`NAMES`.
* A method, function or class that stays importable: ``warnings.warn(Going(...).warning("name"), stacklevel=2)`` as its first act.
* An argument of a hook: ``warn_on_impl_args`` of its ``hookspec``, with :meth:`Going.warning`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

from attrs import frozen


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
