"""Which request leaves next, decided without a connection or a clock."""

from __future__ import annotations

import math

import pytest
from playbook_plugins.benchmarks.aicp.core.clock import SECOND
from playbook_plugins.benchmarks.aicp.core.dispatch import Dispatcher
from playbook_plugins.benchmarks.aicp.core.plan import Order, Plan, Settings, Target, single
from playbook_plugins.benchmarks.aicp.core.schedule import Stage, arrivals

TARGET = Target("h", 1)


def dispatcher(order, share=0, start=1000, **settings):
    return Dispatcher(Plan(Settings(target=TARGET, **settings), order, None, None), share, start)


def drain(one, at):
    return list(iter(lambda: one.take(at), -1))


def test_closed_loop_fills_its_slots_and_refills_one_for_each_answer():
    one = dispatcher(single(10), concurrency=3)
    assert drain(one, 1000) == [0, 1, 2]
    one.done(1, 2000, ok=True)
    assert one.take(2000, freed=1900) == 3
    assert one.intended == 1900
    assert one.take(2000) == -1


def test_a_ramp_opens_slots_one_by_one():
    one = dispatcher(single(10), concurrency=4, ramp=4.0, start=0)
    opened = []
    for second in range(5):
        opened += [(second, i) for i in drain(one, second * SECOND)]
    assert opened == [(0, 0), (1, 1), (2, 2), (3, 3)]
    assert one.next_at(4 * SECOND) is None


def test_open_loop_sends_when_due_whatever_has_not_come_back():
    due = arrivals(5, [Stage(math.inf, 1, 1)], "constant")
    one = dispatcher(single(5, due), open_loop=True, concurrency=0, start=0)
    assert drain(one, 2 * SECOND) == [0, 1, 2]
    assert one.next_at(2 * SECOND) == 3 * SECOND


def test_with_a_cap_the_wait_for_a_slot_counts_from_when_the_request_was_due():
    one = dispatcher(single(4, [0, 10, 20, 30]), open_loop=True, concurrency=1, start=0)
    assert drain(one, 30) == [0]
    one.done(0, 500, ok=True)
    assert one.take(500) == 1
    assert one.intended == 10


@pytest.mark.parametrize("parts", [1, 2, 3, 7])
def test_any_number_of_workers_send_the_same_requests_at_the_same_times(parts):
    due = arrivals(100, [Stage(math.inf, 50, 50)], "poisson", seed=4)
    found = []
    for share in range(parts):
        one = dispatcher(single(100, due), share, open_loop=True, concurrency=0, processes=parts, start=0)
        while not one.exhausted:
            at = one.next_at(0)
            found.append((one.take(at), one.intended))
    assert sorted(found) == list(enumerate(due))


@pytest.mark.parametrize(("cap", "parts"), [(5, 2), (7, 3), (4, 4)])
def test_slots_are_shared_out_without_loss(cap, parts):
    shares = [dispatcher(single(100), s, concurrency=cap, processes=parts) for s in range(parts)]
    assert sum(one.slots for one in shares) == cap
    assert sum(len(drain(one, 1000)) for one in shares) == cap


def conversation():
    order = Order()
    order.add(0, then=1, pause=0)
    order.add(1, then=2, pause=50)
    order.add(2)
    order.add(3)
    return order


def test_a_conversation_keeps_its_slot_and_pauses_between_turns():
    one = dispatcher(conversation(), concurrency=1, start=0)
    assert drain(one, 0) == [0]
    one.done(0, 100, ok=True)
    assert drain(one, 100) == [1]
    one.done(1, 200, ok=True)
    assert drain(one, 200) == []
    assert one.next_at(200) == 250
    assert drain(one, 250) == [2]
    one.done(2, 300, ok=True)
    assert drain(one, 300) == [3]
    one.done(3, 301, ok=True)
    assert one.exhausted


def test_a_failed_turn_ends_its_conversation():
    one = dispatcher(conversation(), concurrency=1, start=0)
    one.take(0)
    one.done(0, 100, ok=False)
    assert one.take(100) == 3


def test_a_duration_ends_the_asking_and_wrapping_starts_over():
    one = dispatcher(single(2), concurrency=1, duration=1.0, wrap=True, start=0)
    taken = []
    for at in range(5):
        taken.append(one.take(at))
        one.done(taken[-1], at, ok=True)
    assert taken == [0, 1, 0, 1, 0]
    assert one.wrapped == 2
    assert one.take(SECOND) == -1
    assert one.exhausted


def test_stopping_lets_nothing_leave():
    one = dispatcher(conversation(), concurrency=1, start=0)
    one.take(0)
    one.stop()
    one.done(0, 1, ok=True)
    assert one.exhausted
    assert one.take(10) == -1
    assert one.next_at(10) is None
