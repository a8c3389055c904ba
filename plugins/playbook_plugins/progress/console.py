"""What is logged for people while a campaign runs, as lines of its view: warnings, and what is worse."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Mapping
from typing import Any

from playbook_kernel.api import redact, redacted

from .board import printable
from .plain import View

_PLACE = ("scenario", "node", "check")
_OWN = ("event", "level", "timestamp", "logger", "error", "exc_info", *_PLACE)


class ConsoleLines(logging.Handler):
    """Takes the place of the handler that writes to standard error; at level DEBUG what has a traceback is left to that one."""

    def __init__(self, view: View, before: logging.Handler) -> None:
        super().__init__(before.level)
        self.view = view
        self._before = before

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError, ValueError):  # a closed pipe must not end the campaign
            if _raised(record) and logging.getLogger().level <= logging.DEBUG:
                self._before.emit(record)
            else:
                self.view.say(in_words(record))


def take_over(view: View) -> None:
    """Have the view tell what is logged to standard error."""
    log = logging.getLogger()
    for handler in tuple(log.handlers):
        if isinstance(handler, logging.StreamHandler) and handler.stream is sys.stderr:
            log.removeHandler(handler)
            log.addHandler(ConsoleLines(view, handler))
        elif isinstance(handler, ConsoleLines):
            handler.view = view


def in_words(record: logging.LogRecord) -> str:
    """``warning: n1: load: 4.47 per processor (degraded)``: where, what, why, and the rest in brackets."""
    said: Mapping[str, Any] = redacted(dict(record.msg)) if isinstance(record.msg, Mapping) else {}
    what = str(said.get("event", "")) if said else record.getMessage()
    parts = [record.levelname.lower(), *(str(said[k]) for k in _PLACE if said.get(k)), what]
    parts += [str(said["error"])] if said.get("error") else []
    parts += [redact(raised)] if (raised := _raised(record)) else []
    rest = [str(v) if k == "status" else f"{k} {v}" for k, v in said.items() if k not in _OWN and k[0] != "_"]
    more = f" ({', '.join(rest)})" if rest else ""
    return printable(" ".join(f"{': '.join(parts)}{more}".split()))


def _raised(record: logging.LogRecord) -> str:
    """The error that a line comes with; empty if it is about none."""
    given: Any = record.exc_info or (record.msg.get("exc_info") if isinstance(record.msg, Mapping) else None)
    if given is True:
        given = sys.exc_info()
    error = given[1] if isinstance(given, tuple) else given
    return f"{type(error).__name__}: {error}" if isinstance(error, BaseException) else ""
