"""`plugins`: what is installed, what one is, what is wrong, and leaving one out."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from .installed import BENCH, Site

HOOKS = '''\
"""Watches."""
from playbook_kernel.api import hookimpl

@hookimpl(tryfirst=True)
def playbook_collect(ctx, deployment):
    return []

@hookimpl(wrapper=True)
def playbook_deploy(ctx):
    return (yield)
'''


def states(site: Site, *argv: str) -> dict[str, str]:
    """State of every plugin that the test installed."""
    rows = site.call("plugins", "list", *argv, "--json").json
    ours = [r for r in rows if r["kind"] == "file" or r["target"].partition(":")[0] in site.modules]
    return {f"{r['kind']}:{r['name']} {r['distribution']}": r["state"] for r in ours}


# -- list ---------------------------------------------------------------------------------------------------------


def test_every_plugin_has_its_state_and_none_is_imported(site: Site) -> None:
    site.add("good")
    site.add("broken", "raise RuntimeError", {"probe:broken": ":Probe"})
    site.add("old", points={"benchmark:old": ":Bench"}, requires=["playbook-kernel>=9"])
    site.add("twin-a", points={"benchmark:twin": ":Bench"})
    site.add("twin-b", points={"benchmark:twin": ":Bench", "reporter:pinned": ":R"})
    site.add("twin-c", points={"reporter:pinned": ":R"})
    site.add("idle", points={"hooks:idle": ""})
    (site.root / "mine.py").write_text("raise RuntimeError")
    site.defaults("plugins:\n  disable: [idle]\n  prefer: {'reporter:pinned': twin-c}\n  paths: [mine.py]\n")
    assert states(site) == {
        "benchmark:mine good": "ok",
        "probe:broken broken": "ok",
        "benchmark:old old": "it wants playbook-kernel>=9, this is 0.1.0",
        "benchmark:twin twin-a": "its name is taken twice",
        "benchmark:twin twin-b": "its name is taken twice",
        "reporter:pinned twin-b": "twin-c is preferred",
        "reporter:pinned twin-c": "ok",
        "hooks:idle idle": "disabled",
        "file:mine.py ": "ok",
    }
    assert states(site, "--kind", "hooks") == {"hooks:idle idle": "disabled"}
    assert site.imported == []


def test_plain_words_and_the_bare_command(site: Site) -> None:
    site.add("good")
    bare = site.call("plugins")
    assert bare.code == 0
    assert ["benchmark", "mine", "good", "1.0"] in [line.split()[:4] for line in bare.out.splitlines()]
    assert bare.out == site.call("plugins", "list").out
    assert site.call("plugins", "--json").json == site.call("plugins", "list", "--json").json


def test_what_is_named_on_the_command_line_counts_too(site: Site) -> None:
    site.add("good")
    (site.root / "x.py").touch()
    assert states(site, "--no-plugin", "good", "--plugin", "./x.py") == {
        "benchmark:mine good": "disabled", "file:x.py ": "ok",
    }  # fmt: skip


def test_listing_grows_with_what_is_installed_and_not_faster(site: Site, tmp_path_factory: Any) -> None:
    """Files that are opened: so many for each plugin, whatever their number."""
    opened: list[int] = []

    def count(event: str, args: tuple[Any, ...]) -> None:
        if event == "open" and opened and str(args[0]).startswith(str(site.folder)):
            opened[-1] += 1

    sys.addaudithook(count)
    installed = 0
    for wanted in (10, 100):
        for number in range(installed, wanted):
            site.add(f"many-{number}", points={f"benchmark:many{number}": ":Bench"}, requires=["playbook-kernel>=0.1"])
        installed = wanted
        opened.append(0)
        rows = site.call("plugins", "--json").json
        assert sum(r["distribution"].startswith("many-") for r in rows) == wanted
    opened.append(0)
    few, many = opened[:2]
    assert 0 < many <= 10 * few
    assert site.imported == []


# -- show ---------------------------------------------------------------------------------------------------------


def test_a_driver_with_its_options(site: Site) -> None:
    module = site.add("good")
    about = site.call("plugins", "show", "mine", "--json").json
    assert (about["kind"], about["distribution"], about["version"], about["state"]) == (
        "benchmark",
        "good",
        "1.0",
        "ok",
    )
    assert about["doc"] == "Measures what it is told."
    assert about["file"] == f"{site.folder}/{module}.py:13"
    assert about["options_doc"] == "``speed``: how fast."
    assert about["options"] == [
        {"name": "speed", "type": "float", "required": False, "default": "1.0"},
        {"name": "key", "type": "Secret | None", "required": False, "default": "None"},
        {"name": "tags", "type": "list[str]", "required": False, "default": "[]"},
        {"name": "url", "type": "str", "required": True, "default": None},
    ]
    words = site.call("plugins", "show", "benchmark:mine").out
    assert "benchmark:mine, of good 1.0" in words
    assert ["url", "str", "required"] in [line.split() for line in words.splitlines()]


def test_the_hooks_of_a_plugin_in_call_order(site: Site) -> None:
    site.add("watcher", HOOKS, {"hooks:watcher": ""})
    about = site.call("plugins", "show", "watcher", "--json").json
    deploy, collect = about["hooks"]
    assert (deploy["name"], deploy["arguments"], deploy["how"]) == ("playbook_deploy", ["ctx"], "wraps")
    assert deploy["order"].index("watcher") < deploy["order"].index("defaults")
    assert (collect["name"], collect["how"], collect["order"][0]) == ("playbook_collect", "tryfirst", "watcher")
    assert "[watcher] > " in site.call("plugins", "show", "hooks:watcher").out


def test_one_that_cannot_be_imported_says_why(site: Site) -> None:
    site.add("broken", "\nraise ValueError('not today')", {"probe:broken": ":Probe"})
    shown = site.call("plugins", "show", "broken")
    assert shown.code == 3
    assert "not used: ValueError: not today at " in shown.out


@pytest.mark.parametrize(
    "name, words",
    [
        ("mien", "no plugin is called 'mien'"),
        ("mien", "did you mean 'mine'?"),
        ("script", "say one of benchmark:script, probe:script"),
        ("twin", "'twin' is offered twice"),
    ],
)
def test_a_name_that_means_nothing_or_too_much(site: Site, name: str, words: str) -> None:
    site.add("good")
    site.add("twin-a", points={"benchmark:twin": ":Bench"})
    site.add("twin-b", points={"benchmark:twin": ":Bench"})
    done = site.call("plugins", "show", name)
    assert (done.code, words in done.err) == (3, True), done.err


# -- doctor -------------------------------------------------------------------------------------------------------


def test_all_is_well(site: Site) -> None:
    site.add("good", f"print('hello')\n{BENCH}")
    site.add("watcher", HOOKS, {"hooks:watcher": ""})
    done = site.call("plugins", "doctor")
    assert done.code == 0, done.out
    assert done.out.splitlines()[-1].endswith("plugins, no findings")


def test_one_whose_import_hangs_is_ended(site: Site) -> None:
    site.defaults("plugins: {import_timeout: 3}\n")
    site.add("hangs", "import threading\nthreading.Event().wait()", {"probe:hangs": ":P"})
    done = site.call("plugins", "doctor")
    assert (done.code, "probe:hangs of hangs 1.0: its import does not end within 3 s" in done.out) == (3, True)


def test_one_whose_import_hangs_is_left_out_of_a_run_and_named(site: Site) -> None:
    (tried := site.root / "tried").touch()
    hangs = f"with open({str(tried)!r}, 'a') as file:\n    file.write('x')\nwhile True:\n    pass"
    site.add("hangs", hangs, {"hooks:hangs": "", "reporter:hangs": ":R"})
    site.defaults("plugins: {import_timeout: 0.5}\n")
    words = "plugin hooks:hangs from hangs 1.0"
    validated = site.call("validate", "--json")
    [warning] = json.loads(validated.out)["warnings"]
    assert (validated.code, words in warning, "does not end within 0.5 s" in warning) == (0, True, True)
    before = len(tried.read_text())
    done = site.call("run", "--all")
    assert (done.code, words in done.err) == (0, True), done.err
    assert len(tried.read_text()) == before + 1, "the trial's process does not try it again"
    site.defaults("plugins: {import_timeout: 0.5}\nreports: [json, hangs]\n")
    named = site.call("validate")
    assert (named.code, "reporter:hangs from hangs 1.0" in named.out) == (3, True), named.out


def test_everything_that_is_wrong_is_told_at_once(site: Site) -> None:
    site.add("raises", "\n\nraise ValueError('not today')", {"probe:raises": ":P"})
    site.add("quits", "import os\nos._exit(7)", {"probe:quits": ":P"})
    site.add(
        "typo", "from playbook_kernel.api import hookimpl\n@hookimpl\ndef playbook_colect(ctx): ...", {"hooks:typo": ""}
    )
    site.add(
        "wants",
        "from playbook_kernel.api import hookimpl\n@hookimpl\ndef playbook_event(evnt): ...",
        {"hooks:wants": ""},
    )
    site.add("words", "command = 'no command'", {"command:words": ":command"})
    site.add("old", requires=["playbook-kernel<0.1"])
    site.add("twin-a", points={"benchmark:twin": ":Bench"})
    site.add("twin-b", points={"benchmark:twin": ":Bench"})
    (site.root / "mine.py").write_text("import not_there_at_all")
    site.defaults(
        "plugins:\n  disable: [nobody]\n  require: [nothing>=1]\n  prefer: {'probe:http': nobody}\n  paths: [mine.py]\n"
    )
    done = site.call("plugins", "doctor", "--json")
    assert done.code == 3
    found = {f["plugin"].partition(" ")[0]: (f["message"], f["error"], f["hint"]) for f in done.json["findings"]}
    told = {name: message for name, (message, _, _) in found.items()}
    assert told.pop("probe:raises").startswith(f"ValueError: not today at {site.folder}/raises_0")
    assert told.pop("probe:quits") == "its import ends the process with status 7: without a word"
    assert "there is no hook playbook_colect" in told.pop("hooks:typo")
    assert "evnt" in told.pop("hooks:wants")
    assert told.pop("command:words").endswith(":command is not a click command")
    assert told.pop("benchmark:mine") == "it wants playbook-kernel<0.1, this is 0.1.0"
    assert told.pop("benchmark:twin") == "is offered by twin-a 1.0 and twin-b 1.0"
    assert '"benchmark:twin": "twin-a"' in found["benchmark:twin"][2]
    assert "not_there_at_all" in told.pop("mine.py")
    assert told.pop("plugins.require") == "nothing>=1 is not installed"
    assert told.pop("plugins.prefer") == "'nobody' does not offer 'probe:http'"
    assert found["plugins.disable"][:2] == ("'nobody' is nothing that is installed", False)
    assert set(told) == {"plugins.disable"}


def test_a_slow_import_is_a_warning(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("playbook_kernel.cli.doctor.SLOW", 0.0)
    site.add("good")
    done = site.call("plugins", "doctor")
    assert done.code == 0
    assert "warning: benchmark:mine of good 1.0: takes 0." in done.out
    assert "python -X importtime" in done.out


# -- disable, enable ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mine", "benchmark:mine", "good"])
def test_one_is_left_out_for_good_and_used_again(site: Site, name: str) -> None:
    site.add("good")
    done = site.call("plugins", "disable", name)
    assert (done.code, done.out) == (0, f"plugin {name} is disabled now, in config/defaults.yaml\n"), done.err
    assert states(site) == {"benchmark:mine good": "disabled"}
    assert site.call("plugins", "disable", name).code == 0, "once more changes nothing"
    assert site.call("plugins", "enable", name).out == f"plugin {name} is enabled now, in config/defaults.yaml\n"
    assert states(site) == {"benchmark:mine good": "ok"}


def test_a_program_reads_what_was_written(site: Site) -> None:
    site.add("good")
    file = str(site.root / "config/defaults.yaml")
    for command, disabled in (("disable", True), ("enable", False)):
        told = site.call("plugins", command, "mine", "--json").json
        assert told == {"name": "mine", "disabled": disabled, "file": file}


def test_what_is_not_there_cannot_be_disabled_nor_enabled(site: Site) -> None:
    assert "no plugin is called 'nobody'" in site.call("plugins", "disable", "nobody").err
    done = site.call("plugins", "enable", "script")
    assert (done.code, done.err) == (2, "error: 'script' is not disabled\nhint: the defaults file disables nothing\n")
    assert not (site.root / "config/defaults.yaml").exists()
