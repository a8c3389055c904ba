"""`run`, and what is left to look at afterwards."""

import json

import pytest
import yaml

from .calls import call, spawn, workspace, write


def test_o2_o45_a_run_shows_its_progress_on_stderr_and_its_result_on_stdout(finished):
    root, done = finished
    assert done.code == 1, "a scenario failed"
    lines = done.out.splitlines()
    assert lines[0] == "✓ 001_good completed"
    assert lines[1].startswith("✗ 002_bad failed: benchmark: run_test.sh exited with 9: going wrong")
    assert lines[2].startswith("Success rate: 50.0%")
    assert (root / lines[3]).is_file(), "the report's path is printed last"
    for words in (
        "[1/2] 001_good",
        "engine on local: ready",
        "| measuring",
        "✅ cleanup ok",
        "| going wrong",
    ):
        assert words in done.err
    assert "\x1b" not in done.err


def test_json_is_all_there_is_on_stdout(tmp_path):
    done = spawn("run", "001_a", "--json", cwd=workspace(tmp_path, "001_a", "002_b"))
    assert done.code == 0
    assert [s["scenario"] for s in done.json["result"]["scenarios"]] == ["001_a"]
    assert "001_a completed" in done.err


def test_a_disabled_scenario_says_so(tmp_path):
    root = workspace(tmp_path, "001_a")
    assert call("scenario", "001_a", "--disable", cwd=root).code == 0
    done = call("run", "001_a", cwd=root)
    assert (done.code, done.out) == (0, "⊘ Scenario 001_a was skipped: Scenario is disabled\n")
    assert call("run", "001_a", "--json", cwd=root).json == {"run": None, "skipped": {"001_a": "Scenario is disabled"}}
    assert not (root / "results").exists()


def test_one_scenario_runs_although_another_is_broken(tmp_path):
    root = workspace(tmp_path, "001_a", "002_b", files={"config/scenarios/003_c/docker-compose.yml": "services: 7\n"})
    assert call("run", "001_a", "--dry-run", cwd=root).code == 0
    everything = call("run", "--all", "--dry-run", cwd=root)
    assert everything.code == 2
    assert "config/scenarios/003_c/docker-compose.yml:1: services: must be a mapping" in everything.err


def test_o30_nothing_to_run_is_said_and_never_a_success_rate(tmp_path):
    (tmp_path / "config/scenarios").mkdir(parents=True)
    none = call("run", "--all", cwd=tmp_path)
    assert (none.code, none.out) == (2, "")
    assert "there are no scenarios" in none.err
    root = workspace(tmp_path / "x", "001_a", files={"config/scenarios.yaml": "filters: {only_scenarios: [002_b]}\n"})
    left_out = call("run", "--all", cwd=root)
    assert (left_out.code, left_out.out) == (0, "⊘ Scenario 001_a was skipped: not in only_scenarios\n")
    assert not (root / "results").exists()


def test_o41_a_node_that_no_scenario_uses_need_not_be_there(tmp_path):
    nodes = "nodes:\n  local: {host: local, composer: process}\n"
    nodes += "  far: {host: 127.0.0.1, port: 1, username: u, password: abcdef}\n"
    root = workspace(tmp_path, "001_a", files={"config/nodes.yaml": nodes})
    assert spawn("run", "001_a", cwd=root).code == 0


def test_dry_run_alone_plans_what_all_would_run(tmp_path):
    root = workspace(tmp_path, "001_a", "002_b")
    alone, everything = (
        call("run", "--dry-run", "--json", cwd=root),
        call("run", "--all", "--dry-run", "--json", cwd=root),
    )
    assert alone.json == everything.json
    assert [s["name"] for s in alone.json["scenarios"]] == ["001_a", "002_b"]
    assert sorted(p.name for p in root.iterdir()) == ["config"]


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_o44_results_in_every_format(finished, form):
    root, _ = finished
    text = call("results", "--format", form, cwd=root)
    (run,) = json.loads(text.out) if form == "json" else yaml.safe_load(text.out)
    assert (run["status"], run["completed"], run["has_summary"]) == ("failed", "1/2", True)
    assert run["summary"] == {"completed": 1, "failed": 1}
    assert text.err == ""
    table = call("results", cwd=root).out.splitlines()
    assert table[0].split() == ["NAME", "MODIFIED", "STATUS", "COMPLETED", "FILES", "MB"]
    assert table[1].split()[0] == run["name"]


def test_results_of_the_earlier_tool_are_listed(tmp_path):
    root = workspace(tmp_path, "001_a")
    suite = {"execution_summary": {"total": 5, "completed": 3, "failed": 1, "skipped": 1}}
    write(
        root,
        {
            "results/20240101_000000_old/old/summary/result_summary.json": "{}",
            "results/20240102_000000_all_scenarios/test_suite_summary/test_suite_summary.json": json.dumps(suite),
            "results/20240103_000000_torn/campaign.json": '{"scenarios": [',
        },
    )
    found = {r["name"]: r for r in call("results", "--json", cwd=root).json}
    assert {n: (r["status"], r["completed"], r["has_summary"]) for n, r in found.items()} == {
        "20240101_000000_old": ("unknown", "?", True),
        "20240102_000000_all_scenarios": ("failed", "3/5", True),
        "20240103_000000_torn": ("unknown", "?", False),
    }


def test_status_says_how_well_runs_cleaned_up(finished):
    root, _ = finished
    past = call("status", "--json", cwd=root).json["isolation"]
    assert (past["runs"], past["trials"], past["clean"], past["errors"]) == (1, 2, 2, {"phase": 1})
    assert past["mean_cleanup_s"] > 0
    assert "2 of 2 trials of the last 1 run were verified clean" in call("status", cwd=root).out


def test_logs_of_a_run_and_of_a_scenario(finished):
    root, _ = finished
    name = call("results", "--json", cwd=root).json[0]["name"]
    whole = call("logs", cwd=root)
    assert whole.code == 0
    for words in ("✅ cleanup ok", "[1/2] 001_good", "✗ 002_bad failed"):
        assert words in whole.out
        assert any(words in p.read_text() for p in (root / "logs").glob("playbook_*.log"))
    assert "==> 002_bad/logs/test_output.log <==\ngoing wrong\n" in call("logs", name, "002_bad", cwd=root).out
    assert {"002_bad/logs/test_output.log"} <= {
        f["file"] for f in call("logs", name, "002_bad", "--json", cwd=root).json
    }
    assert call("logs", name, "002_bad", "--follow", cwd=root).out == "going wrong\n", "what has ended is shown whole"
    missing = call("logs", name, "003", cwd=root)
    assert missing.code == 2
    assert "it has: 001_good, 002_bad" in missing.err


def test_logs_follow_a_run_until_it_ends(tmp_path):
    import subprocess
    import sys

    root = workspace(tmp_path, "001_a")
    write(
        root, {"config/scenarios/001_a/run_test.sh": "echo first\nwhile [ ! -e go ]; do sleep 0.05; done\necho last\n"}
    )
    command = [sys.executable, "-m", "playbook_kernel"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "stdin": subprocess.DEVNULL}
    with subprocess.Popen([*command, "run", "--all"], cwd=root, **quiet) as running:
        folder = root / "results"
        while not (list(folder.glob("*/001_a/logs/test_output.log")) or running.poll() is not None):
            pass
        name = next(folder.iterdir()).name
        with subprocess.Popen(
            [*command, "logs", name, "001_a", "--follow"], cwd=root, stdout=subprocess.PIPE, text=True
        ) as follower:
            assert follower.stdout.readline() == "first\n"
            (root / "config/scenarios/001_a/go").touch()
            assert follower.stdout.read() == "last\n"
        assert follower.returncode == 0
    assert running.returncode == 0


def test_o2_interrupted_is_130_and_leaves_a_report(tmp_path):
    import signal
    import subprocess
    import sys

    root = workspace(tmp_path, "001_a")
    write(root, {"config/scenarios/001_a/run_test.sh": "echo started\nsleep 300\n"})
    argv = [sys.executable, "-m", "playbook_kernel", "run", "001_a"]
    with subprocess.Popen(argv, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        for line in running.stderr:
            if "| started" in line:
                running.send_signal(signal.SIGINT)
                break
        rest, out = running.stderr.read(), running.stdout.read()
    assert running.returncode == 130
    assert "✅ cleanup ok" in rest
    assert (root / out.splitlines()[-1]).is_file()
