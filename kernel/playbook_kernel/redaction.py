"""Secrets: a type that does not print itself, and the removal of known secrets from anything we print.

A value becomes known here the moment it is wrapped in :class:`Secret`; from then on :func:`redact` takes it out of
every text that the logs, the journal, the store and the reports write.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from typing import Any, Final

MASK: Final = "***"
_SHORTEST: Final = 4  # masking every "a" would make logs useless and would not protect a one-letter password
_LONG_ENOUGH: Final = 8  # a variable's name may mislead, so its value must look like something worth keeping
_NUMBER: Final = re.compile(r"[0-9.,]*")
_SECRET_KEY: Final = re.compile(
    # a token in the middle of a name is a unit (PER_TOKEN_MS), at its end it opens doors (HF_TOKEN)
    r"(?i)(?:^|[_\-.])(?:(?:password|passwd|passphrase|pwd|secret|credentials?)(?:$|[_\-.\d])"
    r"|(?:token|api[_\-]?key|private[_\-]?key|access[_\-]?key|authorization)[_\-.]?\d*$)"
)
_FOLDERS: Final = ("PWD", "OLDPWD")
"""What every shell exports: the working directory, and the one before it."""
_IN_URL: Final = re.compile(r"(?<=://)([^/\s:@]*):([^/\s@]+)(?=@)")

_lock = threading.Lock()
_known: set[str] = set()
_pattern: re.Pattern[str] | None = None


def remember(value: str) -> None:
    """Make ``value`` a known secret of this process."""
    global _pattern
    if len(value) < _SHORTEST:
        return
    with _lock:
        if value in _known:
            return
        _known.add(value)
        longest_first = sorted(_known, key=len, reverse=True)
        _pattern = re.compile("|".join(re.escape(v) for v in longest_first))


class Secret:
    """A string that prints as ``***``; :meth:`reveal` gives the text to whoever really needs it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value
        remember(value)

    def reveal(self) -> str:
        """Return the secret itself."""
        return self._value

    def __repr__(self) -> str:
        return MASK

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __bool__(self) -> bool:
        return bool(self._value)


def learn(variables: Mapping[str, object]) -> None:
    """Make known secrets of the values whose names say that they are, whole and word by word (``Bearer ...``)."""
    for name, value in variables.items():
        if isinstance(value, str) and is_secret_name(name):
            for word in (value, *value.split()):
                if len(word) >= _LONG_ENOUGH and not _NUMBER.fullmatch(word):
                    remember(word)


def known() -> tuple[Secret, ...]:
    """Every secret that this process knows, for another one that must keep them too."""
    return tuple(Secret(value) for value in sorted(_known))


def is_secret_name(name: str) -> bool:
    """Whether a key or variable of this name is to be treated as a secret.

    >>> [is_secret_name(n) for n in ("HF_TOKEN", "password", "max_tokens", "MS_PER_TOKEN_S", "OPENAI_API_KEY", "PWD")]
    [True, True, False, False, True, False]
    """
    return name not in _FOLDERS and _SECRET_KEY.search(name) is not None


def redact(text: str) -> str:
    """Take every known secret, and every password inside a URL, out of ``text``."""
    if _pattern is not None:
        text = _pattern.sub(MASK, text)
    return _IN_URL.sub(rf"\1:{MASK}", text) if "://" in text else text


def redacted(value: Any, key: str = "") -> Any:
    """Return ``value`` (any nesting of JSON-like data) without secrets, by content and by key name."""
    if isinstance(value, str):
        return MASK if key and value and is_secret_name(key) else redact(value)
    if isinstance(value, Secret):
        return MASK
    if isinstance(value, Mapping):
        return {(redact(k) if isinstance(k, str) else k): redacted(v, str(k)) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [redacted(v, key) for v in value]
    if isinstance(value, (bytes, bytearray)):
        return redact(bytes(value).decode("utf-8", "replace"))
    return value
