"""The log: JSON lines in the run's folder, plain text beside the results, warnings on stderr. No secrets, ever."""

from __future__ import annotations

import json
import logging
import logging.config
import sys
import time
from pathlib import Path
from typing import Any, TextIO, cast

# structlog draws tracebacks with rich where it finds that; ours are plain, and a trial's process would start half as fast.
sys.modules.setdefault("rich", None)  # type: ignore[arg-type]
import structlog  # noqa: E402
from structlog.processors import ExceptionRenderer, JSONRenderer, TimeStamper  # noqa: E402
from structlog.stdlib import ProcessorFormatter  # noqa: E402

if sys.modules["rich"] is None:
    del sys.modules["rich"]

from .redaction import redact, redacted  # noqa: E402


def _without_secrets(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    return {k: redacted(v, k) if k not in ("timestamp", "level") else v for k, v in event.items()}


_SHARED: tuple[structlog.typing.Processor, ...] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    TimeStamper(fmt="iso", utc=True),
)
_AS_DATA: tuple[structlog.typing.Processor, ...] = (
    # locals of a traceback hold whatever a function had in hand, secrets too
    ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False, max_frames=30)),
    _without_secrets,
    JSONRenderer(serializer=lambda event, **_: json.dumps(event, default=str, ensure_ascii=False)),
)


def _as_text(error: structlog.typing.ExceptionRenderer) -> tuple[structlog.typing.Processor, ...]:
    return (
        _without_secrets,
        structlog.dev.ConsoleRenderer(colors=False, exception_formatter=error, sort_keys=False, pad_event_to=0),
    )


class _Formatter(ProcessorFormatter):
    """The last word on every line: what anybody made of it is looked at again."""

    def __init__(self, processors: tuple[structlog.typing.Processor, ...]) -> None:
        meta = ProcessorFormatter.remove_processors_meta
        super().__init__(processors=[meta, *processors], foreign_pre_chain=list(_SHARED))

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


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
    ``console``: where WARNING and above are also told, None for stderr; with ``quiet`` nowhere. Tracebacks stand in the
    files, and on the console at level DEBUG.
    ``level``: the name of one of ``logging``.
    """
    structlog.configure(
        processors=[*_SHARED, ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    logging.raiseExceptions = False  # a line that could not be written: why is told elsewhere, and once
    wanted = logging.getLevelName(level)
    # half of a surrogate pair (a file name that is not UTF-8) becomes its JSON escape
    file = {"encoding": "utf-8", "errors": "backslashreplace"}
    handlers: dict[str, dict[str, Any]] = {}
    if run_log is not None:
        handlers["run"] = {
            "class": "logging.FileHandler", "filename": run_log, **file,
            "formatter": "data", "level": min(wanted, logging.INFO),
        }  # fmt: skip
    if text_dir is not None:
        text_dir.mkdir(parents=True, exist_ok=True)
        handlers["text"] = {
            "class": "logging.handlers.RotatingFileHandler", "maxBytes": 10_000_000, "backupCount": 5, **file,
            "filename": text_dir / f"playbook_{time.strftime('%Y%m%d')}.log", "formatter": "text", "level": wanted,
        }  # fmt: skip
    if not quiet:
        handlers["console"] = {
            "class": "logging.StreamHandler", "stream": console or sys.stderr,
            "formatter": "text" if wanted <= logging.DEBUG else "brief", "level": max(wanted, logging.WARNING),
        }  # fmt: skip
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "data": {"()": _Formatter, "processors": _AS_DATA},
                "text": {"()": _Formatter, "processors": _as_text(structlog.dev.plain_traceback)},
                "brief": {
                    "()": _Formatter,
                    "processors": _as_text(
                        lambda out, error: print(f": {error[0].__name__}: {error[1]}", end="", file=out)
                    ),
                },
            },
            "handlers": handlers,
            "root": {"handlers": list(handlers), "level": min(wanted, logging.INFO)},
            # what paramiko logs as errors, we raise or retry
            "loggers": {"paramiko": {"level": logging.CRITICAL}},
        }
    )


def logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger of that name."""
    return cast("structlog.stdlib.BoundLogger", structlog.get_logger(name))
