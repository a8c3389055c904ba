"""Plugins in the parent: whatever one of them does, the campaign, its journal, its exit and the other plugins go on."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playbook_kernel.context import CampaignContext
from playbook_kernel.engine import guests as module
from playbook_kernel.engine.guests import Guests
from playbook_kernel.engine.patience import Patience
from playbook_kernel.hookspecs import hookimpl
from playbook_kernel.loading import HookManager
from playbook_kernel.model import CampaignEnded, Event, Output, Warned
from playbook_kernel.scope import Cancel, current

from .campaigns import campaign, finished, run_of, start


class Watcher:
    """Keeps what it sees; on an event that says so it waits until it is let go."""

    def __init__(self, stop_at: str = "") -> None:
        self.seen: list[str] = []
        self.stop_at, self.go_on = stop_at, threading.Event()

    @hookimpl
    def playbook_event(self, event: Event) -> None:
        what = (
            event.line
            if isinstance(event, Output)
            else event.message
            if isinstance(event, Warned)
            else type(event).__name__
        )
        self.seen.append(what)
        if what == self.stop_at:
            self.go_on.wait()


@pytest.fixture
def made() -> Iterator[Callable[..., tuple[Guests, list[str]]]]:
    held: list[object] = []

    def make(watch: float = 30.0, **plugins: object) -> tuple[Guests, list[str]]:
        manager, told = HookManager(), []
        for name, plugin in plugins.items():
            manager.register(plugin, name)
        held.extend(plugins.values())
        ctx = CampaignContext("run", Path(), {}, None, lambda kind, ref: None)
        return Guests(manager, ctx, told.append, watch, 0.05), told

    yield make
    for plugin in held:
        if isinstance(plugin, Watcher):
            plugin.go_on.set()


def lines(count: int) -> list[Output]:
    return [Output(str(n)) for n in range(count)]


def test_events_come_in_order_and_nobody_waits_for_a_watcher(made: Callable[..., Any]) -> None:
    slow, quick = Watcher(stop_at="0"), Watcher()
    guests, told = made(slow=slow, quick=quick)
    for event in lines(100):
        guests.tell(event)  # would never return if it waited
    slow.go_on.set()
    guests.settle()
    assert slow.seen == quick.seen == [str(n) for n in range(100)]
    assert told == []


def test_one_that_hangs_is_named_once_and_sees_nothing_more(made: Callable[..., Any]) -> None:
    deaf, fine = Watcher(stop_at="0"), Watcher()
    guests, told = made(0.05, deaf=deaf, fine=fine)
    guests.tell(Output("0"))
    guests.settle()
    assert told == ["plugin deaf is left out from now on: it was not done with the events 0 s after the last one"]
    for event in lines(3):
        guests.tell(event)
    guests.settle()
    deaf.go_on.set()
    guests.settle()
    assert (len(told), deaf.seen, fine.seen) == (1, ["0"], ["0", "0", "1", "2"])


def test_one_that_hangs_is_noticed_by_the_next_event(made: Callable[..., Any]) -> None:
    deaf = Watcher(stop_at="0")
    guests, told = made(0.0, deaf=deaf)
    guests.tell(Output("0"))
    while not deaf.seen:
        pass
    guests.tell(Output("1"))
    assert told == ["plugin deaf is left out from now on: playbook_event did not come back within 0 s"]


def test_one_that_is_too_slow_misses_output_first_and_is_told(
    made: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_ROOM", 20)
    slow = Watcher(stop_at="0")
    guests, told = made(slow=slow)
    for event in (*lines(50), CampaignEnded("completed")):
        guests.tell(event)
    slow.go_on.set()
    guests.settle()
    assert told == ["plugin slow is too slow to see all output"]
    assert slow.seen[:5] == ["0", "1", "2", "3", "4"]
    assert len(slow.seen) < 20
    assert slow.seen[-1] == "CampaignEnded", "what counts is not missed"


def test_one_that_is_much_too_slow_is_left_out(made: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ROOM", 5)
    slow, quick = Watcher(stop_at="0"), Watcher()
    guests, told = made(slow=slow, quick=quick)
    guests.tell(Output("0"))
    while not slow.seen:
        pass
    for _ in range(9):
        guests.tell(CampaignEnded("completed"))
        guests._guests["quick"].ask(lambda: None).result()
    assert told == ["plugin slow is left out from now on: 5 events wait for it"]
    assert len(quick.seen) == 10


class Answers:
    """Answers the other hooks of the parent with what a call gives."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self.call = call

    @hookimpl
    def playbook_report(self) -> Any:
        return self.call()

    @hookimpl
    def playbook_preflight(self) -> Any:
        return self.call()


def raises(error: BaseException) -> Callable[[], Any]:
    def call() -> Any:
        raise error

    return call


@pytest.mark.parametrize(
    ("guilty", "words"),
    [
        (raises(ValueError("broken")), "plugin bad failed in {hook}: ValueError: broken"),
        (raises(SystemExit(3)), "plugin bad failed in {hook}: plugin 'bad' raised SystemExit in {hook}"),
        (raises(KeyboardInterrupt()), "plugin bad failed in {hook}: plugin 'bad' raised KeyboardInterrupt in {hook}"),
        (lambda: 5, "plugin bad failed in {hook}: {hook} gave int, not "),
        (lambda: "text", "plugin bad failed in {hook}: {hook} gave str, not "),
        (lambda: [object()], "plugin bad failed in {hook}: {hook} gave "),
        (lambda: threading.Event().wait(), "plugin bad is left out from now on: {hook} did not come back within 0 s"),
        (lambda: current().sleep(60), "plugin bad failed in {hook}: the deadline passed"),
    ],
)
@pytest.mark.parametrize(("hook", "good"), [("playbook_report", [Path("a")]), ("playbook_preflight", {"n1": "no"})])
def test_what_a_plugin_does_is_told_once_and_the_others_are_asked(
    made: Callable[..., Any], hook: str, good: Any, guilty: Callable[[], Any], words: str
) -> None:
    guests, told = made(first=Answers(lambda: good), bad=Answers(guilty), last=Answers(lambda: good))
    for _ in range(2):
        assert list(guests.call(hook, 0.05, Cancel())) == [good, good]
    [message] = told
    assert message.startswith(words.format(hook=hook))


def test_an_answer_that_nobody_asked_for_is_told_once(made: Callable[..., Any]) -> None:
    class Hopeful:
        @hookimpl
        def playbook_event(self) -> Any:
            return "stop the campaign"

    guests, told = made(bad=Hopeful())
    for _ in range(3):
        guests.tell(CampaignEnded("completed"))
    guests.settle()
    assert told == ["plugin bad failed in playbook_event: playbook_event gave str, not NoneType"]


def test_whoever_is_left_out_takes_part_in_nothing_more(made: Callable[..., Any]) -> None:
    class Both(Watcher):
        @hookimpl
        def playbook_preflight(self) -> Any:
            self.go_on.wait()

    both = Both()
    guests, told = made(both=both)
    assert list(guests.call("playbook_preflight", 0.0, Cancel())) == []
    guests.tell(CampaignEnded("completed"))
    guests.settle()
    assert (len(told), both.seen) == (1, [])


def test_a_cancelled_call_is_nobodys_fault(made: Callable[..., Any]) -> None:
    cancel = Cancel()
    guests, told = made(bad=Answers(lambda: cancel.set("enough") or current().sleep(60)))
    assert list(guests.call("playbook_preflight", 60.0, cancel)) == []
    assert told == []


HANGS = """
import threading
@hookimpl
def {hook}({args}):
    {thread}
    {condition}threading.Event().wait()
"""
QUICKLY = Patience(grace=0.2, watch=0.2, report=0.2)
SEES = """
@hookimpl
def playbook_event(ctx, event):
    with (ctx.folder / "seen").open("a") as file:
        file.write(type(event).__name__ + "\\n")
@hookimpl
def playbook_report(ctx, result):
    path = ctx.folder / "good.md"
    path.write_text(result.status)
    yield path
"""


@pytest.mark.parametrize(
    ("hook", "args", "condition"),
    [
        ("playbook_event", "ctx, event", ""),
        ("playbook_event", "ctx, event", "if type(event).__name__ == 'TrialEnded': "),
        ("playbook_event", "ctx, event", "if type(event).__name__ == 'CampaignEnded': "),
        ("playbook_report", "ctx, result", ""),
    ],
)
def test_a_campaign_is_not_held(tmp_path: Path, hook: str, args: str, condition: str) -> None:
    outcome = campaign(
        tmp_path, ["a"], SEES, HANGS.format(hook=hook, args=args, condition=condition, thread=""), patience=QUICKLY
    )
    assert (outcome.result.status, outcome.exit_code) == ("completed", 0)
    assert [p.name for p in outcome.reports] == ["good.md"]
    seen = (outcome.folder / "seen").read_text().split()
    assert seen[0] == "CampaignStarted"
    assert seen.count("TrialEnded") == seen.count("CampaignEnded") == seen.count("ReportWritten") == 1
    last = json.loads((outcome.folder / "journal.jsonl").read_text().splitlines()[-1])
    assert (last["type"], last["data"]["status"]) == ("campaign_ended", "completed")
    log = [json.loads(line) for line in (outcome.folder / "log.jsonl").read_text().splitlines()]
    [line] = [e for e in log if e["event"] == "a plugin is left out"]
    assert Path(line["plugin"]).name == "extra1.py"
    assert f"{hook} did not come back" in line["why"] or "not done with the events" in line["why"]


def test_its_process_ends_whatever_threads_a_plugin_left(tmp_path: Path) -> None:
    thread = "threading.Thread(target=threading.Event().wait, daemon=False).start()"
    hangs = HANGS.format(hook="playbook_event", args="ctx, event", condition="", thread=thread)
    status, errors = finished(start(tmp_path, ["a"], hangs, watch=0.2))
    assert status == 0, errors
    assert (run_of(tmp_path) / "campaign.json").exists()
