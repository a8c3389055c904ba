"""Plugins of real distributions: found without importing, loaded by name, and one that is broken hurts only who names it."""

from __future__ import annotations

import importlib
import itertools
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from playbook_kernel.cli.common import check_required
from playbook_kernel.drivers import Benchmark
from playbook_kernel.errors import ConfigError, DriverConflict, DriverNotFound, PluginError
from playbook_kernel.loading import HookManager, Loader, load_file, load_hooks, origin
from playbook_kernel.loading.blame import suspect
from playbook_kernel.model import DriverRef, Load, Measurement, PluginPolicy

from tests.kernel.campaigns import campaign

GOOD = """
from playbook_kernel.api import *

@frozen
class Options:
    speed: float = 1.0

class Bench(Benchmark[Options]):
    def run(self, ctx, deployment, load):
        return Measurement({"speed": Metric(self.options.speed, "1")})
"""

Install = Callable[..., str]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Installs a distribution with one module into a folder on the path; returns the module's name, never used before."""
    monkeypatch.delenv("PLAYBOOK_NO_PLUGINS")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])

    def installer(
        name: str,
        source: str | None = GOOD,
        points: Mapping[str, str] | None = None,
        version: str = "1.0",
        requires: Sequence[str] = (),
        under: Path = tmp_path,
    ) -> str:
        module = f"installed_{next(_numbers)}"
        if source is not None:
            (under / f"{module}.py").write_text(source)
        info = under / f"{name.replace('-', '_').replace('.', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        lines = [
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
            *(f"Requires-Dist: {r}\n" for r in requires),
        ]
        (info / "METADATA").write_text("".join(lines))
        text = ""
        for key, target in (points or {"benchmark:mine": "{module}:Bench"}).items():
            kind, _, point = key.partition(":")
            text += f"[playbook_kernel.{kind}]\n{point} = {target.format(module=module)}\n"
        (info / "entry_points.txt").write_text(text)
        importlib.invalidate_caches()
        return module

    return installer


_numbers = itertools.count()


def loader(*, files: Sequence[str] = (), blocked: Sequence[str] = (), **policy: Any) -> Loader:
    return Loader(PluginPolicy(**policy), ("playbook-kernel", *blocked), tuple(files))


def test_listing_imports_nothing_and_naming_imports_what_is_named(install: Install) -> None:
    module = install("good")
    broken = install("broken", "raise RuntimeError", {"benchmark:broken": "{module}:Bench"})
    made = loader()
    assert {"mine", "broken"} <= set(made.names("benchmark"))
    assert not {module, broken} & set(sys.modules)
    bench = made.build(Benchmark, DriverRef("mine", {"speed": 2.5}))  # type: ignore[type-abstract]
    measured: Measurement = bench.run(None, None, Load())  # type: ignore[arg-type]
    assert measured.metrics["speed"].value == 2.5
    assert broken not in sys.modules
    assert made.quarantine == []


BROKEN: Mapping[str, tuple[str | None, str, str]] = {
    "module": (None, "{module}:Bench", "ModuleNotFoundError: No module named"),
    "attribute": ("", "{module}:Bench", "Bench"),
    "raises": ("\n\nraise ValueError('not today')", "{module}:Bench", "ValueError: not today at "),
    "exits": ("import sys\nsys.exit(3)", "{module}:Bench", "SystemExit: 3"),
    "asserts": ("assert False, 'never'", "{module}:Bench", "AssertionError: never"),
    "syntax": ("\n\ndef f(:\n", "{module}:Bench", "SyntaxError: invalid syntax at /"),
    "imports": ("import not_there_at_all", "{module}:Bench", "No module named 'not_there_at_all'"),
    "function": ("def Bench(options): ...", "{module}:Bench", "is not a subclass of Benchmark"),
    "kind": ("from playbook_kernel.api import Probe as Bench", "{module}:Bench", "is not a subclass of Benchmark"),
    "abstract": (
        "from playbook_kernel.api import Benchmark\nclass Bench(Benchmark): ...", "{module}:Bench", "Bench lacks run",
    ),
    "options": (
        ("from playbook_kernel.api import Benchmark\nclass Bench(Benchmark):\n    options_type = dict\n"
        "    def run(self, ctx, deployment, load): ..."), "{module}:Bench", "its options are not an attrs class",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
def test_a_driver_that_cannot_be_used_is_quarantined_and_hurts_only_who_names_it(install: Install, what: str) -> None:
    source, target, words = BROKEN[what]
    install("Broken.Thing", source, {"benchmark:broken": target}, version="2.5")
    install("good")
    made = loader()
    for _ in range(2):
        with pytest.raises(DriverNotFound) as caught:
            made.driver("benchmark", "broken")
        assert words in str(caught.value)
        assert "benchmark:broken from broken-thing 2.5" in str(caught.value)
    assert len(made.quarantine) == 1
    if what in ("raises", "syntax"):
        assert "py:3" in made.quarantine[0].reason, "the file and the line"
    assert made.driver("benchmark", "mine").__name__ == "Bench"


HANGS: Mapping[str, str] = {
    "sleeps": "import time\ntime.sleep({})",
    "waits": "import threading\nthreading.Event().wait({})",
    "loops": "import time\nend = time.monotonic() + {}\nwhile time.monotonic() < end:\n    try:\n        sum(range(9))\n"
    "    except Exception:\n        pass",
}


def ended(name: str) -> bool:
    """Whether no thread of that name is at work any more, or will be soon."""
    for thread in threading.enumerate():
        if thread.name == name:
            thread.join(10)
    return name not in {thread.name for thread in threading.enumerate()}


@pytest.mark.parametrize("way", HANGS)
@pytest.mark.parametrize("main", [True, False])
def test_an_import_that_hangs_is_given_up_and_hurts_only_who_names_it(
    install: Install, way: str, *, main: bool
) -> None:
    module = install("Hangs", HANGS[way].format(600 if way == "loops" else 3), {"benchmark:hangs": "{module}:Bench"})
    install("good")
    made = loader(import_timeout=0.2)

    def refused() -> str:
        with pytest.raises(DriverNotFound) as caught:
            made.driver("benchmark", "hangs")
        return str(caught.value)

    with ThreadPoolExecutor() as pool:
        said = refused() if main else pool.submit(refused).result()
    assert "benchmark:hangs from hangs 1.0" in said
    assert "its import does not end within 0.2 s at " in said
    assert f"{module}.py:" in said, "where it hangs"
    assert refused() == said, "it is not tried again"
    assert made.driver("benchmark", "mine").__name__ == "Bench"
    assert ended("import"), "it takes no processor time from others"
    assert module not in sys.modules


def test_a_single_file_that_hangs_is_given_up(tmp_path: Path) -> None:
    (tmp_path / "hangs.py").write_text("while True:\n    pass\n")
    with pytest.raises(PluginError, match=r"hangs\.py cannot be loaded: .* within 0.2 s at .*hangs\.py:[12]"):
        load_hooks(loader(files=[str(tmp_path / "hangs.py")], import_timeout=0.2))
    assert ended("import")


def test_what_nobody_offers_is_told_with_what_may_have_been_meant(install: Install) -> None:
    install("good")
    with pytest.raises(DriverNotFound, match=r"no benchmark is called 'minee'; did you mean 'mine'"):
        loader().driver("benchmark", "minee")


@pytest.mark.parametrize(
    ("requires", "fits"),
    [
        (["playbook-kernel>=0.1,<1"], True),
        (["playbook-kernel"], True),
        (["requests>=99", "this is no requirement !!"], True),
        (["playbook-kernel>=99"], False),
        (["Playbook.Kernel<0.1"], False),
    ],
)
def test_a_plugin_for_another_kernel_is_quarantined_unimported(
    install: Install, requires: list[str], *, fits: bool
) -> None:
    module = install("other", requires=requires)
    made = loader()
    if fits:
        assert made.driver("benchmark", "mine")
        return
    with pytest.raises(DriverNotFound, match=r"it wants .*this is 0\.1"):
        made.driver("benchmark", "mine")
    assert module not in sys.modules


def test_one_name_of_two_distributions_is_a_conflict_until_it_is_pinned(install: Install) -> None:
    install("first-one")
    second = install("Second_One")
    with pytest.raises(DriverConflict) as caught:
        loader().driver("benchmark", "mine")
    assert "first-one 1.0" in str(caught.value)
    assert "second-one 1.0" in str(caught.value)
    assert caught.value.hint is not None
    assert 'prefer: {"benchmark:mine": "first-one"}' in caught.value.hint
    for key in ("benchmark:mine", "mine"):
        assert loader(prefer={key: "Second_One"}).driver("benchmark", "mine").__module__ == second
    with pytest.raises(DriverNotFound):
        loader(prefer={"mine": "third"}).driver("benchmark", "mine")


def test_one_distribution_on_two_paths_is_no_conflict(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = install("good")
    again = tmp_path / "again"
    install("good", None, {"benchmark:mine": f"{module}:Bench"}, under=again)
    monkeypatch.setattr(sys, "path", [str(again), *sys.path])
    assert loader().driver("benchmark", "mine").__module__ == module


def test_what_is_disabled_is_not_there(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install("My.Plugins", points={"benchmark:mine": "{module}:Bench", "probe:mine": "{module}:Bench"})
    for name in ("mine", "my-plugins", "My_Plugins"):
        assert "mine" not in loader(disable=(name,)).names("benchmark")
        assert "mine" not in loader(blocked=(name,)).names("probe")
    only = loader(disable=("probe:mine",))
    assert ("mine" in only.names("benchmark"), "mine" in only.names("probe")) == (True, False)
    monkeypatch.setenv("PLAYBOOK_NO_PLUGINS", "0")
    assert "mine" in Loader().names("benchmark")
    monkeypatch.setenv("PLAYBOOK_NO_PLUGINS", "1")
    assert "mine" not in Loader().names("benchmark")
    assert "noop" in Loader().names("benchmark"), "what comes with the kernel stays"


def test_required_plugins_must_be_there_and_usable(install: Install) -> None:
    install("good", version="1.5")
    install("bad-hooks", "raise ValueError('no')", {"hooks:bad": "{module}"})
    check_required(loader(require=("good>=1", "Good")))
    made = loader(require=("good>=2", "absent-thing", "what is this", "bad_hooks"))
    load_hooks(made)
    with pytest.raises(PluginError) as caught:
        check_required(made)
    for words in (
        "good>=2 is required, 1.5 is installed",
        "absent-thing is not installed",
        "'what is this' is not a requirement",
        "hooks:bad from bad-hooks 1.0",
    ):
        assert words in str(caught.value)


def test_bad_options_are_told_under_where_the_driver_was_named(install: Install) -> None:
    install("good")
    with pytest.raises(ConfigError) as caught:
        loader().build(Benchmark, DriverRef("mine", {"sped": 1}, "s/metadata.yaml:3: benchmark"))  # type: ignore[type-abstract]
    assert caught.value.problems == ("s/metadata.yaml:3: benchmark: unknown key 'sped', did you mean 'speed'?",)


# -- hooks ----------------------------------------------------------------------------------------------------------

HOOKS: Mapping[str, tuple[str, str]] = {
    "raises": ("raise ValueError('not today')", "ValueError: not today"),
    "misspelt": ("@hookimpl\ndef playbook_deplyo(ctx): ...", "there is no hook playbook_deplyo"),
    "arguments": ("@hookimpl\ndef playbook_deploy(context): ...", "context"),
    "wraps": (
        "@hookimpl(wrapper=True)\ndef playbook_cleanup(ctx):\n    return (yield)",
        "playbook_cleanup cannot be wrapped: its calls are isolated",
    ),
    "register": ("@hookimpl\ndef playbook_register(registry):\n    raise OSError('full')", "OSError: full"),
    "gives": (
        "@hookimpl\ndef playbook_register(registry):\n    return {'mine': object}",
        "playbook_register gave dict, not NoneType",
    ),
    "hangs": (
        "import threading\n@hookimpl\ndef playbook_register(registry):\n    threading.Event().wait()",
        "PluginTimeout: it did not come back within its deadline",
    ),
    "takes": (
        GOOD + "@hookimpl\ndef playbook_register(registry):\n    registry.add('taken', Bench)",
        "DriverConflict: benchmark 'taken' is already offered",
    ),
}
HEAD = "from playbook_kernel.api import *\n"
FACTS = HEAD + "@hookimpl\ndef playbook_discover(ctx, node, session):\n    return {'from': __name__}"


def facts(manager: HookManager) -> list[Any]:
    return list(manager.hook.playbook_discover(ctx=None, node=None, session=None))


@pytest.mark.parametrize("what", HOOKS)
def test_a_hook_plugin_that_cannot_be_registered_is_quarantined_whole(
    install: Install, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr("playbook_kernel.loading.manager._PATIENCE", 0.1 if what == "hangs" else 60.0)
    source, words = HOOKS[what]
    also = "\n@hookimpl\ndef playbook_discover(ctx, node, session):\n    return {'from': 'the bad one'}\n"
    install("bad-one", HEAD + source + also, {"hooks:bad": "{module}"})
    install("driver", points={"benchmark:taken": "{module}:Bench"})
    good = install("good-one", FACTS, {"hooks:good": "{module}"})
    made = loader()
    manager = load_hooks(made)
    [quarantined] = made.quarantine
    assert quarantined.offer.name == "bad"
    assert words in quarantined.reason
    assert facts(manager) == [{"from": good}]
    assert not manager.has_plugin("bad")


def test_hook_plugins_of_one_name_are_both_left_out_until_one_is_pinned(install: Install) -> None:
    install("one", FACTS, {"hooks:twin": "{module}"})
    two = install("two", FACTS, {"hooks:twin": "{module}"})
    made = loader()
    assert facts(load_hooks(made)) == []
    assert [q.reason for q in made.quarantine] == ["its name is taken twice"] * 2
    assert facts(load_hooks(loader(prefer={"hooks:twin": "two"}))) == [{"from": two}]


def test_a_campaign_writes_down_which_distribution_each_hook_plugin_is_of(install: Install, tmp_path: Path) -> None:
    install("one-more", FACTS, {"hooks:more": "{module}"}, version="2.3")
    result = campaign(tmp_path, ["a"], in_process=True).result
    assert result.plugins["more"] == "one-more 2.3"
    assert result.plugins[str(tmp_path / "base.py")] == "not installed"
    assert list(result.plugins) == sorted(result.plugins)


def test_drivers_made_in_code_are_offered_also_by_plugins_that_come_later(install: Install) -> None:
    source = GOOD + "@hookimpl\ndef playbook_register(registry):\n    registry.add('made', Bench)"
    module = install("maker", source, {"hooks:maker": "{module}"})
    made = loader()
    manager = load_hooks(made)
    assert made.driver("benchmark", "made").__module__ == module
    assert "made" in made.names("benchmark")

    class Late:
        @staticmethod
        def playbook_register(registry: Any) -> None:
            registry.add("late", made.driver("benchmark", "made"))

    from playbook_kernel.api import hookimpl

    Late.playbook_register = staticmethod(hookimpl(Late.playbook_register))  # type: ignore[method-assign]
    manager.register(Late())
    assert "late" in made.names("benchmark")


# -- single files -----------------------------------------------------------------------------------------------------


def test_a_single_file_gives_hooks_and_drivers(tmp_path: Path) -> None:
    path = tmp_path / "my_bench.py"
    path.write_text(
        GOOD + "class Named(Bench):\n    name = 'my-name'\n\nclass Part(Benchmark): ...\n" + FACTS.removeprefix(HEAD)
    )
    made = loader(files=[str(path)])
    manager = load_hooks(made)
    assert made.driver("benchmark", "Bench").__name__ == "Bench"
    assert made.driver("benchmark", "my-name").__name__ == "Named"
    assert "Part" not in made.names("benchmark"), "what is abstract is a helper"
    assert "Benchmark" not in made.names("benchmark"), "what is imported is somebody else's"
    assert len(facts(manager)) == 1
    assert load_file(str(path)) is load_file(str(path))


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("\nraise ValueError('no')", "ValueError: no at "),
        ("raise SystemExit(1)", "SystemExit: 1"),
        ("def f(:", "SyntaxError"),
        (None, "No such file"),
        (HEAD + "@hookimpl\ndef playbook_deplyo(ctx): ...", "there is no hook playbook_deplyo"),
    ],
)
def test_a_single_file_that_was_asked_for_and_cannot_be_used_is_an_error(
    tmp_path: Path, source: str | None, words: str
) -> None:
    path = tmp_path / "bad.py"
    if source is not None:
        path.write_text(source)
    for _ in range(2):
        with pytest.raises(PluginError, match=r"bad\.py") as caught:
            load_hooks(loader(files=[str(path)]))
        assert words in str(caught.value)


def test_a_file_plugin_may_be_a_module_by_name(install: Install) -> None:
    module = install("plain", FACTS, {"unused:x": "{module}"})
    assert facts(load_hooks(loader(files=[module]))) == [{"from": module}]
    with pytest.raises(PluginError, match="no_such_module_here cannot be loaded"):
        load_hooks(loader(files=["no_such_module_here"]))


# -- calling ------------------------------------------------------------------------------------------------------------


def manager(tmp_path: Path, **sources: str) -> HookManager:
    """Plugins in the order given; the last one is called first."""
    made = HookManager()
    for name, source in sources.items():
        path = tmp_path / f"{name}.py"
        path.write_text(HEAD + source)
        made.register(load_file(str(path)), name)
    return made


def bench(made: HookManager) -> Any:
    return made.hook.playbook_benchmark(ctx=None, deployment=None, load=None)


RESULT = "@hookimpl\ndef playbook_benchmark():\n    return Measurement({'x': Metric(1.0, '1')})"
RAISES = "@hookimpl\ndef playbook_benchmark():\n    raise ValueError('no')"


def test_an_error_is_signed_with_the_plugin_it_came_from(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no") as caught:
        bench(manager(tmp_path, fine=RESULT, guilty=RAISES))
    assert origin(caught.value) == "guilty"
    assert caught.value.__notes__ == ["raised by plugin 'guilty' in playbook_benchmark"]
    assert suspect() == ""
    assert origin(ValueError()) == ""


def test_a_wrapper_acts_around_and_does_not_take_the_blame_of_others(tmp_path: Path) -> None:
    changes = """
@hookimpl(wrapper=True)
def playbook_benchmark():
    made = yield
    return Measurement({**made.metrics, 'y': Metric(2.0, '1')})
"""
    assert set(bench(manager(tmp_path, fine=RESULT, outer=changes)).metrics) == {"x", "y"}
    with pytest.raises(ValueError, match="no") as caught:
        bench(manager(tmp_path, guilty=RAISES, outer1=changes))
    assert origin(caught.value) == "guilty"
    with pytest.raises(KeyError) as of_wrapper:
        bench(
            manager(
                tmp_path,
                fine2=RESULT,
                outer2="@hookimpl(wrapper=True)\ndef playbook_benchmark():\n    yield\n    {}[1]",
            )
        )
    assert origin(of_wrapper.value) == "outer2"


def test_the_calls_of_a_hook_are_bounded_by_whoever_makes_them_and_signed(tmp_path: Path) -> None:
    hook = "@hookimpl\ndef playbook_event(ctx, event):\n    "
    made = manager(
        tmp_path, a=hook + "event.append('a')", b=hook + "raise ValueError('b')", c=hook + "raise SystemExit",
        d=hook + "event.append('d')",
    )  # fmt: skip
    seen: list[str] = []
    calls = dict(made.calls("playbook_event", ctx=None, event=seen))
    assert list(calls) == ["d", "c", "b", "a"], "the newest plugin first"
    assert (calls["d"](), calls["a"](), seen) == (None, None, ["d", "a"])
    for name, kind in (("b", ValueError), ("c", PluginError)):
        with pytest.raises(kind) as raised:
            calls[name]()
        assert origin(raised.value) == name


def test_who_is_entered_and_left_is_told(tmp_path: Path) -> None:
    made = manager(tmp_path, fine=RESULT, guilty="@hookimpl\ndef playbook_benchmark():\n    return None")
    told: list[str] = []
    made.entered = told.append
    bench(made)
    assert told == ["guilty", "", "fine", ""]
