"""A plugin of one file, without any packaging: named on the command line, or in the defaults file."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.calls import call, spawn, workspace

BENCH = '''\
from playbook_kernel.api import Benchmark, Deployment, Load, Measurement, Metric, TrialContext, frozen, hookimpl


@frozen
class Options:
    """``speed``: what comes out."""

    speed: float = 1.0


class MyBench(Benchmark[Options]):
    """Measures what it is told."""

    name = "my-bench"

    def run(self, ctx: TrialContext, deployment: Deployment, load: Load) -> Measurement:
        return Measurement({"speed": Metric(self.options.speed, "1", 1)})


@hookimpl
def playbook_collect(ctx, deployment):
    (ctx.directory / "hooked").touch()
'''
MORE = "benchmark:\n  use: my-bench\n  options: {speed: 2.5}\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = workspace(tmp_path, "001_a", files={"my_bench.py": BENCH})
    metadata = made / "config/scenarios/001_a/metadata.yaml"
    metadata.write_text(metadata.read_text() + MORE)
    return made


def in_defaults(root: Path, *paths: str) -> None:
    (root / "config/defaults.yaml").write_text(f"plugins:\n  paths: {list(paths)}\n")


def test_without_it_the_plan_fails(root: Path) -> None:
    done = call("validate", cwd=root)
    assert done.code == 3
    assert "no benchmark is called 'my-bench'" in done.out


def test_named_on_the_command_line(root: Path) -> None:
    done = call("--plugin", "./my_bench.py", "run", "001_a", "--dry-run", "--json", cwd=root)
    assert done.json["scenarios"][0]["benchmark"] == "my-bench"


def test_named_in_the_defaults_file_it_takes_part_in_a_whole_campaign(root: Path) -> None:
    in_defaults(root, "./my_bench.py")
    done = spawn("run", "001_a", "--json", cwd=root)
    assert done.code == 0, done.err
    [trial] = done.json["result"]["scenarios"][0]["trials"]
    assert trial["measurement"]["metrics"]["speed"]["value"] == 2.5
    assert list(Path(done.json["run"]).rglob("hooked")), "its hooks are called too, in the trial's process"


@pytest.mark.parametrize("name", ["my-bench", "benchmark:my-bench"])
def test_its_driver_is_shown_as_any_other(root: Path, name: str) -> None:
    done = call("--plugin", "./my_bench.py", "plugins", "show", name, cwd=root)
    assert done.code == 0, done.err
    assert done.out.startswith("benchmark:my-bench\n")
    assert "Measures what it is told." in done.out
    assert ["speed", "float", "1.0"] in [line.split() for line in done.out.splitlines()]
    assert "no plugin is called" in call("plugins", "show", name, cwd=root).err


def test_a_mistake_in_its_options_is_told_with_its_place(root: Path) -> None:
    in_defaults(root, "./my_bench.py")
    metadata = root / "config/scenarios/001_a/metadata.yaml"
    metadata.write_text(metadata.read_text().replace("speed: 2.5", "sped: 2.5"))
    done = call("validate", cwd=root)
    assert done.code == 2
    assert "metadata.yaml:7: benchmark: unknown key 'sped', did you mean 'speed'?" in done.out


def test_a_path_that_leads_nowhere_is_told_with_its_line(root: Path) -> None:
    in_defaults(root, "./my_bench.py", "./other.py")
    done = call("validate", cwd=root)
    assert done.code == 2
    assert f"config/defaults.yaml:2: plugins.paths[1]: there is no file {root}/other.py" in done.out


def test_other_commands_know_its_drivers_too(root: Path) -> None:
    (root / "my_bench.py").write_text(
        "from playbook_kernel.api import NodeError, Transport, frozen\n"
        "@frozen\n"
        "class Options:\n"
        "    loft: str\n"
        "class Carrier(Transport[Options]):\n"
        "    name = 'pigeon'\n"
        "    def connect(self, node, *, owner=''):\n"
        "        raise NodeError(node.name, f'it flew to {self.options.loft}')\n"
    )
    nodes = "nodes:\n  n1: {host: 10.0.0.1, transport: pigeon, options: {loft: home}}\n"
    (root / "config/nodes.yaml").write_text(nodes)
    done = call("--plugin", "my_bench.py", "nodes", "--check", cwd=root)
    assert (done.code, "it flew to home" in done.out) == (4, True), done
    (root / "config/nodes.yaml").write_text(nodes.replace("pigeon", "ssh, username: x"))
    assert "nodes.n1.options: are those of a transport of a plugin" in call("validate", cwd=root).out


def test_collectors_and_reporters_are_named_with_their_options(root: Path) -> None:
    (root / "my_bench.py").write_text(
        BENCH
        + """
from playbook_kernel.api import Collector, Reporter, Warned

class Loud(Collector[Options]):
    name = "loud"

    def collect(self, ctx, deployment, into):
        ctx.warn(f"collected at {self.options.speed}")
        return []

class Short(Reporter[Options]):
    name = "short"

    def write(self, result, into):
        (into / "short.txt").write_text(f"{self.options.speed} {result.scenarios[0].last.warnings}")
        return [into / "short.txt"]
"""
    )
    (root / "config/defaults.yaml").write_text(
        "plugins: {paths: [my_bench.py]}\ncollectors: [loud]\nreports: [{use: short, options: {speed: 7}}]\n"
    )
    metadata = root / "config/scenarios/001_a/metadata.yaml"
    metadata.write_text(metadata.read_text() + "collectors:\n  - use: loud\n    options: {speed: 3}\n")
    done = spawn("run", "001_a", "--json", cwd=root)
    assert done.code == 0, done.err
    text = next(Path(done.json["run"]).rglob("short.txt")).read_text()
    assert text.startswith("7.0")
    assert "collected at 1.0" in text
    assert "collected at 3.0" in text
    (root / "config/defaults.yaml").write_text("collectors: [{use: noone}]\nreports: [{use: csv, options: {x: 1}}]\n")
    wrong = call("validate", cwd=root).out
    assert "config/defaults.yaml:1: collectors[0]: no collector is called 'noone'" in wrong
    assert "config/defaults.yaml:2: reports[0]: unknown key 'x'" in wrong


SLIPS = '''\
from playbook_kernel.api import Benchmark, hookimpl

print("hello")


def playbook_deploy(ctx, scenario):
    """Somebody forgot the marker."""


@hookimpl
def playbook_plan(ctx, scenarios):
    print("a plan")


class Options:
    speed: float = 1.0


class Half(Benchmark[Options]):
    """It has no `run`."""


class Deaf(Benchmark[Options]):
    """It takes nothing."""

    def run(self):
        return None
'''


def test_what_a_plugin_prints_is_no_part_of_the_answer(root: Path) -> None:
    (root / "prints.py").write_text(SLIPS)
    for words in (("validate", "001_a"), ("run", "001_a", "--dry-run"), ("plugins", "show", "prints.py")):
        done = spawn("--plugin", "./prints.py", "--plugin", "./my_bench.py", *words, "--json", cwd=root)
        assert isinstance(done.json, dict), done.out
        assert "hello" in done.err


def test_slips_that_nothing_refuses_are_told(root: Path) -> None:
    (root / "slips.py").write_text(SLIPS)
    named = ("--plugin", "./slips.py", "--plugin", "./my_bench.py")
    warned = "\n".join(call(*named, "validate", "--json", cwd=root).json["warnings"])
    found = "\n".join(f["message"] for f in call(*named, "plugins", "doctor", "--json", cwd=root).json["findings"])
    for text in (warned, found):
        assert "slips.py:6) has no @hookimpl, so it is never called" in text
        assert "slips.py:19) lacks run, so it is not offered" in text
        assert "Options is no attrs class (@frozen), so it takes no options" in text
        assert "Deaf.run is called with (ctx, deployment, load): too many positional arguments" in text
        assert "my_bench" not in text


def test_a_hook_that_does_not_exist_is_found_by_the_doctor_too(root: Path) -> None:
    (root / "typo.py").write_text(
        "from playbook_kernel.api import hookimpl\n\n@hookimpl\ndef playbook_deplo(ctx): ...\n"
    )
    done = call("--plugin", "./typo.py", "plugins", "doctor", cwd=root)
    assert done.code == 3
    assert "error: typo.py: there is no hook playbook_deplo; did you mean 'playbook_deploy'?" in done.out


@pytest.mark.parametrize("name", ["my_bench.py", "./my_bench.py", "file:my_bench.py"])
def test_the_file_itself_is_shown_with_its_hooks(root: Path, name: str) -> None:
    done = call("--plugin", "./my_bench.py", "plugins", "show", name, cwd=root)
    assert done.code == 0, done.err
    assert done.out.startswith("file:my_bench.py\n")
    assert "playbook_collect(ctx, deployment)\n  called: " in done.out


@pytest.mark.parametrize("name", ["my_bench.py", "my_bench"])
def test_it_is_left_out_by_its_name(root: Path, name: str) -> None:
    in_defaults(root, "./my_bench.py")
    assert call("validate", cwd=root).code == 0
    done = call("--no-plugin", name, "validate", cwd=root)
    assert "no benchmark is called 'my-bench'" in done.out


@pytest.mark.parametrize(
    ("name", "again"),
    [("my_bench.py", "./my_bench.py"), ("my_bench", "my_bench.py"), ("./my_bench.py", "my_bench")],
)
def test_it_is_disabled_for_good_and_enabled_again(root: Path, name: str, again: str) -> None:
    in_defaults(root, "./my_bench.py")
    assert call("plugins", "disable", name, cwd=root).code == 0
    assert "no benchmark is called 'my-bench'" in call("validate", cwd=root).out
    [row] = call("plugins", "list", "--kind", "file", "--json", cwd=root).json
    assert (row["name"], row["state"]) == ("my_bench.py", "disabled")
    assert "not used: disabled" in call("plugins", "show", again, cwd=root).out
    assert "nothing that is installed" not in call("plugins", "doctor", cwd=root).out
    assert call("plugins", "enable", again, cwd=root).code == 0
    assert call("validate", cwd=root).code == 0
    [row] = call("plugins", "list", "--kind", "file", "--json", cwd=root).json
    assert row["state"] == "ok"


@pytest.mark.parametrize(
    "name, why", [(".", "is neither a Python file"), ("./x.txt", "is neither"), ("./gone.py", "there is no such file")]
)
def test_what_is_no_plugin_is_told(root: Path, name: str, why: str) -> None:
    done = call("--plugin", name, "validate", cwd=root)
    assert done.code == 2
    assert f"--plugin {name}: {why}" in done.err
