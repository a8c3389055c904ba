"""When requests leave."""

from __future__ import annotations

import itertools
import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st
from playbook_plugins.benchmarks.aicp.core.clock import SECOND
from playbook_plugins.benchmarks.aicp.core.schedule import Stage, arrivals

FOREVER = math.inf


def gaps(due):
    return [b - a for a, b in itertools.pairwise(due)]


def test_constant_rate_is_evenly_spaced_from_zero():
    assert list(arrivals(4, [Stage(FOREVER, 10, 10)], "constant")) == [0, SECOND // 10, SECOND // 5, 3 * SECOND // 10]


@pytest.mark.parametrize(("shape", "spread"), [(0.25, 2.0), (1.0, 1.0), (4.0, 0.5)])
def test_gamma_gaps_have_the_mean_of_the_rate_and_the_spread_of_the_shape(shape, spread):
    found = gaps(arrivals(20_000, [Stage(FOREVER, 100, 100)], "gamma", shape, seed=3))
    mean = statistics.fmean(found)
    assert mean == pytest.approx(SECOND / 100, rel=0.05)
    assert statistics.pstdev(found) / mean == pytest.approx(spread, rel=0.07)


def test_poisson_gaps_spread_as_much_as_their_mean():
    found = gaps(arrivals(20_000, [Stage(FOREVER, 50, 50)], "poisson", seed=1))
    assert statistics.pstdev(found) / statistics.fmean(found) == pytest.approx(1.0, rel=0.05)


def test_a_seed_makes_the_same_schedule_and_another_seed_another():
    stages = [Stage(FOREVER, 7, 7)]
    assert arrivals(50, stages, seed=5) == arrivals(50, stages, seed=5) != arrivals(50, stages, seed=6)


def test_a_ramp_sends_as_many_as_the_area_under_it():
    due = arrivals(10_000, [Stage(10, 0, 100)], "constant")
    assert len(due) in (500, 501)
    assert sum(t <= 5 * SECOND for t in due) == pytest.approx(125, abs=1)  # half the time, a quarter of the area


def test_stages_follow_one_another_and_a_silent_one_is_passed_over():
    due = arrivals(1000, [Stage(2, 10, 10), Stage(3, 0, 0), Stage(2, 20, 20)], "constant")
    assert sum(t < 2 * SECOND for t in due) == 20
    assert not [t for t in due if 2 * SECOND < t < 5 * SECOND]
    assert due[-1] <= 7 * SECOND


@given(
    st.lists(st.tuples(st.floats(0.1, 20), st.floats(0, 50), st.floats(0, 50)), min_size=1, max_size=5),
    st.sampled_from(["constant", "poisson", "gamma"]),
    st.integers(0, 99),
)
def test_every_schedule_is_in_order_and_within_its_stages(parts, kind, seed):
    stages = [Stage(*p) for p in parts]
    if all(s.first == s.last == 0 for s in stages):
        return
    due = arrivals(300, stages, kind, 0.5, seed)
    assert list(due) == sorted(due)
    assert all(0 <= t <= sum(s.seconds for s in stages) * SECOND + 1 for t in due)


@pytest.mark.parametrize("stages", [[], [Stage(FOREVER, 0, 0)], [Stage(5, -1, 2)], [Stage(0, 1, 1)]])
def test_rates_that_make_no_sense_are_refused(stages):
    with pytest.raises(ValueError, match=r"rate|negative"):
        arrivals(3, stages)


@pytest.mark.parametrize(("kind", "shape"), [("gamma", 0.0), ("uniform", 1.0)])
def test_unknown_kinds_and_shapes_are_refused(kind, shape):
    with pytest.raises(ValueError, match=r"burstiness|unknown kind"):
        arrivals(3, [Stage(FOREVER, 1, 1)], kind, shape)
