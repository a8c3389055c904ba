"""`watch`: what another terminal or machine sees of a run is what the run itself shows."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys

import pytest
from playbook_kernel.api import CampaignEnded, Output, ScenarioEnded, encode
from playbook_plugins.follow import Follower, life

from tests.cli.calls import call, workspace

GATED = 'echo begun\nread answer < "$GATE"\necho "it said $answer"\necho METRIC:throughput=1\n'
SETTINGS = "inter_scenario: {wait_between_scenarios: 0, retry_count: 0, continue_on_failure: on}\n"


@pytest.fixture
def root(tmp_path):
    os.mkfifo(tmp_path / "gate")
    files = {
        "config/scenarios/001_bad/run_test.sh": "echo going wrong\nexit 9\n",
        "config/scenarios/002_gated/run_test.sh": GATED,
        "config/scenarios.yaml": SETTINGS,
    }
    return workspace(tmp_path, "001_bad", "002_gated", files=files)


@contextlib.contextmanager
def process(root, *args):
    made = subprocess.Popen(
        [sys.executable, "-m", "playbook_kernel", *args], cwd=root, env={**os.environ, "GATE": str(root / "gate")},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        yield made
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(made.pid, signal.SIGKILL)
        made.wait()
        made.stdout.close()
        made.stderr.close()


def until(stream, word):
    """The lines up to one that holds the word."""
    lines = []
    for line in stream:
        lines.append(line)
        if word in line:
            return lines
    raise AssertionError(f"{word!r} was not said: {''.join(lines)}")


def shown(lines):
    """Lines of the view without times: there are some milliseconds between an event and its record.

    What the checks before a run say of a machine that is busy is in the log, and not in the journal.
    """
    rows = [line[9:].rstrip() for line in lines if re.match(r"\d\d:\d\d:\d\d ", line)]
    return [re.sub(r"\d+\.\d s", "N s", row) for row in rows if not row.startswith("warning: local: ")]


def open_gate(root, word):
    (root / "gate").write_text(f"{word}\n")


def test_it_shows_the_same_as_the_run_and_ends_as_it_ends(root):
    with process(root, "run", "--all") as run:
        own = until(run.stderr, "begun")
        with process(root, "watch") as watch:
            seen = until(watch.stderr, "begun")
            assert shown(seen) == shown(own)
            open_gate(root, "open")
            seen = shown([*seen, *until(watch.stderr, "the run has ended: failed: ")])
            assert (watch.wait(60), run.wait(60)) == (1, 1)
            own = shown([*own, *run.stderr])
    # what a script prints comes another way than the rest, so its place may differ by a line
    assert sorted(seen) == sorted(own)
    assert [x for x in seen if "| " not in x] == [x for x in own if "| " not in x]
    again = call("watch", cwd=root)
    assert (again.code, again.out) == (1, "")
    assert sorted(shown(again.err.splitlines())) == sorted(own)


def test_a_run_that_dies_is_told_with_what_to_do(root):
    with process(root, "run", "--all") as run:
        until(run.stderr, "begun")
        with process(root, "watch") as watch:
            until(watch.stderr, "begun")
            os.killpg(run.pid, signal.SIGKILL)
            with contextlib.suppress(OSError):  # its child leaves by itself; if it is dead already, nobody reads
                gate = os.open(root / "gate", os.O_WRONLY | os.O_NONBLOCK)
                os.write(gate, b"over\n")
                os.close(gate)
            said = "".join(until(watch.stderr, "hint: "))
            assert watch.wait(60) == 1
    assert "the run is dead" in said
    assert "run --resume" in said
    call("cleanup", cwd=root)


def test_ctrl_c_leaves_the_run_alone(root):
    with process(root, "run", "--all") as run:
        until(run.stderr, "begun")
        with process(root, "watch") as watch:
            until(watch.stderr, "begun")
            os.kill(watch.pid, signal.SIGINT)
            until(watch.stderr, "the run goes on")
            assert watch.wait(60) == 130
        open_gate(root, "open")
        until(run.stderr, "it said open")
        assert run.wait(60) == 1


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    root = workspace(
        tmp_path_factory.mktemp("followed"), "001_bad", "002_good",
        files={"config/scenarios/001_bad/run_test.sh": "echo going wrong\nexit 9\n", "config/scenarios.yaml": SETTINGS},
    )  # fmt: skip
    assert call("run", "--all", cwd=root).code == 1
    return next((root / "results").iterdir())


def events(seen):
    return [encode(s.event) for s in seen if not isinstance(s.event, Output)]


def test_a_copy_that_grows_by_any_amount_gives_the_same_events(finished, tmp_path):
    whole = events(Follower(finished).poll())
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)
    raw = (finished / "journal.jsonl").read_bytes()
    for step in (97, 1000, 8192):
        (copy / "journal.jsonl").write_bytes(b"")
        follower, seen = Follower(copy), []
        for end in range(0, len(raw) + step, step):
            (copy / "journal.jsonl").write_bytes(raw[:end])
            seen += events(follower.poll())
        order = [e for e in seen if e["event"] != "ScenarioEnded"]
        assert order == [
            {**e, **({"folder": str(copy)} if "folder" in e else {})} for e in whole if e["event"] != "ScenarioEnded"
        ]
        assert len([e for e in seen if e["event"] == "ScenarioEnded"]) == 2
        assert follower.status == "failed"
    # of a copy nobody can say whether it lives; of the place itself one can
    assert (life(Follower(copy)).alive, life(follower).alive) == (None, None)
    here = Follower(finished)
    here.poll()
    assert life(here).alive is False


def test_a_verdict_comes_after_what_led_to_it(finished):
    seen = [s.event for s in Follower(finished).poll()]
    kinds = [(type(e).__name__, e.scenario) for e in seen]
    for name in ("001_bad", "002_good"):
        last = max(n for n, k in enumerate(kinds) if k == ("PhaseEnded", name))
        assert kinds.index(("ScenarioEnded", name)) > last
    assert [e.result.status for e in seen if isinstance(e, ScenarioEnded)] == ["failed", "completed"]
    assert isinstance(seen[-1], CampaignEnded)
    assert dict(seen[-1].counts) == {"failed": 1, "completed": 1}


@pytest.mark.parametrize("printed", ["late", "before its phase's record was made"])
def test_output_and_records_of_one_look_come_in_order_of_their_time(finished, tmp_path, printed):
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)
    lines = (finished / "journal.jsonl").read_bytes().splitlines(keepends=True)
    kinds = [json.loads(line) for line in lines]
    begins = next(n for n, kind in enumerate(kinds) if kind["type"] == "trial")
    ends = next(n for n, k in enumerate(kinds) if k["data"].get("outcome", {}).get("phase") == "benchmark")
    follower = Follower(copy)
    (copy / "journal.jsonl").write_bytes(b"".join(lines[: begins + 1]))
    follower.poll()
    (copy / "journal.jsonl").write_bytes(b"".join(lines[:ends]))
    with follower.output.open("a") as file:
        file.write("it said so\n")
    if printed != "late":
        os.utime(follower.output, (1.0, 1.0))
    seen = follower.poll()
    assert [s.at for s in seen] == sorted(s.at for s in seen)
    names = [getattr(s.event, "phase", type(s.event).__name__) for s in seen]
    assert names.index("benchmark") < names.index("Output"), names
    (copy / "journal.jsonl").write_bytes(b"".join(lines))
    with follower.output.open("a") as file:
        file.write("and this\n")
    names = [type(s.event).__name__ for s in follower.poll()]
    assert names.index("Output") < names.index("PhaseEnded"), "what was printed belongs to its phase"


def test_as_json_each_event_is_a_line(finished):
    done = call("watch", finished.name, "--json", cwd=finished.parent.parent)
    lines = [json.loads(line) for line in done.out.splitlines()]
    assert lines[0]["event"] == "CampaignStarted"
    assert lines[-1]["event"] == "CampaignEnded"
    assert [line["at"] for line in lines] == sorted(line["at"] for line in lines)


def test_without_a_run_it_says_so(tmp_path):
    done = call("watch", cwd=tmp_path)
    assert (done.code, "there are no runs" in done.err) == (2, True)
