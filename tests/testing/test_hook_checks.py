"""Each check of hook plugins passes a good one, and names the fault of one that breaks it; and the fakes themselves."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from playbook_kernel.api import (
    Deployment,
    Fact,
    Residue,
    TrialContext,
    current,
    hookimpl,
)
from playbook_kernel.testing import (
    FakeSession,
    Said,
    check_cleanup,
    check_honours_cancel,
    check_honours_deadline,
    check_hooks,
    fake_trial,
    later,
    node,
)

from tests.testing.samples import fails, trial

# -- hooks --------------------------------------------------------------------------------------------------------


class FileMaker:
    """Makes a file on a node, and removes it again."""

    def __init__(self, *, forgets: bool = False) -> None:
        self.forgets = forgets

    def make(self, ctx: TrialContext) -> None:
        effect = ctx.effects.intend("mine", "n1", path="/tmp/x")
        ctx.session("n1").run(["touch", "/tmp/x"])
        ctx.effects.done(effect)

    @hookimpl
    def playbook_cleanup(self, ctx: TrialContext, deployment: Deployment | None) -> Iterable[Residue]:
        for effect in ctx.effects.open("mine"):
            ctx.session("n1").run(["rm", "-f", str(effect.data["path"])])
            if not self.forgets:
                ctx.effects.undone(effect)
        return []


def test_a_good_cleanup_passes(tmp_path: Path) -> None:
    plugin, at = FileMaker(), trial(tmp_path, "")
    plugin.make(at.ctx)
    assert check_hooks(plugin) == ["playbook_cleanup"]
    assert check_cleanup(plugin, at) == []
    assert "rm -f /tmp/x" in at.ctx.session("n1").lines  # type: ignore[attr-defined]


def test_a_cleanup_that_forgets_is_told(tmp_path: Path) -> None:
    plugin, at = FileMaker(forgets=True), trial(tmp_path, "")
    plugin.make(at.ctx)
    with fails(re.escape("[('mine', 'n1')]")):
        check_cleanup(plugin, at, kinds=["mine"])
    check_cleanup(plugin, at, kinds=["file"])


def test_a_cleanup_that_raises_is_told(tmp_path: Path) -> None:
    plugin, at = FileMaker(), fake_trial(tmp_path, {"n1": FakeSession({"touch *": "", "rm *": 1}, node=node("n1"))})
    plugin.make(at.ctx)
    with fails("cleanup raised CommandFailed"):
        check_cleanup(plugin, at)


def test_a_cleanup_that_returns_something_else_is_told(tmp_path: Path) -> None:
    class Words:
        @hookimpl
        def playbook_cleanup(self, ctx: TrialContext) -> Any:
            return ["all gone"]

    with fails("cleanup raised PluginError: playbook_cleanup gave str, not Residue"):
        check_cleanup(Words(), trial(tmp_path, ""))


def test_a_hook_with_arguments_that_do_not_exist_is_told() -> None:
    class Wants:
        @hookimpl
        def playbook_collect(self, ctx: TrialContext, deplyoment: Any) -> None: ...

    with fails("deplyoment"):
        check_hooks(Wants())


def test_a_wrapper_of_an_isolated_hook_is_told() -> None:
    class Wraps:
        @hookimpl(wrapper=True)
        def playbook_cleanup(self, ctx: TrialContext) -> Any:
            return (yield)

    with fails("playbook_cleanup cannot be wrapped"):
        check_hooks(Wraps())


@pytest.mark.parametrize("check", [check_honours_deadline, check_honours_cancel])
def test_a_hook_that_does_not_stop_is_told(check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those two take any call, a hook's and a collector's as well."""
    monkeypatch.setattr("playbook_kernel.testing.bounds._PATIENCE", 1.0)
    never = threading.Event()

    class Waits:
        @hookimpl
        def playbook_collect(self, ctx: TrialContext) -> None:
            never.wait()

    with fails("and it goes on"):
        check(lambda: Waits().playbook_collect(None))  # type: ignore[arg-type]
    never.set()
    check(lambda: current().sleep(60))


def test_a_hook_that_is_not_marked_is_told() -> None:
    class Forgot:
        @hookimpl
        def playbook_discover(self, ctx: TrialContext) -> dict[str, Fact]:
            return {}

        def playbook_collect(self, ctx: TrialContext) -> None: ...

    with fails("playbook_collect is not marked"):
        check_hooks(Forgot())


def test_a_hook_that_does_not_exist_is_told() -> None:
    class Typo:
        @hookimpl
        def playbook_discover(self) -> dict[str, Fact]:
            return {}

        def playbook_colect(self) -> None: ...

    with fails("playbook_colect is no hook"):
        check_hooks(Typo())


def test_a_plugin_without_hooks_is_told() -> None:
    with fails("implements no hook"):
        check_hooks(object())


# -- the fakes themselves -----------------------------------------------------------------------------------------


def test_a_fake_node_keeps_what_it_saw(tmp_path: Path) -> None:
    session = FakeSession({"cat *": Said("out", "err", 3), "who": lambda argv: " ".join(argv)})
    done = session.run(["cat", "a b"], check=False, stdin=b"in", env={"K": "v"})
    assert (done.text, done.errors, done.status) == ("out", "err", 3)
    assert session.lines == ["cat 'a b'"]
    assert bytes(session.processes[0].received) == b"in"
    assert session.environments[0] == {"K": "v"}
    assert session.run(["who"]).text == "who"
    (tmp_path / "f").write_bytes(b"12345")
    session.put_tree(tmp_path, "/x")
    session.get_tree("/x", tmp_path / "back")
    assert (tmp_path / "back/f").read_bytes() == b"12345"
    assert session.get("/x/f", tmp_path / "end", limit=2) == 2
    assert (tmp_path / "end").read_bytes() == b"45"
    with fails("no reply is scripted for: ls"):
        session.run(["ls"])


def test_later_knows_only_what_the_journal_knows(tmp_path: Path) -> None:
    at = trial(tmp_path, "")
    first, second = (at.ctx.effects.intend("mine", "n1", path=p) for p in "ab")
    at.ctx.effects.done(first)
    at.ctx.effects.undone(second)
    again = later(at)
    assert [(e.id, e.state) for e in again.ctx.effects.open()] == [(first.id, "done")]
    assert again.ctx.emergency
    assert not again.events
