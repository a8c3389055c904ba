"""Whether the methods of a driver can be called as the kernel calls them."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from playbook_kernel.drivers import KINDS, Driver

_PLAIN = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def misfits(driver: type[Driver[Any]]) -> Iterator[str]:
    """One line for each method that does not take what its kind promises that it is given."""
    for name, promise in vars(KINDS[driver.kind]).items():
        own = inspect.getattr_static(driver, name)
        if name.startswith("_") or not inspect.isfunction(promise) or not inspect.isfunction(own):
            continue
        promised, given = inspect.signature(promise), inspect.signature(own)
        parameters = promised.parameters.values()
        plain = [p.name for p in parameters if p.kind in _PLAIN and p.default is p.empty]
        named = {p.name: None for p in parameters if p.kind is p.KEYWORD_ONLY}
        try:
            given.bind(*plain, **named)
        except TypeError as error:
            wanted = ", ".join([*plain[1:], *(f"{n}=..." for n in named)])
            yield f"{driver.__name__}.{name} is called with ({wanted}): {error}"
