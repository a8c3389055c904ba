"""``${VAR}``, ``${VAR:default}`` and ``${VAR:-default}`` in one scalar, after the file has been parsed.

So a value can change no structure: whatever a variable holds, it stays inside its scalar. ``${VAR:default}`` gives the
default when VAR is not set; ``${VAR:-default}`` also when it is empty. ``$VAR`` without braces is plain text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?:(:-|:)((?:[^{}]|\{[^{}]*\})*))?\}")


def interpolate(text: str, environ: Mapping[str, str], missing: Callable[[str], None]) -> str:
    """Replace every variable; ``missing`` is told each that has neither a value nor a default (its text stays).

    >>> interpolate("${A}/${B:x}/${C:-y}", {"A": "1", "C": ""}, print)
    '1/x/y'
    """

    def replace(match: re.Match[str]) -> str:
        name, operator, default = match[1], match[2], match[3]
        value = environ.get(name)
        if value is None or (operator == ":-" and not value):
            if operator is None:
                missing(name)
                return match[0]
            return default or ""
        return value

    return _VARIABLE.sub(replace, text)


def variables(text: str) -> list[str]:
    """The names that a text refers to, in order.

    >>> variables("${A:-1} and ${B}")
    ['A', 'B']
    """
    return [m[1] for m in _VARIABLE.finditer(text)]


_MEANT = "{}[],:# "
"""What YAML could see in a variable; private characters that no text has stand for it while it is parsed."""
_WORD = "".join(map(chr, range(0x10FF00, 0x10FF00 + len(_MEANT))))
_HIDE, _SHOW = str.maketrans(_MEANT, _WORD), str.maketrans(_WORD, _MEANT)


def hide(text: str) -> str:
    """The same text, as long, in which YAML sees each variable of one line as a single word; ``show`` undoes it."""
    if "${" not in text or any(c in text for c in _WORD):
        return text
    return _VARIABLE.sub(lambda m: m[0] if "\n" in m[0] else m[0].translate(_HIDE), text)


def show(text: str) -> str:
    """A key or value of a hidden text, as it was written.

    >>> hide("nodes: [${A:-b c}]") != "nodes: [${A:-b c}]", show(hide("nodes: [${A:-b c}]"))
    (True, 'nodes: [${A:-b c}]')
    """
    return text if text.isascii() else text.translate(_SHOW)
