"""The log: JSON lines in the run's folder, plain text beside the results, warnings on stderr. No secrets, ever."""

from __future__ import annotations

import logging
import logging.handlers
import sys
from pathlib import Path
from typing import Any, TextIO

import structlog

from .redaction import redact, redacted

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


def _without_secrets(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    return {k: redacted(v, k) if k not in ("timestamp", "level") else v for k, v in event.items()}


_SHARED: tuple[structlog.typing.Processor, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
)


def _say_nothing(record: logging.LogRecord) -> None:
    """A line that could not be written: why is told elsewhere, and once."""


class _Redacting(logging.Formatter):
    """The last word on every line: what a formatter of somebody else's made of it is looked at again."""

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self._inner = inner

    def format(self, record: logging.LogRecord) -> str:
        return redact(self._inner.format(record))


def _formatter(renderer: structlog.typing.Processor, *, exceptions: structlog.typing.Processor) -> logging.Formatter:
    return _Redacting(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=list(_SHARED),
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                exceptions,
                _without_secrets,
                renderer,
            ],
        )
    )


def configure(
    level: str = "INFO",
    *,
    run_log: Path | None = None,
    text_dir: Path | None = None,
    console: TextIO | None = None,
    quiet: bool = False,
) -> None:
    """Set the log up for this process; calling it again replaces what was set up.

    ``run_log``: JSON lines, appended, every level from DEBUG. ``text_dir``: ``playbook_YYYYMMDD.log`` there, 10 MB x 5.
    ``console``: where WARNING and above are also told, None for stderr; with ``quiet`` nowhere.
    Level names are those of :data:`LEVELS`.
    """
    import json

    root = logging.getLogger()
    for handler in root.handlers[:]:
        root.removeHandler(handler)
        handler.close()
    structlog.configure(
        processors=[*_SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    # locals of a traceback hold whatever a function had in hand, secrets too
    as_data = structlog.processors.ExceptionRenderer(
        structlog.tracebacks.ExceptionDictTransformer(show_locals=False, max_frames=30)
    )
    as_lines = _formatter(
        structlog.processors.JSONRenderer(
            serializer=lambda event, **_: json.dumps(event, default=str, ensure_ascii=False)
        ),
        exceptions=as_data,
    )
    as_text = _formatter(
        structlog.dev.ConsoleRenderer(
            colors=False, exception_formatter=structlog.dev.plain_traceback, sort_keys=False, pad_event_to=0
        ),
        exceptions=lambda _, __, event: event,
    )
    wanted = logging.getLevelName(level)
    handlers: list[tuple[logging.Handler, logging.Formatter, int]] = []
    if run_log is not None:
        # half of a surrogate pair (a file name that is not UTF-8) becomes its JSON escape
        to_run = logging.FileHandler(run_log, encoding="utf-8", errors="backslashreplace")
        handlers.append((to_run, as_lines, min(wanted, logging.INFO)))
    if text_dir is not None:
        import time

        text_dir.mkdir(parents=True, exist_ok=True)
        file = text_dir / f"playbook_{time.strftime('%Y%m%d')}.log"
        rotating = logging.handlers.RotatingFileHandler(
            file, maxBytes=10_000_000, backupCount=5, encoding="utf-8", errors="backslashreplace"
        )
        handlers.append((rotating, as_text, wanted))
    if not quiet:
        handlers.append((logging.StreamHandler(console or sys.stderr), as_text, max(wanted, logging.WARNING)))
    for handler, formatter, at in handlers:
        handler.handleError = _say_nothing  # type: ignore[method-assign]
        handler.setFormatter(formatter)
        handler.setLevel(at)
        root.addHandler(handler)
    root.setLevel(min(wanted, logging.INFO))
    logging.getLogger("paramiko").setLevel(logging.CRITICAL)  # what it logs as errors, we raise or retry


def logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger of that name."""
    made: structlog.stdlib.BoundLogger = structlog.get_logger(name)
    return made
