"""The known defects of the earlier orchestrator, row by row (O1-O58): each is proven not to be ours.

A row has a test here or elsewhere that is named after it (``test_o<row>_...``), or one that proves it under another
name, which ELSEWHERE lists, or a line in docs/migrating.md that says why it cannot occur. The first test sees to that.
"""

from __future__ import annotations

import json
import re
import uuid
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from playbook_kernel.api import Deployment, DriverRef, Fact, Load, Node, Service, Share
from playbook_kernel.testing import FakeSession, check_driver, fake_trial
from playbook_plugins.benchmarks.script import ScriptBenchmark
from playbook_plugins.commands import checks
from playbook_plugins.composers.v1 import ComposeV1
from playbook_plugins.transports.local import LocalTransport

from tests.cli.calls import spawn, workspace
from tests.plugins.readers.reading import read, small

ROOT = Path(__file__).parents[2]
PLANTED = "planted-in-the-first-line"
ELSEWHERE: dict[int, str | tuple[str, ...]] = {
    3: "plugins/deployment/test_deploy.py::test_patience_ends",
    5: "kernel/test_engine_trial.py::test_an_advisory_verdict_is_told_and_fails_nothing",
    6: "plugins/probes/test_script.py::test_its_exit_status_says",
    10: "plugins/transports/test_sessions.py::test_keeps",
    11: "plugins/transports/test_sessions.py::test_keeps",
    12: "plugins/transports/test_ssh_login.py::test_unknown_host_key",
    15: (
        "plugins/composers/test_lifecycle.py::test_down_needs_only_the_journal",
        "plugins/test_older_places.py::test_it_is_there_when_services_start_and_gone_afterwards",
    ),
    18: "plugins/composers/test_lifecycle.py::test_down_needs_only_the_journal",
    19: "plugins/composers/test_lifecycle.py::test_what_is_not_ours_stays",
    20: (
        "plugins/deployment/test_teardown.py::test_what_is_left_is_told",
        "kernel/test_engine_trial.py::test_what_is_left_behind_fails_the_trial_and_what_is_foreign_does_not",
    ),
    24: "plugins/collectors/test_artifacts.py::test_equal_names_are_both_kept",
    31: "plugins/benchmarks/test_script.py::test_too_late_is_killed_with_all_it_started",
    33: "plugins/collectors/test_artifacts.py::test_files_and_folders_keep_their_place",
    34: "plugins/benchmarks/test_script.py::test_a_python_script",
    36: (
        "plugins/transports/test_ssh_faults.py::test_reconnects_once_for_all",
        "plugins/transports/test_sessions.py::test_keeps",
    ),
    37: "kernel/test_engine_trial.py::test_what_a_hook_raises_fails_its_phase_and_is_signed",
    39: "kernel/test_fitness.py::test_a_node_that_a_trial_failed_on_is_looked_at_again_and_left_out_while_it_cannot_serve",
    40: (
        "plugins/probes/test_docker.py::test_a_state",
        "plugins/composers/test_lifecycle.py::test_what_is_not_ours_stays",
    ),
    46: "plugins/commands/test_health.py::test_what_a_fact_means",
    50: "plugins/deployment/test_teardown.py::test_a_later_process_needs_only_the_journal",
    55: (
        "plugins/reporters/test_html.py::test_text_from_outside_stays_text",
        "plugins/reporters/test_markdown.py::test_nothing_in_a_result_becomes_markup",
        "plugins/reporters/test_classic.py::test_text_from_outside_stays_text_and_in_the_folder",
    ),
    56: "kernel/test_resume.py::test_resumed_after_a_kill_at_any_stage_the_results_are_those_of_an_undisturbed_run",
    57: (
        "plugins/composers/test_compose_file.py::test_a_base_in_this_file_and_one_in_another",
        "plugins/composers/test_compose_file.py::test_services_of_an_included_file",
        "plugins/composers/test_equivalence.py::test_the_same_containers",
    ),
    58: "kernel/test_engine_trial.py::test_a_failed_scenario_is_tried_again_unless_trying_cannot_help",
}


def test_every_row_has_its_proof() -> None:
    texts = {str(p.relative_to(ROOT / "tests")): p.read_text() for p in (ROOT / "tests").rglob("test_*.py")}
    found = {
        int(row)
        for text in texts.values()
        for head in re.findall(r"^def test((?:_o\d+)+)_", text, re.MULTILINE)
        for row in re.findall(r"\d+", head)
    }
    places = [w for said in ELSEWHERE.values() for w in ([said] if isinstance(said, str) else said)]
    missing = [w for w in places if f"\ndef {w.split('::')[1]}(" not in texts.get(w.split("::")[0], "")]
    assert missing == []
    told = {int(n) for n in re.findall(r"\bO(\d+)\b", (ROOT / "docs/migrating.md").read_text())}
    assert sorted({*range(1, 59)} - found - ELSEWHERE.keys() - told) == []
    assert not ELSEWHERE.keys() & found, "a row of its own name needs no line here"


def test_o4_a_service_without_checks_must_at_least_run(tmp_path: Path) -> None:
    place = "name: a\nservices: [{name: engine, nodes: [local]%s}]\n"
    found = read(
        small(
            tmp_path, a=place % "", b=place % ", health_check: {enabled: true}", c=place % ", health_check: {checks: }"
        )
    )
    assert found.problems == []
    assert [len(found[n].services[0].checks) for n in "abc"] == [1, 1, 1]


@pytest.mark.parametrize(("said", "meant"), [("auto", "n2"), ("remote", "n2"), ("n1", "n1"), ("local", "local")])
def test_o7_every_word_for_where_the_test_runs(said: str, meant: str, tmp_path: Path) -> None:
    trial = fake_trial(tmp_path, {"n2": FakeSession(), "n1": FakeSession()})
    placed = evolve(
        trial.ctx.trial.scenario, services=(Service("engine", ("n2", "n1"), tmp_path / "docker-compose.yml"),)
    )
    trial.ctx.trial = evolve(trial.ctx.trial, scenario=placed)
    assert check_driver(ScriptBenchmark, {"node": said})._node(trial.ctx) == meant


def test_o17_no_env_file_is_asked_for_where_there_is_none(tmp_path: Path) -> None:
    for env, expected in ((None, 0), (tmp_path / ".env", 1)):
        session = FakeSession({"docker-compose *": ""})
        share = Share(session.node, "pk-1", tmp_path, (), env)
        check_driver(ComposeV1).compose(session, share, ["f.yml"], ["up"])
        assert session.commands[0].count("--env-file") == expected


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path]]:
    """The folder of a run of a good and a bad scenario, and files of somebody else that its cleanup must not touch."""
    foreign = [Path(f"/tmp/{n}_{uuid.uuid4().hex}") for n in ("playbook", "test_script")]
    for path in foreign:
        path.write_text("of somebody else")
    keep = "test_execution: {result_paths: [out, missing.json]}\n"
    metadata = "name: x\nservices: [{name: engine, nodes: [local]}]\n"
    root = workspace(
        tmp_path_factory.mktemp("rows"), "001_good", "002_bad", "003_plain",
        files={
            "config/scenarios.yaml": "inter_scenario: {wait_between_scenarios: 0, retry_count: 0, continue_on_failure: on}\n",
            "config/scenarios/001_good/metadata.yaml": metadata + keep,
            "config/scenarios/001_good/.env": f"FIRST={PLANTED}\nSECOND=2\n",
            "config/scenarios/001_good/run_test.sh":
                "mkdir -p out/deep; : >out/empty; echo 1 >out/deep/full\necho METRIC:throughput=2\n",
            "config/scenarios/002_bad/metadata.yaml": metadata + keep,
            "config/scenarios/002_bad/run_test.sh": "mkdir -p out; echo trace >out/trace.txt; echo broken >&2; exit 3\n",
        },
    )  # fmt: skip
    done = spawn("-l", "debug", "run", "--all", "--json", cwd=root)
    assert done.code == 1, done.err
    assert json.loads(done.out)
    (root / "stderr").write_text(done.err)
    [run] = (root / "results").iterdir()
    yield run, foreign
    for path in foreign:
        path.unlink(missing_ok=True)


def scenario(run: Path, name: str) -> dict[str, Any]:
    return next(s for s in json.loads((run / "campaign.json").read_text())["scenarios"] if s["scenario"] == name)


def test_o8_a_local_script_needs_no_result_paths(finished: tuple[Path, list[Path]]) -> None:
    assert scenario(finished[0], "003_plain")["status"] == "completed"


def test_o14_o45_logs_hold_neither_lines_of_env_files_nor_escapes(finished: tuple[Path, list[Path]]) -> None:
    root = finished[0].parents[1]
    texts = {
        p: p.read_text() for p in (*finished[0].rglob("*"), *(root / "logs").iterdir(), root / "stderr") if p.is_file()
    }
    assert len([p for p in texts if p.suffix == ".log" and p.parent == root / "logs"]) == 1
    assert [p for p, text in texts.items() if PLANTED in text or "\x1b" in text] == []


def test_o21_what_was_made_is_undone_once(finished: tuple[Path, list[Path]]) -> None:
    records = [json.loads(line) for line in (finished[0] / "journal.jsonl").read_text().splitlines()]
    made = [(r["trial"], r["data"]["id"]) for r in records if r["type"] == "intent"]
    undone = [(r["trial"], r["data"]["id"]) for r in records if r["type"] == "undone"]
    assert made
    assert sorted(undone) == sorted(made)


def test_o26_what_could_not_be_collected_is_in_every_summary(finished: tuple[Path, list[Path]]) -> None:
    folder = finished[0] / "001_good"
    collected = json.loads((folder / "metadata/collection_summary.json").read_text())
    assert ["missing.json" in e for e in collected["collection_errors"]] == [True]
    assert "missing.json" in (folder / "collection_report.txt").read_text()
    assert "missing.json" in (folder / "scenario_test_report.md").read_text().replace("\\", "")


def test_o22_a_failed_test_leaves_its_output_and_its_files(finished: tuple[Path, list[Path]]) -> None:
    folder = finished[0] / "002_bad"
    assert (folder / "logs/test_output.log").read_text() == "broken\n"
    assert [p.read_text() for p in folder.rglob("trace.txt") if "artifacts" in p.parts] == ["trace\n"]


def test_o23_a_good_run_is_told_as_good_everywhere(finished: tuple[Path, list[Path]]) -> None:
    run = finished[0]
    for name, status in (("001_good", "completed"), ("002_bad", "failed")):
        [trial] = scenario(run, name)["trials"]
        assert (scenario(run, name)["status"], trial["status"], bool(trial["ended"])) == (status, status, True)
        assert json.loads((run / name / "trial.json").read_text())["status"] == status
    report = (run / "report.md").read_text()
    assert "**2 of 3 scenarios completed**" in report


def test_o25_an_empty_file_is_a_result_too(finished: tuple[Path, list[Path]]) -> None:
    kept = {a["path"].rpartition("/")[2]: a for a in scenario(finished[0], "001_good")["trials"][0]["artifacts"]}
    assert (kept["empty"]["size"], kept["empty"]["partial"], kept["full"]["size"]) == (0, False, 2)


def test_o27_files_of_others_stay(finished: tuple[Path, list[Path]]) -> None:
    assert [p.read_text() for p in finished[1]] == ["of somebody else"] * 2


def test_o35_the_output_of_a_test_is_kept_in_a_file_and_not_in_memory(tmp_path: Path) -> None:
    node = Node("n1", DriverRef("local"), work_dir=str(tmp_path))
    session = LocalTransport(check_driver(LocalTransport).options).connect(node, owner="pk-00000000-test-1")
    trial = fake_trial(tmp_path / "trial", {"n1": session})
    (trial.ctx.trial.scenario.directory / "run_test.sh").write_text("seq 100000; echo METRIC:throughput=1\n")
    measured = check_driver(ScriptBenchmark).run(trial.ctx, Deployment(), Load())
    assert len((trial.ctx.directory / "logs/test_output.log").read_text().splitlines()) == 100001
    assert len(repr(measured) + repr(measured.raw)) < 1000


def test_o38_no_time_limit_is_an_alarm_of_the_process() -> None:
    sources = [p for top in ("kernel", "plugins") for p in (ROOT / top).rglob("*.py")]
    assert len(sources) > 200
    assert [p.name for p in sources if re.search(r"SIGALRM|setitimer|signal\.alarm", p.read_text())] == []


def test_o47_each_node_is_asked_for_its_own_places() -> None:
    facts: dict[str, Fact] = {"cpus": 4}
    asked = []
    for name in ("a", "b"):
        node = Node(name, DriverRef("fake"), stage_dir=f"/stage/{name}", work_dir=f"/data/{name}")
        session = FakeSession({"sh *": "/dev/x 100 50 50 50% /\n"}, node=node)
        assert [v.check for v in checks._disks(node, session, facts)] == ["disk"]
        asked.append([w for w in session.commands[0] if w.startswith(("/stage", "/data"))])
    assert asked == [["/stage/a", "/data/a"], ["/stage/b", "/data/b"]]
