"""``SHA256SUMS`` in a run's folder: the hash of every file that is not still written to, as ``sha256sum -c`` reads it.

The journal is not among them (each of its records has a checksum, and a later cleanup goes on with it), nor is the log.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from playbook_kernel.api import Artifact, CampaignContext, CampaignResult, CampaignResumed, Event, hookimpl

from .stats.runs import trial_place

SEAL = "SHA256SUMS"
_LEFT_OUT = (SEAL, "journal.jsonl", "log.jsonl", "lock")


@hookimpl(trylast=True)
def playbook_report(ctx: CampaignContext, result: CampaignResult) -> Iterable[Path]:
    """Seal the run, when every report is written."""
    known = {}
    for scenario in result.scenarios:
        for trial in scenario.trials:
            place = trial_place(ctx.folder, trial, scenario.scenario) if trial.artifacts else ""
            known.update({f"{place}/{a.path}": a for a in trial.artifacts})
    _write(ctx.folder, {name: _hash(ctx.folder / name, known.get(name)) for name in _files(ctx.folder)})
    return ()


@hookimpl
def playbook_event(ctx: CampaignContext, event: Event) -> None:
    """A run that goes on is not what was sealed."""
    if isinstance(event, CampaignResumed):
        (ctx.folder / SEAL).unlink(missing_ok=True)


def add(run: Path, written: Iterable[Path]) -> None:
    """Take new reports of a sealed run into its seal; harmless for files elsewhere, and for a run without one."""
    try:
        lines = (run / SEAL).read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except FileNotFoundError:
        return
    sums = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    inside = [p.relative_to(run).as_posix() for p in written if p.is_relative_to(run)]
    if inside:
        _write(run, {**sums, **{name: _hash(run / name, None) for name in inside}})


def _files(run: Path) -> Iterator[str]:
    for path in sorted(run.rglob("*")):
        name = path.relative_to(run).as_posix()
        # a name with an end of line cannot stand in the file; ours have none
        fits = name not in _LEFT_OUT and not name.startswith(".") and "\n" not in name and "\\" not in name
        # a link is a second name of a file of the run, or none of it
        if fits and path.is_file() and (not path.is_symlink() or path.resolve().is_relative_to(run.resolve())):
            yield name


def _hash(path: Path, artifact: Artifact | None) -> str:
    """The hash of a file; of one that was hashed when it came home, that one: what happened since will be seen."""
    if artifact is not None and artifact.sha256 and not artifact.partial and artifact.size == path.stat().st_size:
        return artifact.sha256
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(run: Path, sums: Mapping[str, str]) -> None:
    text = "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items()))
    beside = run / f".{SEAL}.part"
    with beside.open("w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(run / SEAL)
