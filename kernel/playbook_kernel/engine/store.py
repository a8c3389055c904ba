"""The run's folder: names, and files that are whole or not there."""

from __future__ import annotations

import contextlib
import datetime as dt
import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playbook_kernel.errors import ConfigError, PlaybookError
from playbook_kernel.model import CampaignResult, TrialResult
from playbook_kernel.model.codec import decode, encode
from playbook_kernel.redaction import redacted

JOURNAL, CAMPAIGN, LOG, LOCK, TRIAL = "journal.jsonl", "campaign.json", "log.jsonl", "lock", "trial.json"
_UNSAFE = re.compile(r"[^\w. -]+")


def safe_name(name: str) -> str:
    """A name from outside as a file name: the same if it is harmless, else marked so that no two become equal.

    >>> safe_name("001_smoke"), safe_name("002 冒烟"), safe_name("../x")
    ('001_smoke', '002 冒烟', 'x-3ae9bf1a')
    """
    clean = _UNSAFE.sub("_", name).strip("._- ").encode()[:100].decode(errors="ignore") or "x"
    return clean if clean == name else f"{clean}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def now() -> str:
    """The present instant, ISO 8601, UTC, milliseconds."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def new_run(results: Path, name: str) -> Path:
    """Make the folder of a new run: ``<YYYYmmdd_HHMMSS>_<name>`` in local time, with a suffix if that is taken."""
    base = f"{dt.datetime.now():%Y%m%d_%H%M%S}_{safe_name(name)}"
    try:
        results.mkdir(parents=True, exist_ok=True)
        for number in range(1, 1000):
            folder = results / (base if number == 1 else f"{base}-{number}")
            try:
                folder.mkdir()
            except FileExistsError:
                continue
            return folder
    except OSError as error:
        raise ConfigError([f"{results}: cannot keep results there: {error.strerror}"]) from error
    raise ConfigError([f"{results}: too many runs named {base}"])


@contextmanager
def run_lock(folder: Path, *, patience: float = 0.0) -> Iterator[int]:
    """Hold the run's lock; a child inherits it, so nobody takes a run over while one of its processes lives.

    Waits ``patience`` seconds for those that are about to end. Raises PlaybookError.
    """
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    end = time.monotonic() + patience
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= end:
                    raise PlaybookError(
                        f"{folder}: a process of this run is still at work", hint="wait for it to end, then try again"
                    ) from None
                time.sleep(0.05)
        yield descriptor
    finally:
        os.close(descriptor)


def run_mark(run: Path) -> str:
    """What tells the trials of one run from those of all others, on whatever node."""
    return hashlib.sha256(f"{run.resolve()}".encode()).hexdigest()[:8]


def trial_id(run: Path, scenario: str, number: int, *, mark: str = "") -> str:
    """An id that is unique on every node and safe in names: ``pk-<mark of the run>-<scenario>-<number>``.

    >>> len(trial_id(Path("/r/20260101_000000_all"), "A very long scenario's name, indeed", 3)) <= 40
    True
    """
    slug = re.sub(r"[^a-z0-9]+", "-", scenario.lower()).strip("-")[:20].strip("-") or "x"
    return f"pk-{mark or run_mark(run)}-{slug}-{number}"


def trial_folder(run: Path, scenario: str, trial: str, attempt: int) -> Path:
    """Where a trial's files go: the scenario's folder for the first, ``trials/<id>`` in it for further ones."""
    folder = run / safe_name(scenario)
    return folder if attempt == 1 else folder / "trials" / trial


def set_aside(run: Path, folder: Path, name: str) -> None:
    """Move what an interrupted trial left in its folder to ``interrupted/<name>-<number>``; harmless if there is nothing."""
    if not folder.exists():
        return
    aside = run / "interrupted"
    aside.mkdir(exist_ok=True)
    number = next(n for n in range(1, 10_000) if not (aside / f"{name}-{n}").exists())
    folder.rename(aside / f"{name}-{number}")


class Reserve:
    """Room on the disk, kept so that a run that fills it can still write down how it ended."""

    _PARTS = (("journal", 128), ("results", 512), ("reports", 4096))  # KiB

    def __init__(self, run: Path) -> None:
        self._left = [(run / f".reserve-{name}", size * 1024) for name, size in self._PARTS]
        for path, size in self._left:
            with contextlib.suppress(OSError), path.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, min(size, max(shutil.disk_usage(run).free // 16, 1)))

    def keep(self, write: Callable[[], None]) -> None:
        """Write something; if there is no room for it, make some, and write it again. Raises OSError."""
        try:
            write()
        except OSError as error:
            if not is_full(error) or not self.spend():
                raise
            write()

    def spend(self, *, last: bool = False) -> bool:
        """Give some room free; ``last``: all that is left, for the reports. Returns whether there was any."""
        freed = False
        while len(self._left) > (0 if last else 1) and (last or not freed):
            self._left.pop(0)[0].unlink(missing_ok=True)
            freed = True
        return freed


def is_full(error: OSError) -> bool:
    """Whether an error says that there is no room."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def write_json(path: Path, obj: object) -> None:
    """Write JSON beside the place and move it there, flushed to disk; secrets are taken out. Makes the folder."""
    text = json.dumps(redacted(encode(obj)), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    beside = path.with_name(f".{path.name}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        # half of a surrogate pair (a file name that is not UTF-8) becomes its JSON escape
        with beside.open("w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make a new or renamed entry of a folder survive a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def load_trial(folder: Path) -> TrialResult | None:
    """Read a trial's result back; None if there is none that can be read."""
    try:
        return decode(json.loads((folder / TRIAL).read_text(encoding="utf-8")), TrialResult)
    except (OSError, ValueError, TypeError, KeyError):
        return None


def load_campaign(run: Path) -> CampaignResult:
    """Read a run back. Raises ConfigError."""
    path = run / CAMPAIGN
    try:
        data: Any = json.loads(path.read_text(encoding="utf-8"))
        return decode(data, CampaignResult)
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from error
    except (ValueError, TypeError, KeyError) as error:
        raise ConfigError([f"{path}: is not a campaign's result: {error}"]) from error
