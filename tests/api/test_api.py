"""The API changes only on purpose, is complete, and keeps those who were built against an older one."""

from __future__ import annotations

import importlib
import inspect
import re
import subprocess
import sys
import types
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import playbook_kernel
import pytest
import structlog
from packaging.version import Version
from playbook_kernel import api, deprecated, hookspecs, testing
from playbook_kernel.deprecated import Going
from playbook_kernel.loading import HookManager
from playbook_kernel.model import DriverRef, Node, Scenario, Service
from playbook_kernel.testing import check_driver, check_hooks, check_reader, fake_trial, run_campaign

from . import plugin_0_1, snapshot

HERE = Path(__file__).parent
OLD_DRIVERS = {
    cls: kind for kind in api.KINDS for cls in vars(plugin_0_1).values()
    if inspect.isclass(cls) and issubclass(cls, api.KINDS[kind]) and cls.__module__ == plugin_0_1.__name__
}  # fmt: skip


# -- what there is ------------------------------------------------------------------------------------------------


def test_every_change_is_deliberate() -> None:
    is_ = snapshot.text()
    was = (HERE / "snapshot.txt").read_text()
    assert is_ == was, (
        "the API is not as it was. If that is meant: deprecate what goes (kernel/playbook_kernel/deprecated.py), say it in "
        "CHANGELOG.md, then `python -m tests.api.snapshot > tests/api/snapshot.txt`"
    )


def test_what_was_structured_before_makes_no_difference() -> None:
    """Structuring resolves the annotations of a class in place: ``ServiceStatus`` becomes all that it may be."""
    changed = api.ServiceChanged("a", "n1", "ready")
    assert api.decode(api.encode(changed), api.ServiceChanged) == changed
    assert snapshot.text() == (HERE / "snapshot.txt").read_text()


def test_the_list_is_sorted_and_is_all_there_is() -> None:
    constants, others = (
        [n for n in api.__all__ if n.isupper()], [n for n in api.__all__ if not n.isupper()],
    )  # fmt: skip
    assert api.__all__ == [
        *sorted(constants), *sorted(n for n in others if n[0].isupper()), *sorted(n for n in others if n[0].islower()),
    ]  # fmt: skip
    public = {n for n, v in vars(api).items() if not n.startswith("_") and not inspect.ismodule(v)}
    assert public - {"TYPE_CHECKING", "Any"} == set(api.__all__)


def classes_in(annotation: Any) -> Iterator[type[Any]]:
    """Every class that a type is made of."""
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        yield annotation
    for part in typing.get_args(annotation):
        if isinstance(part, list):
            for inner in part:
                yield from classes_in(inner)
        else:
            yield from classes_in(part)


def annotations_of(thing: Any) -> Iterator[tuple[str, Any]]:
    """Where a public class or function mentions which type."""
    names = {**vars(api), **vars(importlib.import_module("pathlib")), **vars(typing), "structlog": structlog}
    functions = [(n, f) for n, f in vars(thing).items() if not n.startswith("_")] if inspect.isclass(thing) else []
    if inspect.isfunction(thing):
        functions = [(thing.__name__, thing)]
    for name, function in functions:
        inner = function.__func__ if isinstance(function, classmethod | staticmethod) else function
        inner = inner.fget if isinstance(inner, property) else inner
        if inspect.isfunction(inner):
            inner = inspect.unwrap(inner)
            found = typing.get_type_hints(inner, {**vars(sys.modules[inner.__module__]), **names})
            yield from ((f"{name}({where})", hint) for where, hint in found.items())
    if inspect.isclass(thing) and attrs.has(thing):
        module = vars(sys.modules[thing.__module__])
        for where, hint in typing.get_type_hints(thing, {**module, **names}).items():
            if not where.startswith("_"):
                yield where, hint


def test_no_signature_names_a_type_that_is_not_public() -> None:
    public = {v for v in (getattr(api, n) for n in api.__all__) if inspect.isclass(v)}
    hidden = {
        f"{name}.{where}: {cls.__module__}.{cls.__name__}"
        for name in api.__all__
        for where, hint in annotations_of(getattr(api, name))
        for cls in classes_in(hint)
        if cls.__module__.startswith("playbook_kernel") and cls not in public
    }
    assert hidden == set()


def test_everything_says_what_it_is() -> None:
    silent = [
        name for name in api.__all__
        if (inspect.isclass(v := getattr(api, name)) or inspect.isfunction(v)) and not inspect.getdoc(v)
    ]  # fmt: skip
    assert silent == []


def test_names_of_the_testing_package_are_there() -> None:
    assert [n for n in testing.__all__ if not hasattr(testing, n)] == []
    with pytest.raises(AttributeError, match="no attribute 'check_nothing'"):
        testing.check_nothing  # noqa: B018


# -- from outside -------------------------------------------------------------------------------------------------

WRONG = """\
from playbook_kernel.api import Benchmark, Deployment, Load, Measurement, NoOptions, TrialContext, no_such_name


class Bench(Benchmark[NoOptions]):
    def run(self, ctx: TrialContext, deployment: Deployment, load: Load) -> int:
        return ctx.session(5).run(["x"]).status
"""
WRONG_PLACES = {1: "no_such_name", 5: "run", 6: "session"}


def checked(argv: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "argv",
    [
        pytest.param([sys.executable, "-m", "mypy", "--strict", "--no-incremental", "--no-color-output"], id="mypy"),
        pytest.param([sys.executable, "-m", "basedpyright", "--level", "error"], id="pyright"),
    ],
)
def test_types_are_known_outside(argv: list[str], tmp_path: Path) -> None:
    """A checker takes the old plugin as it is, and finds every mistake of the wrong one."""
    if argv[2] == "basedpyright" and importlib.util.find_spec("basedpyright") is None:
        pytest.skip("basedpyright is not installed")
    (tmp_path / "pyproject.toml").write_text(
        '[tool.basedpyright]\ntypeCheckingMode = "strict"\n'
        f'venvPath = "{Path(sys.prefix).parent}"\nvenv = "{Path(sys.prefix).name}"\n'
    )
    (tmp_path / "good.py").write_text(Path(plugin_0_1.__file__).read_text())
    (tmp_path / "wrong.py").write_text(WRONG)
    good = checked([*argv, "good.py"], tmp_path)
    assert good.returncode == 0, good.stdout + good.stderr
    wrong = checked([*argv, "wrong.py"], tmp_path)
    assert wrong.returncode == 1, wrong.stderr
    found = {int(line) for line in re.findall(r"wrong\.py:(\d+)[^\n]*error", wrong.stdout)}
    assert found == set(WRONG_PLACES), wrong.stdout


# -- a plugin of 0.1 ----------------------------------------------------------------------------------------------


def drivers() -> dict[str, dict[str, Any]]:
    return {kind: cls for cls, kind in OLD_DRIVERS.items()}


def test_an_old_plugin_has_every_kind_of_driver_of_its_time() -> None:
    assert sorted(OLD_DRIVERS.values()) == [
        "benchmark", "collector", "composer", "executor", "probe", "reader", "reporter", "transport",
    ]  # fmt: skip
    for cls in OLD_DRIVERS:
        check_driver(cls)
    assert len(check_hooks(plugin_0_1)) == 10


def test_an_old_plugin_runs_a_whole_campaign(tmp_path: Path) -> None:
    plugin_0_1.SEEN.clear()
    service = Service("engine", ("n1",), tmp_path / "compose.yml")
    scenario = Scenario("old", tmp_path, DriverRef("v01", {"speed": 2.5}), (service,))

    class Registers:
        """Offers its drivers as a plugin does that makes them in code."""

        @api.hookimpl
        def playbook_register(self, registry: api.Registry) -> None:
            for cls in OLD_DRIVERS:
                registry.add("v01", cls)

    outcome = run_campaign(
        tmp_path / "results",
        [scenario],
        nodes=[Node("n1", DriverRef("v01"), composer="v01")],
        hooks={"v01": plugin_0_1, "registers": Registers()},
    )
    [trial] = outcome.result.scenarios[0].trials
    assert [(p.phase, p.status, p.error) for p in trial.phases] == [(p, "ok", "") for p in api.PHASES]
    assert trial.clean
    assert trial.measurement is not None
    assert trial.measurement.metrics["speed"].value == 2.5
    assert trial.measurement.method == "measure 1"
    assert trial.facts["n1"] == {"v01": "uname", "node": "n1"}
    assert [a.path for a in trial.artifacts] == ["old.txt"]
    assert outcome.reports[0].read_text() == "1 of 1"
    assert plugin_0_1.SEEN[:2] == ["register", "plan"]
    assert plugin_0_1.SEEN.index("before") < plugin_0_1.SEEN.index("after")
    assert {"TrialStarted", "PhaseEnded", "CampaignEnded"} <= set(plugin_0_1.SEEN)


def test_an_old_reader_reads(tmp_path: Path) -> None:
    good, bad = (api.Sources(tmp_path / n, tmp_path, tmp_path) for n in ("good", "bad"))
    good.config_dir.mkdir()
    check_reader(plugin_0_1.OldReader(api.NoOptions()), good, [bad])


def test_a_hook_gets_a_further_argument_and_old_plugins_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every hook of 0.1 with one more argument: a plugin that does not name it is called as ever, one that does gets it."""

    def longer(hook: Any) -> Any:
        arguments = ", ".join([*inspect.signature(hook).parameters, "reason"])
        space: dict[str, Any] = {}
        exec(f"def {hook.__name__}({arguments}): ...", space)
        made = space[hook.__name__]
        for key, value in vars(hook).items():
            setattr(made, key, value)
        return made

    for name in [n for n in vars(hookspecs) if n.startswith("playbook_")]:
        monkeypatch.setattr(hookspecs, name, longer(getattr(hookspecs, name)))
    told: list[str] = []

    class New:
        """Takes the new argument."""

        @api.hookimpl
        def playbook_collect(self, reason: str) -> list[api.Artifact]:
            told.append(reason)
            return []

    manager = HookManager()
    manager.register(plugin_0_1, "old")
    manager.register(New(), "new")
    manager.check_pending()
    trial = fake_trial(tmp_path)
    monkeypatch.setattr(trial.ctx, "build", lambda kind, ref: plugin_0_1.OldCollector(api.NoOptions()))
    calls = manager.calls("playbook_collect", ctx=trial.ctx, deployment=None, reason="the new one")
    results = [call() for _, call in calls]
    assert told == ["the new one"]
    assert [[a.path for a in answer] for answer in results] == [[], ["old.txt"]]
    manager.hook.playbook_event(ctx=None, event=api.CampaignEnded("completed"), reason="")
    assert plugin_0_1.SEEN[-1] == "CampaignEnded"


# -- what goes ----------------------------------------------------------------------------------------------------


def test_a_deprecated_name_works_and_says_what_to_use(monkeypatch: pytest.MonkeyPatch) -> None:
    going = Going("0.3", "0.5", "Metric", lambda: api.Metric)
    monkeypatch.setattr(deprecated, "NAMES", {"Figure": going})
    with pytest.warns(
        DeprecationWarning, match=r"api.Figure is deprecated since 0.3 and goes in 0.5: use Metric"
    ) as told:
        assert api.Figure is api.Metric  # type: ignore[attr-defined]
    assert told[0].filename == __file__
    with pytest.raises(AttributeError, match=r"'playbook_kernel\.api' has no attribute 'Figur'"):
        api.Figur  # type: ignore[attr-defined]  # noqa: B018


def test_nothing_is_kept_longer_than_was_said_nor_shorter_than_promised() -> None:
    now = Version(playbook_kernel.__version__)
    for name, going in deprecated.NAMES.items():
        since, removed = Version(going.since), Version(going.removed)
        assert name not in api.__all__, f"{name} is deprecated and listed"
        assert now < removed, f"{name} should have gone in {removed}"
        assert removed.major > since.major or removed.minor >= since.minor + 2, f"{name} goes too soon"
