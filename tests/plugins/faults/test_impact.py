"""What a fault cost, from requests of which it is known."""

from __future__ import annotations

from array import array

import pytest
from attrs import evolve
from playbook_plugins.stats.faults import Struck, impact, told
from playbook_plugins.stats.records import Requests

START = 1_800_000_000.0
FAULT = Struck("kill", 0, "decode on n1 killed", "n1", "decode", "", START + 10, START + 10.1, START + 14, healed=True)


def load(*, dead: tuple[float, float] = (10, 14), seconds: int = 30, failing: bool = True) -> Requests:
    """Ten requests of ten tokens a second, each of 0.1 s; none succeeds while ``dead``."""
    made = Requests()
    for n in range(seconds * 10):
        at = n / 10
        out = dead[0] <= at < dead[1]
        if out and not failing:
            continue
        made.sent.append(START + at)
        for column, value in (("ttft", 0.01), ("tpot", 0.01), ("e2el", 0.09), ("tokens", 10.0)):
            made.column(column).append(value)
        if out:
            made.failures[len(made) - 1] = "closed"
    return made


@pytest.mark.parametrize("failing", [True, False], ids=["failing", "nothing is sent"])
def test_a_gap_is_found_whole(failing: bool) -> None:
    cost = impact(load(failing=failing), [FAULT])
    assert cost is not None
    assert cost.before == pytest.approx(100, rel=0.02)
    assert (cost.lowest, cost.dip, cost.unit) == (0, 1, "tok/s")
    assert cost.errors == (40 if failing else 0)
    assert cost.recovery == pytest.approx(4, abs=cost.window)
    assert cost.lost == pytest.approx(400, rel=0.1)


def test_what_never_comes_back_has_no_time() -> None:
    cost = impact(load(dead=(10, 30)), [FAULT])
    assert cost is not None
    assert cost.recovery is None
    assert cost.errors == 200
    [row] = told(load(dead=(10, 30)), [FAULT])
    assert row[-1] == "not before the end of the load"


def test_a_fault_that_costs_nothing() -> None:
    cost = impact(load(dead=(0, 0)), [FAULT])
    assert cost is not None
    assert (cost.errors, cost.recovery) == (0, 0)
    assert cost.dip < 0.1


@pytest.mark.parametrize("struck", [START - 1, START + 29.95, START + 100])
def test_a_fault_outside_of_the_load_says_nothing(struck: float) -> None:
    assert impact(load(), [evolve(FAULT, struck=struck)]) is None


def test_a_load_on_another_clock_says_nothing() -> None:
    made = load()
    made.sent = array("d", (t - START for t in made.sent))
    assert impact(made, [evolve(FAULT, struck=10.0)]) is None
    [row] = told(made, [FAULT])
    assert row[:3] == ["1: decode on n1 killed", "08:00:10.000 UTC", "4.0 s"]
    assert told(None, [evolve(FAULT, healed=False)])[0][2] == "4.0 s, to the end"
