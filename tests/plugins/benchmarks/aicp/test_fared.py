"""When the client's own limits are in the numbers, and that a server's are not taken for them."""

from __future__ import annotations

from array import array

import pytest
from playbook_plugins.benchmarks.aicp.core import plan as plans
from playbook_plugins.benchmarks.aicp.core.records import Record
from playbook_plugins.benchmarks.aicp.fared import fared
from playbook_plugins.benchmarks.aicp.summary import summarise

COUNT, APART = 100, 10_000
TARGET = plans.Target("h", 1)


def told(*, late=0, took=50_000, share=0.1, due=False, **settings):
    """What is said of a client whose requests were to leave every 10 ms, left ``late`` and were answered after ``took``."""
    records = [
        Record(n, "", "", 200, n * APART, n * APART, n * APART + late, took, took, [took], 0, [], None, 1, 1, "", True)
        for n in range(COUNT)
    ]
    order = plans.single(COUNT, array("q", (n * APART * 1000 for n in range(COUNT))) if due else None)
    notes = [{"cpu_seconds": 1.0, "cpu_share": share, "seconds": 1.0, "timestamp_source": "kernel"}]
    found = fared(plans.Settings(TARGET, **settings), order, summarise(records), notes, 2.0, {}, records)
    assert found["client_limited"] is bool(found["client_limited_why"])
    return found["client_limited_why"]


def test_a_client_that_keeps_up_is_not_the_limit():
    assert told(concurrency=5) == []
    assert told(open_loop=True, concurrency=0, due=True) == []


def test_a_process_that_fills_its_core_is():
    assert told(concurrency=5, share=0.81) == ["a client process used 81% of its core"]


def test_too_few_in_flight_are():
    assert told(concurrency=20) == ["5 of 20 requests were in flight"]


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"concurrency": 5}, "1 % of requests left 20 ms or more after their slot was free"),
        ({"concurrency": 0, "open_loop": True, "due": True}, "1 % of requests left 20 ms or more after they were due"),
    ],
)
def test_leaving_late_is(settings, why):
    assert told(late=20_000, **settings) == [why]


def test_waiting_for_a_slot_at_a_rate_is_not():
    assert told(late=20_000, open_loop=True, concurrency=5, due=True) == []


def test_a_rate_that_is_not_reached_is():
    records = [
        Record(n, "", "", 200, n * APART, n * APART, n * APART * 2, 1, 1, [1], 0, [], None, 1, 1, "", True)
        for n in range(COUNT)
    ]
    settings = plans.Settings(TARGET, open_loop=True, concurrency=1)
    order = plans.single(COUNT, array("q", (n * APART * 1000 for n in range(COUNT))))
    found = fared(settings, order, summarise(records), [], 0.0, {}, records)
    [why] = found["client_limited_why"]
    assert why == "50 requests/s left instead of 100, held back by the cap of 1"
    assert (found["asked_rate"], found["achieved_rate"]) == (100.0, 50.0)
