"""The earlier tool's layout: every file and key that a script of an existing user may read."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from attrs import evolve
from playbook_kernel.api import Artifact, CampaignResult
from playbook_plugins.reporters.classic import ClassicReporter
from playbook_plugins.reporters.markdown import MarkdownReporter
from playbook_plugins.reporters.source import Options
from playbook_plugins.stats.runs import load

from tests.cli.calls import Called, spawn, workspace
from tests.plugins.reporters.samples import FORMULA, campaign, good, hostile, trial

FIGURES = {
    "avg_throughput", "max_throughput", "min_throughput", "avg_latency", "total_requests", "total_successful_requests",
    "overall_success_rate",
}  # fmt: skip
SUMMARY = {
    "scenario_name", "timestamp", "total_nodes", "successful_nodes", "failed_nodes", "performance_metrics",
    "file_statistics", "node_results",
}  # fmt: skip
KEYS: dict[tuple[str, str], set[str]] = {
    ("summary/result_summary.json", ""): SUMMARY,
    ("result_summary.json", ""): SUMMARY,
    ("summary/result_summary.json", "performance_metrics"): FIGURES,
    ("summary/result_summary.json", "file_statistics"): {"total_result_files", "total_size_mb"},
    ("metadata/collection_summary.json", ""): {
        "collection_time", "mode", "test_artifacts", "node_results", "total_files_collected", "total_size_mb",
        "collection_errors",
    },
    ("metadata/collection_summary.json", "test_artifacts"): {"count", "total_size_mb", "source"},
    ("metadata/scenario_metadata.json", ""): {"name", "description", "directory", "metadata"},
    ("test_metadata.json", "metadata"): {
        "name", "description", "version", "tags", "estimated_duration", "dependencies", "resource_requirements", "author",
        "created", "services",
    },
    ("metadata/service_deployment.json", ""): {"services"},
    ("metadata/test_execution.json", ""): {"scenario_result", "test_metrics"},
    ("metadata/test_execution.json", "scenario_result"): {
        "scenario_name", "status", "start_time", "end_time", "duration_seconds", "error_message", "metrics", "artifacts",
        "log_count",
    },
    ("metadata/test_execution.json", "scenario_result.metrics"): {
        "service_deployment", "deployment_summary", "concurrent_deployment_details", "health_checks", "test_execution",
    },
    ("metadata/test_execution.json", "scenario_result.metrics.deployment_summary"): {
        "total", "status_counts", "services",
    },
    ("metadata/test_execution.json", "scenario_result.metrics.health_checks"): {
        "overall_healthy", "total_services", "healthy_services", "unhealthy_services", "service_details", "failed_checks",
    },
    ("metadata/test_execution.json", "scenario_result.metrics.test_execution"): {
        "success", "exit_code", "duration", "metrics", "artifacts_count",
    },
}  # fmt: skip
SUITE: dict[str, set[str]] = {
    "": {
        "suite_name", "timestamp", "summary", "performance_metrics", "file_statistics", "scenario_summaries",
        "health_report", "execution_summary",
    },
    "summary": {
        "total_scenarios", "successful_scenarios", "failed_scenarios", "overall_success_rate", "total_execution_time",
    },
    "performance_metrics": {"overall_avg_throughput", "overall_max_throughput", "overall_success_rate"},
    "scenario_summaries.001_good": {
        "status", "duration_seconds", "result_files", "result_size_mb", "successful_nodes", "failed_nodes",
        "error_message",
    },
    "health_report": {"overall_status", "check_time", "total_checks", "components", "summary", "critical_issues"},
    "execution_summary": {
        "total", "completed", "failed", "skipped", "cancelled", "success_rate", "total_duration_seconds", "is_running",
        "current_scenario", "results",
    },
}  # fmt: skip
TEST = "test_execution: {node: local, script: run_test.sh, result_paths: [%s]}\n"
POLICY = "inter_scenario: {wait_between_scenarios: 0, retry_count: 0, continue_on_failure: on}\n"
METRICS = "echo METRIC:throughput=12.5\necho METRIC:total_requests=10\necho METRIC:successful_requests=9\n"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Called]:
    """Two scenarios really run, one of which fails and leaves out an artifact."""
    root = workspace(
        tmp_path_factory.mktemp("classic"), "001_good", "002_bad",
        files={
            "config/scenarios/001_good/run_test.sh": f"{METRICS}mkdir -p out\necho 1 > out/a.txt\n",
            "config/scenarios/001_good/metadata.yaml": "name: Good one\nversion: '2.0'\nauthor: me\n" + TEST % "out/",
            "config/scenarios/002_bad/run_test.sh": "exit 9\n",
            "config/scenarios/002_bad/metadata.yaml": "name: b\n" + TEST % "never.txt",
            "config/scenarios.yaml": POLICY,
        },
    )  # fmt: skip
    called = spawn("run", "--all", cwd=root)
    [run] = (root / "results").iterdir()
    return run, called


def at(data: Any, path: str) -> Any:
    for key in filter(None, path.split(".")):
        data = data[key]
    return data


@pytest.mark.parametrize("file, path", KEYS)
@pytest.mark.parametrize("name", ["001_good", "002_bad"])
def test_a_scenarios_files_have_their_keys(finished: tuple[Path, Called], name: str, file: str, path: str) -> None:
    data = json.loads((finished[0] / name / file).read_text())
    assert KEYS[file, path] <= set(at(data, path))


@pytest.mark.parametrize("path", SUITE)
def test_the_suites_summary_has_its_keys(finished: tuple[Path, Called], path: str) -> None:
    data = json.loads((finished[0] / "test_suite_summary/test_suite_summary.json").read_text())
    assert SUITE[path] <= set(at(data, path))


def test_what_they_say_is_what_happened(finished: tuple[Path, Called]) -> None:
    run, called = finished
    assert called.code == 1
    good = json.loads((run / "001_good/summary/result_summary.json").read_text())
    assert good["performance_metrics"] == {
        "avg_throughput": 12.5, "max_throughput": None, "min_throughput": None, "avg_latency": None,
        "total_requests": 10, "total_successful_requests": 9, "overall_success_rate": 90.0,
    }  # fmt: skip
    assert yaml.safe_load((run / "001_good/summary/result_summary.yaml").read_text()) == good
    record = json.loads((run / "001_good/test_metadata.json").read_text())
    assert (record["name"], record["metadata"]["name"], record["metadata"]["version"]) == (
        "001_good",
        "Good one",
        "2.0",
    )
    executed = json.loads((run / "002_bad/metadata/test_execution.json").read_text())["scenario_result"]
    assert executed["status"] == "failed"
    assert executed["metrics"]["test_execution"]["success"] is False
    assert executed["end_time"] >= executed["start_time"]
    collected = json.loads((run / "002_bad/metadata/collection_summary.json").read_text())
    assert collected["collection_errors"] == ["artifact never.txt is not there: the test did not write it"]
    suite = json.loads((run / "test_suite_summary/test_suite_summary.json").read_text())
    assert suite["execution_summary"]["success_rate"] == 50.0
    assert suite["execution_summary"]["results"] == {"001_good": "completed", "002_bad": "failed"}
    assert suite["isolation"]["clean"] == suite["isolation"]["trials"] == 2
    assert "success rate | 50 %" in (run / "run-all-suite.md").read_text()


def test_there_is_a_performance_report_only_where_requests_were_counted(finished: tuple[Path, Called]) -> None:
    report = json.loads((finished[0] / "001_good/performance_report.json").read_text())
    assert set(report) == {"summary", "metrics", "node_details"}
    assert report["metrics"]["total_requests"] == 10
    assert not (finished[0] / "002_bad/performance_report.json").exists()
    assert ["throughput", "12.5"] in [row[:2] for row in table(finished[0] / "001_good/performance_results.csv")]


def table(path: Path) -> list[list[str]]:
    return list(csv.reader(path.read_text().splitlines()))


def test_older_names_are_relative_links_that_lead_somewhere(finished: tuple[Path, Called]) -> None:
    run = finished[0]
    for name in (
        "001_good/test_artifacts/out/a.txt", "001_good/result_summary.json", "001_good/test_metadata.json",
        "001_good/test_report.md", "test_suite_summary/test_report.md", "test_suite_summary/suite_report.html",
    ):  # fmt: skip
        link = run / name
        assert link.is_symlink(), name
        assert not str(link.readlink()).startswith("/")
        assert link.exists()
    assert (run / "001_good/test_artifacts/out/a.txt").read_text() == "1\n"


def test_each_file_is_stored_once(finished: tuple[Path, Called]) -> None:
    files = [
        p for p in (finished[0] / "001_good").rglob("*") if p.is_file() and not p.is_symlink() and p.stat().st_size > 64
    ]
    texts = [p.read_bytes() for p in files]
    assert len(set(texts)) == len(texts)


def test_every_link_is_a_second_name_of_a_file_of_the_run(finished: tuple[Path, Called]) -> None:
    run, _ = finished
    links = [p for p in run.rglob("*") if p.is_symlink()]
    assert all((p.parent / p.readlink()).is_file() and not (p.parent / p.readlink()).is_symlink() for p in links)
    done = spawn("results", "verify", "--json", cwd=run.parents[1])
    assert [v["good"] for v in done.json] == [True], done.out


def test_written_again_it_is_the_same(finished: tuple[Path, Called]) -> None:
    run = finished[0]

    def all_of() -> dict[str, str]:
        return {
            str(p.relative_to(run)): str(p.readlink()) if p.is_symlink() else p.read_text(errors="replace")
            for p in run.rglob("*")
            if p.is_symlink() or p.is_file()
        }

    before = all_of()
    ClassicReporter(Options()).write(load(run), run)
    assert all_of() == before


def kept(root: Path, result: CampaignResult, logs: dict[str, str]) -> Path:
    """A run whose one log is really there, and what else a node's folder has."""
    for name, text in logs.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    ClassicReporter(Options()).write(result, root)
    return root


def test_a_nodes_logs_are_found_by_their_older_names(tmp_path: Path) -> None:
    first = trial("001_pd")
    [log] = first.artifacts
    states = evolve(log, path="logs/gpu-1/service_states.txt", origin="")
    router = evolve(log, path="logs/gpu-1/router.log", origin="router")
    one = evolve(good().scenarios[0], trials=(evolve(first, artifacts=(log, states)),))
    both = evolve(good().scenarios[0], scenario="x", trials=(evolve(first, artifacts=(log, router), trial="pk-2"),))
    texts = {"engine.log": "a\nb\n", "service_states.txt": "up\n", "router.log": "c\n"}
    files = {f"{s}/logs/gpu-1/{n}": t for s in ("001_pd", "x") for n, t in texts.items()}
    kept(tmp_path, campaign(one, both), files)
    assert (tmp_path / "001_pd/nodes/gpu-1/services/engine.log").read_text() == "a\nb\n"
    assert (tmp_path / "001_pd/nodes/gpu-1/system/service_states.txt").read_text() == "up\n"
    assert str((tmp_path / "001_pd/logs/gpu-1/compose_logs.txt").readlink()) == "engine.log"
    assert str((tmp_path / "001_pd/logs/gpu-1/compose_status.txt").readlink()) == "service_states.txt"
    assert (tmp_path / "x/logs/gpu-1/compose_logs.txt").read_text() == "engine | a\nengine | b\nrouter | c\n"


def test_written_elsewhere_it_leads_into_the_run_and_leaves_that_alone(tmp_path: Path) -> None:
    first = trial("001_pd")
    [log] = first.artifacts
    more = (
        log,
        evolve(log, path="logs/gpu-1/router.log", origin="router"),
        Artifact("artifact", "artifacts/a", size=1),
    )
    scenario = evolve(good().scenarios[0], trials=(evolve(first, artifacts=more),))
    run, out = tmp_path / "run", tmp_path / "out"
    texts = {"logs/gpu-1/engine.log": "a\n", "logs/gpu-1/router.log": "c\n", "artifacts/a": "1"}
    for name, text in texts.items():
        path = run / "001_pd" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    before = sorted(run.rglob("*"))
    out.mkdir()
    written = ClassicReporter(Options(str(run))).write(campaign(scenario), out)
    assert all(p.is_relative_to(out) for p in written)
    assert sorted(run.rglob("*")) == before
    assert (out / "001_pd/logs/gpu-1/compose_logs.txt").read_text() == "engine | a\nrouter | c\n"
    assert (out / "001_pd/nodes/gpu-1/services/router.log").read_text() == "c\n"
    assert (out / "001_pd/test_artifacts/a").read_text() == "1"


def test_a_record_from_elsewhere_names_no_place_outside(tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "x").mkdir(parents=True)
    (run / "x/here").write_text("1")
    [log] = trial("s").artifacts
    for name in ("../../out", "/out", ".."):
        evil = (Artifact("artifact", "artifacts/../../../out", size=1), evolve(log, path="../../out.log"))
        one = evolve(good().scenarios[0], scenario=name, trials=(evolve(trial(name), artifacts=evil),))
        written = ClassicReporter(Options()).write(campaign(one), run)
        assert all(p.resolve().is_relative_to(run) for p in written)
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_of_several_attempts_the_older_names_mean_the_last(tmp_path: Path) -> None:
    scenario = good().scenarios[1]
    kept_file = Artifact("artifact", "artifacts/a", size=1)
    first, last = (evolve(t, artifacts=(kept_file,)) for t in scenario.trials)
    place = f"002_retry/trials/{last.trial}"
    files = {
        f"{place}/artifacts/a": "2",
        "002_retry/artifacts/a": "1",
        f"{place}/metadata/scenario_metadata.json": "{}",
    }
    kept(tmp_path, campaign(evolve(scenario, trials=(first, last))), files)
    assert (tmp_path / "002_retry/test_artifacts/a").read_text() == "2"
    assert json.loads((tmp_path / "002_retry/result_summary.json").read_text())["scenario_name"] == "002_retry"
    link = tmp_path / "002_retry/test_metadata.json"
    assert str(link.readlink()) == f"trials/{last.trial}/metadata/scenario_metadata.json", "not by way of another link"


def test_text_from_outside_stays_text_and_in_the_folder(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    ClassicReporter(Options()).write(hostile(), run)
    assert [p.name for p in tmp_path.iterdir()] == ["run"]
    for path in run.rglob("*.md"):
        assert not re.search(r"(?<!\\)\]\(javascript", path.read_text())
        assert "\n<script>" not in path.read_text()
    for path in run.rglob("*.csv"):
        assert not any(cell.startswith(FORMULA[0]) for row in table(path) for cell in row)


def test_a_file_that_has_the_name_already_stays(tmp_path: Path) -> None:
    mine = tmp_path / "001_pd/test_report.md"
    mine.parent.mkdir()
    mine.write_text("mine")
    ClassicReporter(Options()).write(good(), tmp_path)
    assert mine.read_text() == "mine"


def test_markdown_and_classic_do_not_overwrite_one_another(tmp_path: Path) -> None:
    names = {p for r in (MarkdownReporter, ClassicReporter) for p in r(Options()).write(good(), tmp_path)}
    assert tmp_path / "report.md" in names
    assert tmp_path / "run-all-suite.md" in names
