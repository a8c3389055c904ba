"""Percentiles and intervals, against plain computation."""

from __future__ import annotations

import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st
from playbook_plugins.benchmarks.aicp.core import stats
from playbook_plugins.benchmarks.aicp.core.stats import (
    Distribution,
    block_bootstrap,
    longest_stretch,
    percentile,
    t_interval,
)

VALUES = st.lists(st.integers(0, 10_000), min_size=1, max_size=200)


@given(VALUES, st.floats(0, 100))
def test_percentiles_of_counts_are_those_of_the_sorted_values(values, percent):
    assert Distribution.of(values).percentile(percent) == pytest.approx(percentile(sorted(values), percent))


@given(VALUES)
def test_mean_and_deviation_are_exact(values):
    found = Distribution.of(values, scale=0.001)
    assert found.mean == pytest.approx(statistics.fmean(values) / 1000)
    assert found.std == pytest.approx(statistics.pstdev(values) / 1000, abs=1e-9)
    assert (found.least, found.most) == (pytest.approx(min(values) / 1000), pytest.approx(max(values) / 1000))


def test_percentiles_are_those_of_statistics_inclusive_quantiles():
    values = [random.Random(1).random() for _ in range(101)]
    wanted = statistics.quantiles(values, n=100, method="inclusive")
    assert [Distribution.of(values).percentile(p) for p in range(1, 100)] == pytest.approx(wanted)


def test_no_values_have_no_figures():
    assert Distribution.of([]).figures((99,)) == {}
    with pytest.raises(ValueError, match="no values"):
        _ = Distribution.of([]).mean


def test_the_interval_of_the_mean_holds_the_true_mean_about_as_often_as_it_says():
    held = 0
    for seed in range(60):
        dice = random.Random(seed)
        low, high = block_bootstrap([dice.gauss(10, 2) for _ in range(300)])["mean"]
        held += low <= 10 <= high
    assert held >= 50


def test_neighbours_that_depend_on_one_another_widen_the_interval():
    dice, level, walk = random.Random(2), 0.0, []
    for _ in range(1000):
        level = 0.95 * level + dice.gauss(0, 1)
        walk.append(level)
    shuffled = random.Random(3).sample(walk, len(walk))
    assert block_bootstrap(walk)["mean"].half > 2 * block_bootstrap(shuffled)["mean"].half


def test_repeats_give_students_interval():
    interval = t_interval([10.0, 12.0, 11.0])
    assert interval is not None
    assert interval.half == pytest.approx(4.303 / 3**0.5, rel=1e-3)
    assert t_interval([1.0]) is None


def test_the_longest_stretch_at_a_level():
    points = [(0, 1), (10, 9), (20, 3), (30, 9), (60, 10), (90, 2)]
    assert longest_stretch(points, 9) == (30, 90)
    assert longest_stretch(points, 11) == (0, 0)


@given(
    st.lists(st.lists(st.integers(0, 9), min_size=3, max_size=3), min_size=1, max_size=6),
    st.lists(st.integers(0, 5), min_size=6, max_size=6),
    st.sampled_from([0.0, 50.0, 90.0, 99.0, 100.0]),
)
def test_percentiles_of_what_was_drawn_are_those_of_all_of_it_sorted(blocks, draws, percent):
    chosen = [d % len(blocks) for d in draws[: len(blocks)]]
    drawn = sorted(v for c in chosen for v in blocks[c])
    found = stats._Redrawn(blocks).percentile([chosen.count(n) for n in range(len(blocks))], percent)
    assert found == pytest.approx(percentile(drawn, percent))
