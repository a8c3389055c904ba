"""``results verify``: whether a run's folder is what the campaign left there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
from attrs import field, frozen

from playbook_kernel.engine.journal import parse
from playbook_kernel.engine.store import CAMPAIGN, JOURNAL, LOCK, LOG, TRIAL, load_campaign
from playbook_kernel.errors import PlaybookError
from playbook_kernel.model.record import JournalDamaged
from playbook_kernel.redaction import redact

from .common import echo_json, json_option, results_dir
from .kept import find_run, in_progress, runs
from .main import Command

SEAL = "SHA256SUMS"
_LIFE = ("campaign", "resumed", "campaign_ended")
_GROWING = (SEAL, JOURNAL, LOG, LOCK)


@frozen
class Verdict:
    """What became of a run's files. ``sealed``: its campaign came to its end, and wrote down the hashes of its files.

    ``links``: how many of those ``checked`` are second names of a file of the run, which `results` does not count.
    """

    run: str
    sealed: bool
    checked: int
    links: int = 0
    missing: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @property
    def good(self) -> bool:
        """Whether nothing is missing, changed, extra or damaged."""
        return not (self.missing or self.changed or self.extra or self.damaged)


@click.command(cls=Command)
@click.argument("run", required=False)
@click.option("--all", "every", is_flag=True, help="Every run of the results folder.")
@json_option
@click.pass_obj
def verify(obj: dict[str, Any], run: str | None, *, every: bool, as_json: bool) -> None:
    """Compare the files of a RUN (default: the newest) with their hashes; say what is missing, changed or extra.

    \b
    Example:  playbook-kernel results verify --all
    Exit status: 0 all is there as it was, 1 something is not.
    """  # noqa: D301 - click wants the character
    if every and run:
        raise click.UsageError("Give a RUN, or --all.")
    results = results_dir(obj)
    folders = [Path(r["path"]) for r in runs(results)] if every else [find_run(results, run)]
    verdicts = [look(f) for f in folders if not every or any((f / name).is_file() for name in (JOURNAL, SEAL))]
    if as_json:
        echo_json([{**_plain(v), "good": v.good} for v in verdicts])
    for verdict in () if as_json else verdicts:
        for line in said(verdict):
            click.echo(redact(line))
    if not all(v.good for v in verdicts):
        raise click.exceptions.Exit(1)


def look(run: Path) -> Verdict:
    """Hash what there is to hash. Raises nothing for a run that is damaged: that is the answer."""
    try:
        sums = dict(_sums(run / SEAL))
    except FileNotFoundError:
        sums = {}
    notes, damaged = [], []
    if in_progress(run):
        notes.append("a process of this run is at work: its files are still changing")
    for name, check in ((JOURNAL, _journal), (CAMPAIGN, _campaign)):
        try:
            if note := check(run):
                notes.append(note)
        except FileNotFoundError:
            damaged.append(f"{name} is missing")
        except OSError as error:
            damaged.append(f"{name}: {error.strerror}")
        except PlaybookError as error:
            damaged.append(str(error).removeprefix(f"{run}/"))
    there = set(_files(run))
    expected = sums or dict(_artifacts(run))
    if not sums:
        notes.append(
            f"there is no {SEAL} (an unfinished run, or one of an earlier version): artifacts alone are checked"
        )
    missing = sorted(expected.keys() - there)
    changed = sorted(n for n, digest in expected.items() if n in there and _hash(run / n, run) != digest)
    extra = sorted(there - expected.keys()) if sums else []
    links = sum((run / name).is_symlink() for name in expected)
    lists = (missing, changed, extra, damaged, notes)
    return Verdict(run.name, bool(sums), len(expected), links, *map(tuple, lists))


def said(verdict: Verdict) -> list[str]:
    """The verdict in words, one line for each file that is not as it was."""
    lines = [f"{kind:8} {name}" for kind in ("missing", "changed", "extra") for name in getattr(verdict, kind)]
    lines += [f"damaged  {what}" for what in verdict.damaged]
    lines += [f"note: {note}" for note in verdict.notes]
    counts = [
        f"{len(found)} {kind}"
        for kind in ("missing", "changed", "extra", "damaged")
        if (found := getattr(verdict, kind))
    ]
    of = f"{verdict.checked} file{'' if verdict.checked == 1 else 's'} checked"
    of += f" ({verdict.links} of them second names)" if verdict.links else ""
    sign, words = ("✓", "all as they were") if verdict.good else ("✗", ", ".join(counts))
    return [*lines, f"{sign} {verdict.run}: {of}, {words}"]


def _plain(verdict: Verdict) -> dict[str, Any]:
    import attrs

    return attrs.asdict(verdict)


def _sums(path: Path) -> Iterator[tuple[str, str]]:
    for line in path.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        digest, _, name = line.partition("  ")
        yield name, digest


def _files(run: Path) -> Iterator[str]:
    for path in run.rglob("*"):
        name = path.relative_to(run).as_posix()
        told = name not in _GROWING and not name.startswith(".") and "\n" not in name and "\\" not in name
        if told and (path.is_symlink() or path.is_file()):
            yield name


def leads_inside(link: Path, run: Path) -> bool:
    """Whether a link is a second name of a file of the run."""
    target = link.resolve()
    return target.is_file() and target.is_relative_to(run.resolve()) and not link.readlink().is_absolute()


def _artifacts(run: Path) -> Iterator[tuple[str, str]]:
    """What trials wrote down about the files that they brought home."""
    for path in sorted(run.rglob(TRIAL)):
        try:
            trial: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            artifacts = [a for a in trial.get("artifacts", ()) if a.get("sha256")]
        except (OSError, ValueError, AttributeError):
            continue
        for artifact in artifacts:
            yield (path.parent / artifact["path"]).relative_to(run).as_posix(), artifact["sha256"]


def _hash(path: Path, run: Path) -> str:
    if path.is_symlink() and not leads_inside(path, run):
        return "a link out of the run"
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return str(error)


def _journal(run: Path) -> str:
    path = run / JOURNAL
    raw = path.read_bytes()
    try:
        records, whole = parse(raw)
    except JournalDamaged as error:
        raise PlaybookError(f"{JOURNAL}: {error}") from error
    if next((r.type for r in reversed(records) if r.type in _LIFE), "") != "campaign_ended":
        # a run that goes on loses its seal as soon as it has said so
        if (run / SEAL).exists() and (not records or records[-1].type != "resumed"):
            raise PlaybookError(
                f"{JOURNAL} does not hold the end of the campaign, after which {SEAL} was written: "
                f"it breaks off after {len(records)} record{'' if len(records) == 1 else 's'}"
            )
        return "the run was interrupted: `playbook-kernel run --resume` goes on with it"
    return "the last record of the journal is torn" if whole < len(raw) else ""


def _campaign(run: Path) -> str:
    if (run / CAMPAIGN).exists():
        load_campaign(run)
        return ""
    return f"there is no {CAMPAIGN}: no scenario had ended"
