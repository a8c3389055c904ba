"""The API as text: every public name with its signature. `python -m tests.api.snapshot > tests/api/snapshot.txt` renews it."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import attrs
from playbook_kernel import api, hookspecs, testing
from playbook_kernel.testing import sessions
from playbook_plugins import text as text_files

MODULES: tuple[ModuleType, ...] = (api, testing, sessions, text_files)


def text() -> str:
    """All of it."""
    lines = [line for module in MODULES for line in _module(module)]
    lines += ["", "hooks"]
    for name in sorted(n for n in vars(hookspecs) if n.startswith("playbook_")):
        lines.append(f"  {name}{_signature(getattr(hookspecs, name))}")
    return "\n".join(lines).lstrip() + "\n"


def names_of(module: ModuleType) -> list[str]:
    """What a module publishes."""
    listed = getattr(module, "__all__", None)
    return listed or [n for n, v in vars(module).items() if not n.startswith("_") and _is_own(v, module)]


def _is_own(value: Any, module: ModuleType) -> bool:
    return getattr(value, "__module__", module.__name__) == module.__name__ and not inspect.ismodule(value)


def _module(module: ModuleType) -> Iterator[str]:
    yield ""
    yield module.__name__
    for name in sorted(names_of(module)):
        yield from _thing(name, getattr(module, name))


def _thing(name: str, value: Any) -> Iterator[str]:
    if inspect.isclass(value):
        bases = ", ".join(b.__name__ for b in value.__bases__ if b is not object)
        yield f"  class {name}({bases})" if bases else f"  class {name}"
        yield from (f"    {line}" for line in _members(value))
    elif callable(value) and not typing.get_origin(value):
        yield f"  {name}{_signature(value)}"
    else:
        yield f"  {name}: {_short(repr(value)) if typing.get_origin(value) else type(value).__name__}"


def _members(cls: type[Any]) -> Iterator[str]:
    own = {a.name: a for a in attrs.fields(cls)} if attrs.has(cls) else {}
    for a in own.values():
        if not a.name.startswith("_") and not a.inherited:
            kind = cls.__annotations__[a.name]  # as it was written: whoever structures a class resolves a.type in place
            yield f"{a.name}: {_short(kind)}{'' if a.default is attrs.NOTHING else ' = ...'}"
    for name, value in sorted(vars(cls).items()):
        if (name.startswith("_") and name != "__init__") or name in own or (name == "__init__" and own):
            continue
        function = value.__func__ if isinstance(value, classmethod | staticmethod) else value
        mark = "abstract " if getattr(function, "__isabstractmethod__", False) else ""
        if isinstance(value, property):
            yield f"{name}: property"
        elif inspect.isfunction(function):
            yield f"{mark}{name}{_signature(function)}"


def _signature(function: Any) -> str:
    try:
        return _short(re.sub(r"(: |-> )'([^']*)'", r"\1\2", str(inspect.signature(function))))
    except (TypeError, ValueError):
        return "(...)"


def _short(text: str) -> str:
    """Without the modules of types, and without where objects are in memory."""
    return re.sub(r"\b(?:[a-z_]\w*\.)+(?=[A-Za-z])", "", re.sub(r" at 0x[0-9a-f]+", "", text))


if __name__ == "__main__":
    print(text(), end="")
