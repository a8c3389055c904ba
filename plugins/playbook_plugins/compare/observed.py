"""What each variant has shown: every metric of every scenario, a value a repeat."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from attrs import field, frozen
from playbook_kernel.api import CampaignResult, ConfigError, TrialResult

from playbook_plugins.stats import records, runs
from playbook_plugins.stats.bootstrap import Blocks
from playbook_plugins.stats.metrics import REQUEST_RATE, THROUGHPUT, meaning

MAIN = (
    *THROUGHPUT, *REQUEST_RATE, "request_goodput", "goodput", "ttft_mean_ms", "ttft_p50_ms", "ttft_p99_ms",
    "tpot_mean_ms", "tpot_p50_ms", "tpot_p99_ms", "itl_p99_ms", "e2el_mean_ms", "e2el_p50_ms", "e2el_p99_ms",
    "latency_mean",
)  # fmt: skip
"""What is compared if nobody says otherwise."""
_MOST_NAMED = 3


@frozen
class Repeat:
    """A metric's value in one trial. ``error``: its standard error within the trial, as a part of the value."""

    value: float
    error: float | None = None


@frozen
class Trials:
    """A scenario's repeats in one variant: how many completed, of how many, and what they counted and measured.

    ``attempts``: every trial, those that were tried again, too; a scenario that was tried twice in vain is one repeat.
    """

    completed: int = 0
    total: int = 0
    reason: str = ""
    requests: int = 0
    errors: int = 0
    metrics: Mapping[str, Sequence[Repeat]] = field(factory=dict)
    units: Mapping[str, str] = field(factory=dict)
    attempts: int = 0


@frozen
class Variant:
    """Runs that are repeats of one thing."""

    name: str
    folders: tuple[Path, ...]
    results: tuple[CampaignResult, ...]

    @property
    def scenarios(self) -> list[str]:
        """The scenarios of all its runs, in order of first mention."""
        return list(dict.fromkeys(s.scenario for r in self.results for s in r.scenarios))


def variant(results: Path, text: str) -> Variant:
    """Read ``[NAME=]RUN[,RUN...]``; a RUN may have ``*`` and ``?``. Raises ConfigError."""
    name, sign, rest = text.partition("=")
    listed = rest if sign and not Path(text).exists() else text
    folders: list[Path] = []
    for part in (p.strip() for p in listed.split(",")):
        if any(c in part for c in "*?["):
            found = [results / n for n in runs.names(results) if fnmatch.fnmatchcase(n, part)]
            if not found:
                raise ConfigError([f"no run matches {part!r}"])
            folders += found
        else:
            folders.append(runs.find(results, part))
    folders = list(dict.fromkeys(folders))
    loaded = tuple(runs.load(f) for f in folders)
    return Variant(name if listed is rest and sign else _together([r.id for r in loaded]), tuple(folders), loaded)


def _together(names: Sequence[str]) -> str:
    """All of them, or what leaves room for something else on the line."""
    return ", ".join(names) if len(names) <= _MOST_NAMED else f"{names[0]} and {len(names) - 1} more"


def observe(variant: Variant, scenario: str, wanted: Iterable[str] | None, *, within: bool = True) -> Trials:
    """What a variant shows of a scenario. ``wanted``: metrics by meaning, None: all; ``within``: read the records too.

    With the usual ``MAIN``, a measurement without records of requests, such as a script's, shows all that it has.
    """
    trials: list[tuple[Path, TrialResult]] = []
    total, attempts, reason = 0, 0, ""
    for folder, result in zip(variant.folders, variant.results, strict=True):
        good = runs.completed(result, scenario)
        trials += [(folder / runs.trial_place(folder, t, scenario), t) for t in good]
        for s in result.scenarios:
            if s.scenario == scenario:
                total += max(1, len(good))
                attempts += len(s.trials)
                reason = reason or (s.reason if s.status != "completed" else "")
    usual = within and wanted is not None and set(MAIN) <= set(wanted)
    chosen = None if wanted is None else [meaning(w) for w in wanted]
    metrics: dict[str, list[Repeat]] = {}
    units: dict[str, str] = {}
    for folder, trial in trials:
        assert trial.measurement is not None
        requests = records.of_trial(folder, trial) if within else None
        blocks = Blocks(requests) if requests is not None else None
        for name, metric in trial.measurement.metrics.items():
            if chosen is None or (usual and blocks is None) or meaning(name) in chosen:
                error = blocks.relative_error(*_recorded(name)) if blocks else None
                metrics.setdefault(name, []).append(Repeat(metric.value, error))
                units[name] = metric.unit
    counted = [t.measurement for _, t in trials if t.measurement and t.measurement.requests]
    return Trials(
        len(trials),
        total,
        reason,
        sum(m.requests or 0 for m in counted),
        sum(m.errors or 0 for m in counted),
        metrics,
        units,
        attempts,
    )


def _recorded(name: str) -> tuple[str, str]:
    """What of the records a metric is made of."""
    said = meaning(name)
    if said in [meaning(n) for n in THROUGHPUT]:
        return "tokens", ""
    if said in [meaning(n) for n in REQUEST_RATE]:
        return "requests", ""
    return {"latency": "e2el"}.get(said.base, said.base), said.statistic
