"""What a plugin may answer: looked at before anything is made of it, so that a wrong answer is told with its plugin.

What a hook, or a method of a driver, promises is what the annotation in the API says that it returns.
"""

from __future__ import annotations

import functools
import json
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import attrs

from playbook_kernel import hookspecs
from playbook_kernel.errors import PluginError
from playbook_kernel.model.codec import decode, encode

LIMIT = 4 * 1024 * 1024
"""How long one answer of a hook may be, as JSON, in bytes; what is longer belongs in a file."""


def answer(hook: str, said: Any) -> Any:
    """What an implementation of a hook said, used up if it is lazy: one object, a mapping of facts, or a list.

    Raises PluginError if that is not what the hook promises, or if it holds what cannot cross a process.
    """
    if said is None:
        return None
    said = given(hook, said, getattr(hookspecs, hook))
    for item in said if isinstance(said, list) else [said]:
        if not callable(item):
            _crosses(hook, item)
    return said


def given(who: str, said: Any, promise: Callable[..., Any]) -> Any:
    """What was said, as a list if several things are promised. Raises PluginError, with ``who`` said it, if it is not kept."""
    wanted, wrong = "nothing", [said]
    for kind, part in _promised(promise):
        if kind in (Sequence, Iterable):
            one = not isinstance(said, Iterable) or isinstance(said, (str, bytes, Mapping))
            said, wanted = [said] if one else list(said), part.__name__
            wrong = [thing for thing in said if not isinstance(thing, part) or (one and part is str)]
        elif kind is Mapping and isinstance(said, Mapping):
            wanted, wrong = part.__name__, [value for value in said.values() if not isinstance(value, part)]
        else:
            wanted, wrong = kind.__name__, [] if isinstance(said, kind) else [said]
        if not wrong:
            return said
    raise PluginError(f"{who} gave {type(wrong[0]).__name__}, not {wanted}")


@functools.cache
def _promised(promise: Callable[..., Any]) -> Sequence[tuple[Any, type]]:
    """The types that an answer may be of, each with what it is to hold."""
    from playbook_kernel import api  # what only lists plugins needs none of it

    hint = typing.get_type_hints(promise, {**vars(api), **promise.__globals__}).get("return", object)
    # what a driver returns where nothing is promised harms nobody; a hook that returns something hopes for it to be used
    hints = [object if hint is type(None) and promise.__module__ != hookspecs.__name__ else hint]
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        hints = sorted(typing.get_args(hint), key=lambda part: part is not type(None))
    return [
        (
            typing.get_origin(h) or h,
            next((p for p in typing.get_args(h)[-1:] if isinstance(p, type) and p is not Any), object),
        )
        for h in hints
    ]


def _crosses(hook: str, said: Any) -> None:
    try:
        data = encode(said)
        if (size := len(json.dumps(data))) > LIMIT:
            raise PluginError(f"{hook} gave {size} bytes, more than {LIMIT}", hint="keep it in a file: an artifact")
        if attrs.has(type(said)):
            decode(data, type(said))
    except (TypeError, ValueError, RecursionError) as error:
        raise PluginError(f"{hook} gave a {type(said).__name__} that cannot be kept: {error}") from error
