"""What a user sees while a campaign runs, with and without a terminal."""

import io
import json
import logging
import math
import os
import pty
import re
import subprocess
import sys

import pytest
import structlog
from playbook_kernel import logs
from playbook_kernel.api import (
    CampaignEnded,
    CampaignStarted,
    Health,
    HealthChecked,
    Output,
    PhaseEnded,
    PhaseOutcome,
    PhaseStarted,
    Progress,
    Residue,
    ResidueFound,
    ScenarioEnded,
    ScenarioResult,
    Secret,
    ServiceChanged,
    TrialResult,
    TrialStarted,
    Waiting,
    Warned,
)
from playbook_plugins.progress.board import Board
from playbook_plugins.progress.console import take_over
from playbook_plugins.progress.live import LiveView
from playbook_plugins.progress.plain import PlainView

PLACE = {"trial": "t-1", "scenario": "one"}


def outcome(phase, status="ok", **more):
    return PhaseEnded(PhaseOutcome(phase, status, 1.25, **more), **PLACE)


def ended(status="completed", reason="", **more):
    trial = TrialResult("t-1", "one", status, seconds=12.0, **more)
    return ScenarioEnded(ScenarioResult("one", status, reason, trials=(trial,)), scenario="one")


FAILED = [
    CampaignStarted("run", "/results/run", ("one", "two")),
    TrialStarted(1, ("gpu1", "gpu2"), ("engine", "router"), **PLACE),
    PhaseStarted("discover", **PLACE),
    outcome("discover"),
    PhaseStarted("deploy", **PLACE),
    ServiceChanged("router", "gpu2", "waiting", **PLACE),
    ServiceChanged("engine", "gpu1", "starting", **PLACE),
    ServiceChanged("engine", "gpu1", "retrying", "the image could not be pulled", **PLACE),
    ServiceChanged("engine", "gpu1", "failed", "exited with 3", attempt=2, **PLACE),
    outcome("deploy", "failed", error="engine on gpu1: exited with 3", hint="look at its log"),
    PhaseStarted("cleanup", **PLACE),
    ResidueFound(Residue("gpu1", "container", "abc", "still runs"), **PLACE),
    outcome("cleanup", "failed", error="left behind: container abc on gpu1"),
    ended("failed", "deploy: engine on gpu1: exited with 3"),
    CampaignEnded("failed", {"failed": 1}),
]


def plain(events):
    board, out = Board(), io.StringIO()
    view = PlainView(board, out)
    for event in events:
        board.apply(event)
        view.show(event)
    lines = out.getvalue().splitlines()
    assert all(re.match(r"\d\d:\d\d:\d\d ", line) for line in lines)
    return [line[9:] for line in lines]


def live(events, *, columns=100, rows=24, until=None):
    """What the picture shows after each event, and everything that was ever written."""
    board, out = Board(), io.StringIO()
    view = LiveView(board, out)
    view._console._width, view._console._height = columns, rows
    pictures = []
    for event in events[:until]:
        board.apply(event)
        view.show(event)
        with view._console.capture() as capture:
            view._console.print(view)
        pictures.append(re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", capture.get()))
    view.close()
    return pictures, out.getvalue()


def test_plain_lines_tell_every_change_once():
    lines = plain(FAILED)
    assert lines[0] == "[1/2] one: 2 services on gpu1, gpu2"
    assert "    engine on gpu1: retrying: the image could not be pulled" in lines
    assert any(re.fullmatch(r"    engine on gpu1: failed after .* \(attempt 2\): exited with 3", x) for x in lines)
    assert "    hint: look at its log" in lines
    assert lines[-1] == "✗ one failed in 12.0 s: deploy: engine on gpu1: exited with 3"
    assert not any("waiting" in line for line in lines), "a service that waits is no change"
    assert len([x for x in lines if "the image could not be pulled" in x]) == 1


def test_cleanup_keeps_the_signs_that_people_grep_for():
    lines = plain(FAILED)
    assert "  🧹 cleanup ..." in lines
    assert "    ❌ container abc is on gpu1: still runs" in lines
    assert "  ❌ cleanup failed 1.2 s" in lines
    assert plain([outcome("cleanup")]) == ["  ✅ cleanup ok 1.2 s"]


def test_output_of_a_script_is_indented_and_cannot_steer_the_terminal():
    assert plain([Output("METRIC:a=1", **PLACE)]) == [], "what is for machines stays out of the way"
    lines = plain([Output("10%\r\x1b[2J\x1b]0;title\x07done [red]x", source="run_test.sh", **PLACE)])
    assert lines == ["    | done [red]x"]


def test_long_work_is_told_in_tenths():
    steps = [Progress("upload", n, 1000, "files", **PLACE) for n in range(1001)]
    lines = plain(steps)
    assert 10 <= len(lines) <= 12
    assert lines[-1] == "    upload: 1000 of 1000 files"


def test_a_warning_of_the_log_is_a_line_like_the_others(tmp_path, monkeypatch):
    out = io.StringIO()
    monkeypatch.setattr(sys, "stderr", out)
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    logs.configure(run_log=tmp_path / "log.jsonl")
    secret = Secret("hunter2-in-a-log")
    try:
        take_over(PlainView(Board(), sys.stderr))
        log = logs.logger("campaign")
        log.warning("4.47 per processor", node="local", check="load", status="degraded")
        log.warning(
            "a notification was not delivered", notification="campaign_ended", error=f"h:9: refused\n{secret.reveal()}"
        )
        logging.getLogger("library").error("it is %s", "foreign")
        log.info("not for the console")
        try:
            raise ValueError("with its traceback")
        except ValueError:
            log.exception("it broke")
    finally:
        for handler in root.handlers:
            handler.close()
        structlog.reset_defaults()
    lines = out.getvalue().splitlines()
    assert [line[9:] for line in lines] == [
        "warning: local: load: 4.47 per processor (degraded)",
        "warning: a notification was not delivered: h:9: refused *** (notification campaign_ended)",
        "error: it is foreign",
        "error: it broke: ValueError: with its traceback",
    ]
    assert all(re.match(r"\d\d:\d\d:\d\d \S", line) for line in lines)
    kept = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert (kept[0]["event"], kept[0]["node"], kept[0]["check"]) == ("4.47 per processor", "local", "load")


def test_a_secret_is_shown_by_no_view():
    hidden = [Secret("sk-abcdefghijklmnopqrstuvwxyz"), Secret("hunter22")]
    secret = [Output(f"key {hidden[0].reveal()}", **PLACE), Warned(f"login {hidden[1].reveal()}", **PLACE)]
    pictures, written = live([FAILED[0], FAILED[1], *secret])
    for text in ("\n".join(plain(secret)), *pictures, written):
        assert "abcdefghijkl" not in text
        assert "hunter22" not in text


def test_advice_and_pauses_are_told():
    bad = HealthChecked(Health(ok=False, detail="refused", service="a", node="n", probe="http", advisory=True), **PLACE)
    assert plain([bad, Waiting("before the next scenario", 60.0)]) == [
        "    a on n: advisory check http failed: refused",
        "  waiting 1 min 00 s before the next scenario",
    ]
    assert plain([Waiting("for a node", math.inf)]) == ["  waiting without limit for a node"], "run --wait"
    pictures, _ = live([Waiting("for a node", math.inf)])
    assert "waiting without limit for a node" in pictures[-1]


def test_the_picture_shows_each_service_and_each_phase():
    pictures, _ = live(FAILED, until=8)
    rows = pictures[-1].splitlines()
    assert rows[0].startswith("one ")
    assert "0/2 done" in rows[0]
    assert "✓ discover 1.2 s" in rows[1]
    assert "▸ deploy" in rows[1]
    assert any(re.match(r"engine +gpu1 +retrying", row) for row in rows)
    assert any(re.match(r"router +gpu2 +waiting", row) for row in rows)


def test_the_end_stays_on_the_screen():
    _, written = live(FAILED)
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", written)
    assert "✗ one failed in 12.0 s: deploy: engine on gpu1: exited with 3" in text
    assert "engine on gpu1: failed exited with 3" in text
    assert "container abc is on gpu1" in text


@pytest.mark.parametrize(("columns", "rows"), [(20, 6), (40, 10), (200, 60)])
def test_the_picture_never_outgrows_the_terminal(columns, rows):
    many = [ServiceChanged(f"service-{n}", f"node-{n % 7}", "starting", "x" * 300, **PLACE) for n in range(100)]
    noise = [Output("y" * 500, **PLACE)] * 20
    pictures, _ = live([*FAILED[:5], *many, *noise], columns=columns, rows=rows)
    last = pictures[-1].splitlines()
    assert len(last) <= rows
    assert max(len(line) for line in last) <= columns
    assert "▸ deploy" in pictures[-1]
    assert re.search(r"^\+\d+ ", pictures[-1], re.MULTILINE), "what has no room is counted"


SHOW = """
import sys, types
from playbook_kernel.api import *
from playbook_plugins import progress
from pathlib import Path
log = types.SimpleNamespace(info=lambda text, **more: print("log:", text), debug=lambda text, **more: None)
ctx = CampaignContext("run", Path("/tmp"), {}, log, None)
for event in (
    CampaignStarted("run", "/tmp", ("one",)), TrialStarted(1, ("n",), ("s",), trial="t", scenario="one"),
    ScenarioEnded(ScenarioResult("one", "completed"), scenario="one"), CampaignEnded("completed"),
):
    progress.playbook_event(ctx, event)
print("loaded" if "rich" in sys.modules else "not loaded")
"""


def on_terminal(environ):
    controller, terminal = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", SHOW], stderr=terminal, stdout=subprocess.PIPE, env={**os.environ, **environ}
    ) as process:
        os.close(terminal)
        shown = b""
        while True:
            try:
                data = os.read(controller, 65536)
            except OSError:  # how Linux says that the other side has closed
                break
            if not data:
                break
            shown += data
        loaded = process.stdout.read().decode().splitlines()[-1]
    os.close(controller)
    return shown.decode(), loaded


def test_a_terminal_gets_the_live_view():
    shown, loaded = on_terminal({"TERM": "xterm", "NO_COLOR": ""})
    assert loaded == "loaded"
    assert "\x1b[32m✓ one completed" in shown
    assert shown.rindex("\x1b[?25h") > shown.rfind("\x1b[?25l"), "the cursor is visible at the end"


def test_no_color_means_no_color():
    shown, _ = on_terminal({"TERM": "xterm", "NO_COLOR": "1"})
    assert "✓ one completed" in shown
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", shown)


def test_a_dumb_terminal_gets_plain_lines():
    shown, loaded = on_terminal({"TERM": "dumb"})
    assert loaded == "not loaded"
    assert "\x1b" not in shown
    assert "✓ one completed" in shown
