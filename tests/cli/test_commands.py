"""Every command as a user calls it: names, options before and after, help, completion, exit codes, one clear error."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from .calls import call, spawn, workspace, write

LISTINGS = [
    ["scenarios"], ["scenario", "001_a"], ["nodes"], ["nodes", "--check"], ["status"], ["results"], ["plugins"],
    ["validate"], ["validate-env", "--all"], ["config", "show"], ["config", "show", "--origin"], ["health"],
    ["run", "--dry-run"],
]  # fmt: skip


@pytest.mark.parametrize("argv", LISTINGS, ids=" ".join)
def test_json_of_every_listing_parses_and_nothing_else_is_on_stdout(tmp_path, argv):
    root = workspace(tmp_path, "001_a", "002_b", files={"config/defaults.yaml": "progress_display: {a: 1}\n"})
    done = call(*argv, "--json", cwd=root)
    assert done.code in (0, 4), done.err
    assert done.json is not None


@pytest.mark.parametrize("argv", [a for a in LISTINGS if a[0] != "plugins"], ids=" ".join)
def test_every_listing_says_what_it_found_in_words(tmp_path, argv):
    done = call(*argv, cwd=workspace(tmp_path, "001_a", files={"config/scenarios/001_a/.env": "A=1\n"}))
    assert done.code in (0, 4), done.err
    assert done.out.strip() or argv == ["results"]
    assert "Traceback" not in done.err


def test_options_stand_before_or_after_the_command(tmp_path):
    root = workspace(tmp_path / "here", "001_a")
    (root / "config").rename(root / "elsewhere")
    for argv in (
        ["-c", "elsewhere", "scenarios"],
        ["scenarios", "-c", "elsewhere"],
        ["scenarios", "--config-dir=elsewhere"],
    ):
        assert [s["name"] for s in call(*argv, "--json", cwd=root).json] == ["001_a"]
    workspace(tmp_path / "other", "009_z")
    flag = ["--scenarios-dir", tmp_path / "other/config/scenarios"]
    assert [s["name"] for s in call("-c", "elsewhere", *flag, "scenarios", "--json", cwd=root).json] == ["009_z"]
    assert call("results", "-r", tmp_path / "none", cwd=root).err == f"no runs in {tmp_path}/none\n"


def test_verbose_says_what_was_read(tmp_path):
    root = workspace(tmp_path, "001_a")
    assert "1 of 1 scenarios to run" in call("-v", "scenarios", cwd=root).err
    assert call("scenarios", cwd=root).err == ""


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["scenaros"], "Did you mean 'scenarios'?"),
        (["helth"], "Did you mean 'health'?"),
        (["run"], "Give a scenario's name, or --all"),
        (["run", "--al"], "--all"),
        (["run", "01_a"], "did you mean '001_a'?"),
        (["scenario", "001_b"], "did you mean '001_a'?"),
        (["scenario", "001_b", "--enable"], "did you mean '001_a'?"),
        (["scenario", "001_a", "--enable", "--disable"], "exclude one another"),
        (["nodes", "--accept"], "goes with --enroll"),
        (["validate-env"], "--scenario NAME, or --all"),
        (["validate-env", "-s", "x"], "there are: 001_a"),
        (["config", "schema", "x"], "nodes, scenarios, defaults, metadata"),
        (["results", "--format", "xml"], "'table', 'json', 'yaml'"),
        (["logs", "nothing"], "there are no runs"),
        (["-c", "nowhere", "scenarios", "-v"], ""),
        (["-c", "nowhere", "validate"], "nowhere: there is no such folder"),
        (["--log-level", "LOUD", "scenarios"], "LOUD"),
    ],
    ids=lambda x: " ".join(x) if isinstance(x, list) else "",
)
def test_wrong_usage_is_2_with_words_that_help(tmp_path, argv, words):
    done = call(*argv, cwd=workspace(tmp_path, "001_a"))
    if words:
        assert done.code == 2
        assert done.out.startswith("✗") or done.out == ""
    assert words in done.err + done.out
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("files", "place", "words"),
    [
        ({"config/nodes.yaml": "nodes:\n  a:\n\thost: x\n"}, "config/nodes.yaml:3", "indent with spaces, not tabs"),
        ({"config/nodes.yaml": "nodes:\n  a: {host: x, username: u}\n  a: {}\n"}, "config/nodes.yaml:3: nodes.a", "in line 2"),
        ({"config/nodes.yaml": "nodes:\n  a: {host: x, username: u, port: ssh}\n"}, "config/nodes.yaml:2: nodes.a.port", "whole"),
        ({"config/nodes.yaml": "nodes:\n  a: {host: '${HOST_X}', username: u}\n"}, "config/nodes.yaml:2: nodes.a.host", "HOST_X"),
        ({"config/nodes.toml": "[nodes.local\n"}, "config/nodes.toml:1", "not valid TOML"),
        ({"config/nodes.toml": "", "config/nodes.yaml": "nodes: {}\n"}, "config/nodes.toml", "nodes.yaml is there too"),
        ({"config/scenarios.yaml": "executon: {}\n"}, "config/scenarios.yaml:1", "did you mean 'execution'?"),
        ({"config/scenarios.yaml": "execution: {execution_mode: random}\n"}, "config/scenarios.yaml:1", "execution_mode"),
        ({"config/defaults.yaml": "a: [\n"}, "config/defaults.yaml", "not valid YAML"),
        ({"config/defaults.yaml": "\xff"}, "config/defaults.yaml", ""),
        ({"config/scenarios/001_a/metadata.yaml": "tags: x\n"}, "config/scenarios/001_a/metadata.yaml:1: tags", "a list"),
        (
            {"config/scenarios/001_a/metadata.yaml": "services:\n  - name: engine\n    nodes: ['$(touch x)']\n"},
            "config/scenarios/001_a/metadata.yaml:3: services[0].nodes", "there is no node",
        ),
        (
            {"config/scenarios/001_a/metadata.yaml": "benchmark: {use: vlllm}\n"},
            "config/scenarios/001_a/metadata.yaml:1", "vlllm",
        ),
    ],
    ids=lambda x: next(iter(x)) if isinstance(x, dict) else "",
)  # fmt: skip
def test_a_bad_file_is_one_error_with_its_place_and_never_a_traceback(tmp_path, files, place, words):
    root = workspace(tmp_path, "001_a", files=files)
    for argv in (["validate"], ["run", "--all"]):
        done = call(*argv, cwd=root)
        assert done.code in (2, 3), done.out + done.err
        text = done.out + done.err
        assert place in text
        assert words in text
        assert "Traceback" not in text
    assert not (root / "results").exists()
    found = call("validate", "--json", cwd=root).json
    assert not found["valid"]
    assert len([i for i in found["issues"] if place.partition(":")[0] in i]) == 1


def test_o42_validate_tells_everything_at_once_and_once(tmp_path):
    root = workspace(
        tmp_path, "001_a",
        files={"config/nodes.yaml": "nodes:\n  local: {host: local, tags: x}\n", "config/defaults.yaml": "x: 1\n"},
    )  # fmt: skip
    done = call("validate", cwd=root)
    assert done.code == 2
    assert done.out.startswith("✗ Configuration has issues:")
    assert "Total issues: 2" in done.out, "that a service's node could not be read is no third"
    assert "config/nodes.yaml:2: nodes.local.tags" in done.out
    assert "config/defaults.yaml:1: " in done.out
    key = write(root, {"config/key": "k"}) / "config/key"
    nodes = f"nodes:\n  local: {{host: h, username: u, password: plain, key_filename: {key}}}\n"
    write(root, {"config/nodes.yaml": nodes, "config/defaults.yaml": ""})
    (root / "config/nodes.yaml").chmod(0o644)
    readable = call("validate", cwd=root)
    assert (readable.code, readable.out.splitlines()[0]) == (0, "✓ Configuration is valid"), readable.out
    assert "chmod 600" in readable.out


@pytest.mark.parametrize("mode", ["auto", "custom"])
def test_o43_enable_and_disable_are_kept_in_the_file(tmp_path, mode):
    custom = (
        "# mine\nexecution:\n  execution_mode: custom   # by hand\n  custom_order:\n"
        "    - {directory: 001_a, name: first}  # the first\n    - 002_b\n"
    )
    files = {"config/scenarios.yaml": custom} if mode == "custom" else {}
    root = workspace(tmp_path, "001_a", "002_b", files=files)
    name = "first" if mode == "custom" else "001_a"
    file = root / ("config/scenarios.yaml" if mode == "custom" else "config/scenarios/001_a/metadata.yaml")
    before = file.read_text()

    off = call("scenario", name, "--disable", cwd=root)
    assert off.code == 0, off.err
    assert str(file.relative_to(root)) in off.out
    assert [s["enabled"] for s in call("scenarios", "--json", cwd=root).json] == [False, True]
    assert file.read_text().replace("enabled: false, ", "").replace("enabled: false\n", "") == before

    assert call("scenario", name, "--enable", "--json", cwd=root).json["enabled"] is True
    assert [s["enabled"] for s in call("scenarios", "--json", cwd=root).json] == [True, True]


def test_a_plain_name_in_the_custom_order_is_disabled_in_its_own_metadata(tmp_path):
    files = {"config/scenarios.yaml": "execution: {execution_mode: custom, custom_order: [002_b]}\n"}
    root = workspace(tmp_path, "001_a", "002_b", files=files)
    assert "config/scenarios/002_b/metadata.yaml" in call("scenario", "002_b", "--disable", cwd=root).out
    assert call("scenario", "002_b", "--json", cwd=root).json["enabled"] is False


def test_o16_validate_env_shows_no_secret_in_any_format(tmp_path):
    env = "DB_PASSWORD=planted-secret\nPER_TOKEN_MS=0.5\nlower=1\nTWICE=1\nTWICE=2\nno equals\n"
    root = workspace(
        tmp_path, "001_a", "002_b",
        files={
            "config/scenarios/001_a/.env": env,
            "config/scenarios/001_a/docker-compose.yml": (
                "services:\n  engine:\n    command: ['$NOT_GIVEN', '${ALSO_NOT}', '${GIVEN:-x}', '$TWICE', '$$HOME']\n"
            ),
        },
    )  # fmt: skip
    for form in ("table", "json", "yaml"):
        done = call("validate-env", "--all", "-f", form, cwd=root)
        assert done.code == 2, "a line without = is an error"
        assert "planted-secret" not in done.out + done.err
    found = call("validate-env", "-s", "001_a", "--json", cwd=root).json[0]
    values = {v["name"]: v["value"] for v in found["variables"]}
    assert values["DB_PASSWORD"] == "***"
    assert values["PER_TOKEN_MS"] == "0.5", "a number is no secret"
    assert found["undefined"] == ["ALSO_NOT", "NOT_GIVEN"]
    assert [w.partition(".env:")[2] for w in found["warnings"]] == [
        "3: lower: is not in upper case",
        "5: TWICE: is given twice: the last one counts",
    ]
    assert ".env:6: expected KEY=VALUE" in found["errors"][0]
    assert call("validate-env", "-s", "002_b", "--json", cwd=root).json[0]["file"] is None


def test_config_show_hides_passwords_and_names_their_place(tmp_path):
    nodes = "nodes:\n  local: {host: local}\n  far: {host: h, username: u, password: '${PW_X}'}\n"
    root = workspace(tmp_path, "001_a", files={"config/nodes.yaml": nodes})
    for argv in (["config", "show", "--origin"], ["config", "show", "--origin", "--json"]):
        done = call(*argv, cwd=root, environ={"PW_X": "planted-secret"})
        assert done.code == 0, done.err
        assert "planted-secret" not in done.out
        assert "config/nodes.yaml:3" in done.out


def test_config_dot_env_never_overrides_the_environment(tmp_path):
    nodes = "nodes:\n  local: {host: local}\n  far: {host: '${FAR_X}', username: u}\n"
    files = {"config/nodes.yaml": nodes, "config/.env": "FAR_X=from-config\n", ".env": "FAR_X=from-project\n"}
    root = workspace(tmp_path, "001_a", files=files)

    def host(**environ):
        return call("nodes", "--json", cwd=root, environ=environ).json[1]["host"]

    assert host() == "from-config"
    assert host(FAR_X="from-environment") == "from-environment"
    (root / "config/.env").unlink()
    assert host() == "from-project"


def test_what_init_writes_is_valid_and_keeps_the_users_own_out_of_git(tmp_path):
    done = call("init", "new", cwd=tmp_path)
    assert done.code == 0
    root = tmp_path / "new"
    found = call("validate", "--json", cwd=root).json
    assert (found["valid"], found["warnings"]) == (True, [])
    assert call("run", "--dry-run", cwd=root).code == 0
    (root / "config/nodes.yaml").write_text("nodes: {}\n")
    (root / "config/.env").write_text("A=1\n")
    subprocess.run(["git", "init", "-q", "."], cwd=root, check=True)
    seen = subprocess.run(
        ["git", "status", "--short", "-uall"], cwd=root, capture_output=True, text=True, check=True
    ).stdout
    assert "config/nodes.yaml" not in seen
    assert "config/.env" not in seen
    assert "config/nodes.example.yaml" in seen
    assert "config/schema/nodes.schema.json" in seen

    (root / "config/scenarios.yaml").write_text("# mine\n")
    again = call("init", "new", cwd=tmp_path)
    assert "kept new/config/scenarios.yaml" in again.err
    assert (root / "config/scenarios.yaml").read_text() == "# mine\n"


def test_durations_are_in_seconds_where_they_are_short(tmp_path):
    root = workspace(tmp_path, "001_a", "002_b", "003_c")
    for name, seconds in (("001_a", 10), ("002_b", 1800)):
        with (root / f"config/scenarios/{name}/metadata.yaml").open("a") as file:
            file.write(f"estimated_duration: {seconds}\n")
    rows = call("scenarios", cwd=root).out.splitlines()[1:4]
    assert [row.split()[3] for row in rows] == ["10s", "30m", "-"]


def test_what_has_become_live_is_news_only_to_those_who_come_from_the_earlier_tool(tmp_path):
    live = {"config/defaults.yaml": "service_health_check: {check_interval: 3}\n"}
    assert call("validate", "--json", cwd=workspace(tmp_path / "old", "001_a", files=live)).json["notes"]
    ours = {k: f"# yaml-language-server: $schema=schema/defaults.schema.json\n{v}" for k, v in live.items()}
    assert call("validate", "--json", cwd=workspace(tmp_path / "new", "001_a", files=ours)).json["notes"] == []


@pytest.mark.parametrize("argv", [["nodes", "--json"], ["nodes", "--enroll", "--json"], ["health", "--json"]])
def test_nodes_are_looked_at_whatever_is_wrong_with_scenarios(tmp_path, argv):
    workspace(tmp_path, "001_a")
    bad = {
        "config/scenarios.yaml": "isolation: maybe\nexecution: {execution_mode: custom, custom_order: [nope]}\n",
        "config/defaults.yaml": "colection_mode: basic\n",
    }
    write(tmp_path, bad)
    called = call(*argv, cwd=tmp_path)
    assert (called.code, isinstance(called.json, (list, dict))) == (0, True), called.err
    assert "warning: 3 problems in other files: `playbook-kernel validate` tells them" in called.err
    write(tmp_path, {"config/nodes.yaml": "nodes:\n  a: {host: local}\n  b: {host: local, prot: 5}\n"})
    called = call(*argv, cwd=tmp_path)
    assert called.code == 2
    assert called.err == "error: config/nodes.yaml:3: nodes.b: unknown key 'prot', did you mean 'port'?\n", called.err


def test_the_template_of_nodes_is_valid_as_it_is(tmp_path):
    call("init", ".", cwd=tmp_path)
    (tmp_path / "config/nodes.example.yaml").rename(tmp_path / "config/nodes.yaml")
    key = tmp_path / "home/.ssh/id_ed25519"
    key.parent.mkdir(parents=True)
    key.touch()
    done = call("nodes", "--json", cwd=tmp_path, environ={"HOME": str(tmp_path / "home")})
    assert done.code == 0, done.err
    assert [n["name"] for n in done.json] == ["gpu1"]


def test_help_of_every_command_has_words(tmp_path):
    top = call("--help", cwd=tmp_path)
    section = top.out.partition("Commands:\n")[2]
    names = [line.split()[0] for line in section.splitlines() if line.startswith("  ") and line[2] != " "]
    assert {"run", "health", "validate-env", "config", "scenario"} <= set(names)
    for name in names:
        done = call(name, "--help", cwd=tmp_path)
        assert done.code == 0, done.err
        assert done.out.startswith(f"Usage: playbook-kernel {name}")
    assert call("--version", cwd=tmp_path).out.startswith("playbook-kernel, version ")


def test_help_imports_next_to_nothing(tmp_path):
    program = (
        "import sys\nfrom playbook_kernel.cli.main import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'pluggy', 'attrs', 'attr', 'cattrs', 'paramiko', 'structlog', 'yaml', 'rich', 'stevedore'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_the_commands(tmp_path, shell):
    script = call("completion", shell, cwd=tmp_path)
    assert "_PLAYBOOK_KERNEL_COMPLETE" in script.out
    words, at = {
        "bash": ("playbook-kernel val", "1"),
        "zsh": ("playbook-kernel val", "1"),
        "fish": ("playbook-kernel", "val"),
    }[shell]
    environ = {"_PLAYBOOK_KERNEL_COMPLETE": f"{shell}_complete", "COMP_WORDS": words, "COMP_CWORD": at}
    program = "from playbook_kernel.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.argv = ['playbook-kernel']; {program}"],
        capture_output=True, text=True, cwd=tmp_path, env={**os.environ, **environ}, check=False,
    )  # fmt: skip
    assert "validate" in done.stdout
    assert "validate-env" in done.stdout
    assert "scenarios" not in done.stdout


def test_a_plugin_that_is_missing_is_3(tmp_path):
    root = workspace(tmp_path, "001_a", files={"config/defaults.yaml": "plugins: {require: [no-such-plugin]}\n"})
    done = call("run", "--all", cwd=root)
    assert done.code == 3, done.err
    assert "no-such-plugin" in done.err


def test_a_node_that_cannot_be_reached_is_4_before_anything_is_done(tmp_path):
    nodes = "nodes:\n  local: {host: local}\n  far: {host: 127.0.0.1, port: 1, username: u, password: abcdef}\n"
    root = workspace(tmp_path, "001_a", files={"config/nodes.yaml": nodes})
    done = call("nodes", "--check", "--json", cwd=root)
    assert done.code == 4
    assert {n["name"]: n["reachable"] == "yes" for n in done.json} == {"local": True, "far": False}
    assert call("status", "--json", cwd=root).json["overall"] == "DEGRADED"


def test_our_own_bug_is_70_and_asks_for_a_report(tmp_path, monkeypatch):
    import playbook_kernel.cli.listing

    def broken(_):
        raise ZeroDivisionError("boom")

    monkeypatch.setattr(playbook_kernel.cli.listing, "read", broken)
    root = workspace(tmp_path, "001_a")
    short, whole = call("scenarios", cwd=root), call("scenarios", "--verbose", cwd=root)
    assert (short.code, whole.code) == (70, 70)
    assert "that is a bug of playbook-kernel" in short.err
    assert "Traceback" not in short.err
    assert "Traceback" in whole.err


def test_a_closed_pipe_is_no_traceback(tmp_path):
    root = workspace(tmp_path, "001_a")
    command = f"{sys.executable} -m playbook_kernel config show | true"
    done = subprocess.run(["bash", "-c", command], cwd=root, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr


def test_o32_names_with_anything_in_them_run_nothing(tmp_path):
    strange = ["001_$(touch x)", "002 with 'quotes\"", "003_中文", "004_`touch x`;touch x"]
    paths = 'test_execution: {result_paths: ["$(touch x)", "`touch x`", "; touch x", "结果 1"]}\n'
    root = workspace(tmp_path, *strange)
    for name in strange:
        folder = root / "config/scenarios" / name
        (folder / "metadata.yaml").write_text("name: x\nservices: [{name: engine, nodes: [local]}]\n" + paths)
        (folder / "run_test.sh").write_text("mkdir '结果 1'; echo good >'结果 1/好.txt'\n")
    assert [s["name"] for s in call("scenarios", "--json", cwd=root).json] == strange
    done = spawn("run", "--all", cwd=root)
    assert done.code == 0, done.err
    [run] = (root / "results").iterdir()
    assert json.loads((run / "summary.json").read_text())
    assert (run / "003_中文/artifacts/结果 1/好.txt").read_text() == "good\n", (
        "a name that harms nothing stays as it is"
    )
    assert len(list(run.glob("*/artifacts/结果 1/好.txt"))) == len(strange)
    assert not list(root.rglob("x"))


def test_another_reader_is_chosen_by_the_environment(tmp_path):
    root = workspace(tmp_path, "001_a")
    done = spawn("validate", cwd=root, environ={"PLAYBOOK_READER": "fleet"})
    assert done.code == 3
    assert "no reader is called 'fleet'" in done.err
    assert spawn("validate", cwd=root, environ={"PLAYBOOK_READER": "playbook"}).code == 0


def test_a_name_and_all_of_them_are_two_things(tmp_path):
    done = call("run", "001_a", "--all", "--dry-run", cwd=workspace(tmp_path, "001_a"))
    assert done.code == 2
    assert "not both" in done.err


def test_the_working_directory_is_no_secret(tmp_path):
    root = workspace(tmp_path, "001_a")
    done = spawn("config", "show", "--json", cwd=root, environ={"PWD": str(root), "OLDPWD": str(tmp_path)})
    assert str(root) in done.out
    assert "***" not in done.out


def test_what_an_older_run_left_is_not_forgotten(finished, tmp_path):
    root, _ = finished
    here = tmp_path / "here"
    shutil.copytree(root, here)
    [newest] = (here / "results").iterdir()
    dead = here / "results/20200101_000000_dead"
    shutil.copytree(newest, dead)
    lines = (dead / "journal.jsonl").read_text().splitlines(keepends=True)
    cut = next(n for n, line in enumerate(lines) if '"intent"' in line) + 1
    (dead / "journal.jsonl").write_text("".join(lines[:cut]))
    os.utime(dead, (0, 0))
    [trial] = call("cleanup", "--dry-run", "--json", cwd=here).json
    assert trial["scenario"] == "001_good"
    said = call("cleanup", "--dry-run", cwd=here).out
    assert "would look for and remove: " in said
    assert said.splitlines()[-1] == "1 trial to clean up after; nothing was touched"
    status = call("status", cwd=here)
    assert "Overall Status: DEGRADED" in status.out
    assert f"{dead.name} died and may have left something at work: `playbook-kernel cleanup`" in status.out
    done = spawn("run", "001_good", cwd=here)
    assert f"warning: {dead.name} died and may have left something at work: `playbook-kernel cleanup`" in done.err
    assert call("cleanup", newest.name, "--dry-run", "--json", cwd=here).json == []
