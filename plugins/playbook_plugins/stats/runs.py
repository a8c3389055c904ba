"""Runs on disk: which one is meant, what came of it, and where a trial's files lie."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from playbook_kernel.api import CampaignResult, ConfigError, TrialResult, decode

CAMPAIGN, SUMMARY = "campaign.json", "summary.json"


def names(results: Path, files: Sequence[str] = (CAMPAIGN, SUMMARY)) -> list[str]:
    """Every run of a results folder that has one of these files, oldest first."""
    if not results.is_dir():
        return []
    found = (p for p in results.iterdir() if not p.name.startswith("."))
    return sorted(p.name for p in found if any((p / file).is_file() for file in files))


def find(results: Path, name: str | None, files: Sequence[str] = (CAMPAIGN, SUMMARY)) -> Path:
    """The run of that name, path or unique beginning, with one of these files; None or ``latest``: the newest.

    Raises ConfigError.
    """
    if name and any((Path(name) / file).is_file() for file in files):
        return Path(name)
    known = names(results, files)
    if not known:
        raise ConfigError([f"{results}: there are no runs" + (" that have ended" if CAMPAIGN in files else "")])
    if name in (None, "latest"):
        return results / known[-1]
    assert name is not None
    matches = [k for k in known if k == name] or [k for k in known if k.startswith(name)]
    if len(matches) == 1:
        return results / matches[0]
    near = difflib.get_close_matches(name, known, n=1)
    several = f"{name!r} may mean {', '.join(matches[:5])}"
    hint = f"did you mean {near[0]!r}?" if near else "`playbook-kernel results` lists them"
    raise ConfigError([several if matches else f"no run is called {name!r}"], hint=hint)


def load(run: Path) -> CampaignResult:
    """What came of a run, of this or an earlier version. Raises ConfigError."""
    path = run / CAMPAIGN if (run / CAMPAIGN).is_file() else run / SUMMARY
    try:
        return decode(json.loads(path.read_text(encoding="utf-8")), CampaignResult)
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from error
    except (ValueError, TypeError, KeyError) as error:
        raise ConfigError([f"{path}: is not a campaign's result: {error}"]) from error


def trial_place(run: Path, trial: TrialResult, scenario: str) -> str:
    """Where a trial's files lie, relative to the run's folder; like the scenario if the folder is not there."""
    if (run / scenario / "trials" / trial.trial).is_dir():
        return f"{scenario}/trials/{trial.trial}"
    if trial.attempt == 1 and _is_within(run, scenario) and (run / scenario).is_dir():
        return scenario
    # A name that is no harmless file name has its files in a folder of another name.
    for path in sorted(run.glob("*/trial.json")) + sorted(run.glob("*/trials/*/trial.json")):
        if _json(path).get("trial") == trial.trial:
            return path.parent.relative_to(run).as_posix()
    return scenario.replace("/", "_").lstrip(".") or "_"  # never a way out of the run


def _is_within(run: Path, name: str) -> bool:
    return (run / name).resolve().parent == run.resolve()


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def completed(result: CampaignResult, scenario: str) -> Sequence[TrialResult]:
    """The trials of a scenario that completed and measured something: its repeats."""
    return [
        t
        for s in result.scenarios
        if s.scenario == scenario
        for t in s.trials
        if t.status == "completed" and t.measurement is not None
    ]
