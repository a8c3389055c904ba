"""Frozen dataclasses filled from flags and from environment variables of the same names.

Field `max_num_seqs` is flag `--max-num-seqs` and variable `SIM_MAX_NUM_SEQS`; a flag wins over a variable, a variable
over the default. A field's `metadata` says its help text and its range.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

T = TypeVar("T")
_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})


class OptionError(ValueError):
    """A value cannot be used; the text names the option as the user wrote it."""


def option(
    default: Any, text: str, *, low: float | None = None, high: float | None = None, choices: Sequence[str] = ()
) -> Any:
    """Declare a field: its default, its help text, and its allowed range or choices."""
    metadata = {"help": text, "low": low, "high": high, "choices": tuple(choices)}
    return dataclasses.field(default=default, metadata=metadata)


def convert(field: dataclasses.Field[Any], value: object, origin: str) -> Any:
    """Return `value` (text from a flag or variable, or a JSON value) as the field's type, checked.

    Raises OptionError naming `origin` when it is of another type or out of range.
    """
    kind = str(field.type)
    if kind == "bool":
        return _boolean(value, origin)
    if kind == "str":
        if not isinstance(value, str):
            raise OptionError(f"{origin}: expected text, got {value!r}")
        choices = field.metadata["choices"]
        if choices and value not in choices:
            raise OptionError(f"{origin}: expected one of {', '.join(choices)}; got {value!r}")
        return value
    return _number(field, value, origin, whole=kind == "int")


def _boolean(value: object, origin: str) -> bool:
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    if text in _TRUE:
        return True
    if text in _FALSE or text == "":
        return False
    raise OptionError(f"{origin}: expected true or false, got {value!r}")


def _number(field: dataclasses.Field[Any], value: object, origin: str, *, whole: bool) -> float:
    wanted = "a whole number" if whole else "a number"
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise OptionError(f"{origin}: expected {wanted}, got {value!r}")
    try:
        number: float = int(value) if whole else float(value)
    except ValueError:
        raise OptionError(f"{origin}: expected {wanted}, got {value!r}") from None
    if whole and number != float(value):
        raise OptionError(f"{origin}: expected {wanted}, got {value!r}")
    low, high = field.metadata["low"], field.metadata["high"]
    if not float("-inf") < number < float("inf") or (low is not None and number < low):
        raise OptionError(f"{origin}: {value!r} is out of range (at least {low})")
    if high is not None and number > high:
        raise OptionError(f"{origin}: {value!r} is out of range (at most {high})")
    return number


def flag_of(name: str, prefix: str = "") -> str:
    """`max_num_seqs` -> `--max-num-seqs`."""
    return "--" + (prefix + name).replace("_", "-")


def variable_of(name: str, prefix: str = "") -> str:
    """`max_num_seqs` -> `SIM_MAX_NUM_SEQS`."""
    return "SIM_" + (prefix + name).upper()


def add_flags(parser: argparse._ActionsContainer, kind: type, prefix: str = "") -> None:
    """Add a flag for every field of the dataclass; an absent flag leaves nothing behind."""
    for field in dataclasses.fields(kind):
        text = f"{field.metadata['help']} [{field.default}] ({variable_of(field.name, prefix)})".replace("%", "%%")
        dest = prefix + field.name
        if str(field.type) == "bool":
            parser.add_argument(
                flag_of(field.name, prefix), dest=dest, default=argparse.SUPPRESS, help=text,
                action=argparse.BooleanOptionalAction,
            )  # fmt: skip
        else:
            metavar = "|".join(field.metadata["choices"]) or {"int": "N", "float": "X"}.get(str(field.type), "TEXT")
            parser.add_argument(
                flag_of(field.name, prefix), dest=dest, default=argparse.SUPPRESS, help=text, metavar=metavar
            )


def build(kind: type[T], given: Mapping[str, object], environ: Mapping[str, str], prefix: str = "") -> T:
    """Make the dataclass from flags given and variables set.

    Raises OptionError for a value that cannot be used.
    """
    values: dict[str, Any] = {}
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        dest, variable = prefix + field.name, variable_of(field.name, prefix)
        if dest in given:
            values[field.name] = convert(field, given[dest], flag_of(field.name, prefix))
        elif variable in environ:
            values[field.name] = convert(field, environ[variable], variable)
    return kind(**values)


def known_variables(kind: type, prefix: str = "") -> set[str]:
    """Return the names of all variables that fill the dataclass."""
    return {variable_of(field.name, prefix) for field in dataclasses.fields(kind)}
