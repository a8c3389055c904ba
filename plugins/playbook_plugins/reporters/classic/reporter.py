"""The driver: which files there are, and which of them are links."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from playbook_kernel.api import CampaignResult, Reporter, ScenarioResult, TrialResult, redact, redacted

from playbook_plugins.reporters.source import Options
from playbook_plugins.reporters.words import formula_safe
from playbook_plugins.stats.runs import trial_place

from . import pages, values
from .links import link

SUITE = "test_suite_summary"
_TAIL = 2000
_STATES, _JOINED = "service_states.txt", "compose_logs.txt"
_RECORDS = ("scenario_metadata.json", "service_deployment.json")


class ClassicReporter(Reporter[Options]):
    """The layout of the earlier tool and the names that its first README promised; each file is stored once.

    What we keep anyway under another name (artifacts, logs, reports) is a relative link; the summaries are files.
    """

    def write(self, result: CampaignResult, into: Path) -> Sequence[Path]:
        source = self.options.folder(into)
        written = [p for s in result.scenarios if s.last for p in _scenario(s, s.last, source, into)]
        return [*_suite(result, source, into), *written]


def _suite(result: CampaignResult, source: Path, into: Path) -> list[Path]:
    folder = into / SUITE
    summary, page = folder / "test_suite_summary.json", into / "run-all-suite.md"
    _json(summary, values.suite(result))
    _text(page, pages.suite(result))
    link(folder / "test_report.md", page)
    for place in (source, into):  # one that was written together with this is the newer one
        link(folder / "suite_report.html", place / "report.html")
    return [summary, page]


def _scenario(scenario: ScenarioResult, trial: TrialResult, source: Path, into: Path) -> Iterable[Path]:
    first, last = (trial_place(source, t, scenario.scenario) for t in (scenario.trials[0], trial))
    home, place = into / Path(first).parts[0], source / last
    record = _read(place / "metadata" / _RECORDS[0])
    yield _json(home / "summary/result_summary.json", values.summary(scenario, trial))
    yield _yaml(home / "summary/result_summary.yaml", values.summary(scenario, trial))
    yield _json(home / "metadata/test_execution.json", values.execution(scenario, trial))
    yield _json(home / "metadata/collection_summary.json", values.collection(trial, record))
    if performance := values.performance(scenario, trial):
        yield _json(home / "performance_report.json", performance)
    yield _text(home / "scenario_test_report.md", pages.scenario(scenario, trial, record))
    yield _text(home / "collection_report.txt", pages.collection(scenario, trial, record))
    yield _csv(home / "performance_results.csv", trial)
    for name in _RECORDS:
        link(home / "metadata" / name, place / "metadata" / name)
    link(home / "test_metadata.json", home / "metadata" / _RECORDS[0])
    link(home / "result_summary.json", home / "summary/result_summary.json")
    link(home / "test_report.md", home / "scenario_test_report.md")
    for artifact in values.test_artifacts(trial):
        link(home / f"test_{artifact.path}", place / artifact.path)
    _logs(home, place, into / last, trial)


def _logs(home: Path, place: Path, beside: Path, trial: TrialResult) -> None:
    """A node's logs by their older names: ``beside`` ours, which are in ``place``, and sorted below ``nodes``."""
    for kept in values.node_files(trial).values():
        for kind, files in (("services", kept.services), ("system", kept.system)):
            for artifact in files:
                file = place / artifact.path
                link(home / "nodes" / file.parent.name / kind / file.name, file)
        if kept.services:
            logs = [place / a.path for a in kept.services]
            _joined((beside / kept.services[0].path).with_name(_JOINED), logs)
        for artifact in kept.system:
            if artifact.path.endswith(f"/{_STATES}"):
                link((beside / artifact.path).with_name("compose_status.txt"), place / artifact.path)


def _joined(path: Path, logs: Sequence[Path]) -> None:
    """One service's log is linked; of several, the last lines of each are put together as compose does."""
    if len(logs) == 1:
        link(path, logs[0])
        return
    width = max(len(f.stem) for f in logs)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as joined:
        for log in (f for f in logs if f.is_file()):
            for line in _last_lines(log):
                joined.write(f"{log.stem:{width}} | {line}\n")


def _last_lines(path: Path, most: int = 4 * 1024 * 1024) -> list[str]:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - most))
        return file.read().decode(errors="replace").splitlines()[-_TAIL:]


def _read(path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _text(path: Path, lines: Iterable[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(redact("\n".join(lines) + "\n"), encoding="utf-8", errors="replace")
    return path


def _json(path: Path, data: Mapping[str, Any]) -> Path:
    return _text(path, [json.dumps(redacted(data), indent=2, ensure_ascii=False, allow_nan=False)])


def _yaml(path: Path, data: Mapping[str, Any]) -> Path:
    import yaml

    return _text(path, [yaml.safe_dump(redacted(data), sort_keys=False, allow_unicode=True).rstrip()])


def _csv(path: Path, trial: TrialResult) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["metric", "value", "unit", "samples"])
        for name, metric in (trial.measurement.metrics if trial.measurement else {}).items():
            samples = "" if metric.samples is None else metric.samples
            writer.writerow([formula_safe(v) for v in (name, metric.value, metric.unit, samples)])
    return path
