"""What a plugin may do to its own process and machine, without any node: a named error, and the campaign goes on."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from playbook_kernel.engine.campaign import Outcome
from playbook_kernel.model import Policy, Timeouts, TrialResult

from tests.kernel.campaigns import campaign, group_alive, outside, pids_of, scenario

BAD = """
import ctypes, threading

def deadlocks(ctx):
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()

def sits_in_c(ctx):
    ctypes.CDLL(None).sleep(1000)

def remembers(ctx):
    kept = []
    while True:
        kept.append(bytearray(16 * 2**20))

def forks(ctx):
    for number in range(20):
        if os.fork() == 0:
            os.setsid()
            (ctx.directory / f"fork{number}").write_text(str(os.getpid()))
            while True:
                time.sleep(1000)
    while len(list(ctx.directory.glob("fork*"))) < 20:
        time.sleep(0.01)

def forks_and_dies(ctx):
    forks(ctx)
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(1000)

@hookimpl
def playbook_deploy(ctx, scenario):
    act = globals().get(scenario.name)
    if act:
        act(ctx)
"""
MEMORY = 600 * 2**20


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    folder = tmp_path_factory.mktemp("processes")
    short = Timeouts(deploy=1.0)
    late = [scenario(name, folder, timeouts=short) for name in ("deadlocks", "sits_in_c")]
    policy = Policy(wait_between=0, continue_on_failure=True, retries=0, trial_memory=MEMORY)
    before = set(Path(tempfile.gettempdir()).glob("pk-*"))
    outcome = campaign(folder, [*late, "remembers", "forks", "forks_and_dies", "last"], BAD, policy=policy)
    assert outside(folder) == []
    mine = {t.trial for s in outcome.result.scenarios for t in s.trials}
    left = {p for p in set(Path(tempfile.gettempdir()).glob("pk-*")) - before if p.name.partition(".")[0] in mine}
    assert left == set(), "no temporary folder stays"
    return outcome


def lives(pid: int) -> bool:
    """Whether a process runs; one that waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def trial(ran: Outcome, name: str) -> TrialResult:
    found = next(s.last for s in ran.result.scenarios if s.scenario == name)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("deadlocks", "did not come back within its deadline"),
        ("sits_in_c", "did not come back within its deadline"),
        ("remembers", "MemoryError"),
        ("forks_and_dies", "was killed by SIGKILL"),
    ],
)
def test_it_ends_in_an_error_with_the_plugins_name(ran: Outcome, name: str, words: str) -> None:
    found = trial(ran, name)
    failure = found.failure
    assert failure is not None
    assert words in failure.error
    assert (failure.phase, Path(failure.plugin).name) == ("deploy", "extra0.py")
    assert found.clean
    assert group_alive(pids_of(ran.folder / name)[0]) == []


@pytest.mark.parametrize("name", ["forks", "forks_and_dies"])
def test_processes_that_left_its_session_end_with_the_trial(ran: Outcome, name: str) -> None:
    pids = [int(p.read_text()) for p in (ran.folder / name).glob("fork*")]
    assert len(pids) == 20
    assert [pid for pid in pids if lives(pid)] == []


def test_forking_is_no_failure_and_the_campaign_goes_on(ran: Outcome) -> None:
    assert trial(ran, "forks").status == "completed"
    assert trial(ran, "last").status == "completed"
