"""What helps to see why a service failed: its image, where it is described, and what it said last."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from playbook_kernel.api import PlaybookError, Problems, Service, ServiceFailed, redact, within

from .watch import Watch

_LINES, _WIDTH, _BYTES = 3, 200, 8192
_SECONDS = 15.0
_STAMP = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d) ")
_USAGE = re.compile(
    r"unrecogni[sz]ed (?:argument|option)|invalid choice: |arguments are required|unknown (?:flag|option)|no such option"
    r"|unexpected argument '?-|option \S+ requires",
    re.IGNORECASE,
)
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f]")


def with_evidence(error: ServiceFailed, watch: Watch, service: Service) -> ServiceFailed:
    """The error with all of that in its message; nothing of it may make matters worse."""
    parts = [str(error)]
    if where := _described(watch, service):
        parts.append(f"({where})")
    if error.error_class in ("start", "health") and (said := _last_lines(watch, service)):
        parts.append("it said last: " + " | ".join(said))
        if any(_USAGE.search(line) for line in said):  # it will refuse its command line the next time, too
            error.error_class = "config"
            error.hint = error.hint or "what it is started with (command, entrypoint) is not what this image takes"
    error.args = (" ".join(parts[:2]) + "".join(f"; {p}" for p in parts[2:]),)
    return error


def _described(watch: Watch, service: Service) -> str:
    from playbook_plugins import compose_file  # every trial imports this module, and few have a failure to explain
    from playbook_plugins.text import env_lines

    share = watch.share
    try:
        env = {} if share.env_file is None else {k: v for _, k, v in env_lines(share.env_file, Problems())}
        described = compose_file.load(service.definition, env, Problems()).services.get(service.name)
    except (PlaybookError, OSError):
        return ""
    if described is None:
        return ""
    return f"{f'image {described.image}, ' if described.image else ''}{service.definition.name}:{described.line}"


def _last_lines(watch: Watch, service: Service) -> list[str]:
    try:
        with tempfile.TemporaryDirectory(prefix="playbook-said-") as folder, within(_SECONDS):
            file = watch.composer.logs(watch.session, watch.share, service.name, Path(folder), limit=_BYTES)
            text = "" if file is None else file.read_text("utf-8", "replace")
    except (PlaybookError, OSError):
        return []
    rows = redact(text).splitlines()
    if all(_STAMP.match(row) for row in rows):
        rows.sort(key=lambda row: row.partition(" ")[0])  # its two streams come one after the other
    lines = (_CONTROL.sub("", _STAMP.sub("", row, count=1)).strip() for row in rows)
    return [line[:_WIDTH] for line in lines if line][-_LINES:]
