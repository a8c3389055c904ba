"""One row a scenario, for spreadsheets; and every metric in long form."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from playbook_kernel.api import CampaignResult, NoOptions, Reporter

from .words import formula_safe

_FIXED = ("scenario", "status", "attempts", "seconds", "phase", "error_class", "error", "node", "clean")


class CsvReporter(Reporter[NoOptions]):
    """``scenarios.csv`` (a row a scenario, ``seconds`` of all attempts, a column a metric) and ``metrics.csv``."""

    def write(self, result: CampaignResult, into: Path) -> Sequence[Path]:
        wide, long = into / "scenarios.csv", into / "metrics.csv"
        names = sorted(
            {n for s in result.scenarios if s.last and s.last.measurement for n in s.last.measurement.metrics}
        )
        with wide.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow([formula_safe(n) for n in (*_FIXED, *names)])
            for scenario in result.scenarios:
                trial = scenario.last
                failure = trial.failure if trial else None
                metrics = trial.measurement.metrics if trial and trial.measurement else {}
                row = [
                    scenario.scenario,
                    scenario.status,
                    len(scenario.trials),
                    round(sum(t.seconds for t in scenario.trials), 3) if trial else "",
                    failure.phase if failure else "",
                    failure.error_class if failure else "",
                    failure.error if failure else scenario.reason,
                    failure.node if failure else "",
                    "" if trial is None or trial.clean is None else trial.clean,
                ]
                values = [metrics[n].value if n in metrics else "" for n in names]
                writer.writerow([formula_safe(v) for v in (*row, *values)])
        with long.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["scenario", "trial", "attempt", "metric", "value", "unit", "samples"])
            for scenario in result.scenarios:
                for trial in scenario.trials:
                    for name, metric in (trial.measurement.metrics if trial.measurement else {}).items():
                        row = [scenario.scenario, trial.trial, trial.attempt, name, metric.value, metric.unit]
                        samples = "" if metric.samples is None else metric.samples
                        writer.writerow([formula_safe(v) for v in (*row, samples)])
        return [wide, long]
