"""Order: plans, and the ready-first schedule against a slow but obvious reference."""

import heapq
import threading
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from playbook_kernel.cli.plan import batches, longest_chain
from playbook_kernel.errors import Cancelled, PhaseTimeout
from playbook_kernel.scope import Cancel, current, within
from playbook_plugins.deployment.order import Schedule, remaining, run_ready_first


@st.composite
def dags(draw, largest=9):
    """Names, each waiting for some before it, in shuffled order; and how long each takes."""
    size = draw(st.integers(0, largest))
    names = [f"s{n}" for n in range(size)]
    after = {
        name: {
            d: draw(st.sampled_from(["started", "healthy", "completed"]))
            for d in draw(st.sets(st.sampled_from(names[:n])))
        }
        if n
        else {}
        for n, name in enumerate(names)
    }
    order = draw(st.permutations(names))
    seconds = {name: float(draw(st.integers(0, 20))) for name in names}
    return {name: after[name] for name in order}, seconds


class TestPlans:
    @given(dags())
    def test_batches_come_after_what_they_need_and_no_later(self, case):
        after, _ = case
        level = {name: n for n, batch in enumerate(batches(after)) for name in batch}
        assert set(level) == set(after)
        assert all(level[n] == max((level[d] + 1 for d in needs), default=0) for n, needs in after.items())

    @given(dags())
    def test_the_longest_chain_is_one_and_none_has_more_members(self, case):
        after, _ = case
        waves = batches(after)
        chain = longest_chain(after, waves)
        assert len(chain) == len(waves)
        assert all(a in after[b] for a, b in pairwise(chain))

    @given(dags())
    def test_what_remains_is_the_time_of_the_longest_chain_behind(self, case):
        after, seconds = case

        def behind(name):
            return seconds[name] + max((behind(n) for n, needs in after.items() if name in needs), default=0.0)

        assert remaining(after, seconds) == {n: behind(n) for n in after}


def simulate(after, seconds, limit, failing=frozenset()):
    """Run a Schedule on a clock that jumps; a node is started half way to its end. Returns starts, ends, blocked."""
    schedule = Schedule(after, limit, seconds)
    starts, ends, clock, agenda, busiest = {}, {}, 0.0, [], 0
    while True:
        for name in schedule.take():
            starts[name] = clock
            heapq.heappush(agenda, (clock + seconds[name] / 2, 0, name))
            heapq.heappush(agenda, (clock + seconds[name], 1, name))
        busiest = max(busiest, len(schedule.running))
        if not agenda:
            return starts, ends, schedule.blocked, busiest
        clock, last, name = heapq.heappop(agenda)
        if last:
            ends[name] = clock
            schedule.ended(name, ok=name not in failing)
        elif name not in failing:
            schedule.started(name)


class TestSchedule:
    @given(dags())
    def test_without_shortage_each_node_starts_when_the_last_it_needs_is_there(self, case):
        after, seconds = case
        starts, _, _, _ = simulate(after, seconds, limit=100)

        def expected(name):
            return max(
                (expected(d) + seconds[d] / (2 if cond == "started" else 1) for d, cond in after[name].items()),
                default=0.0,
            )

        assert starts == {name: expected(name) for name in after}

    @given(dags(), st.integers(1, 4))
    def test_with_shortage_it_is_the_greedy_schedule_by_longest_remaining_path(self, case, limit):
        after, seconds = case
        after = {name: dict.fromkeys(needs, "healthy") for name, needs in after.items()}
        left = remaining(after, seconds if any(seconds.values()) else dict.fromkeys(after, 1.0))
        place = {name: n for n, name in enumerate(after)}
        starts, ends, clock = {}, {}, 0.0
        while len(starts) < len(after):  # the reference: look at everything again at each moment
            while True:
                busy = [n for n in starts if n not in ends or ends[n] > clock]
                ready = [n for n in after if n not in starts and all(ends.get(d, 1e9) <= clock for d in after[n])]
                if not ready or len(busy) >= limit:
                    break
                best = min(ready, key=lambda n: (-left[n], place[n]))
                starts[best], ends[best] = clock, clock + seconds[best]
            later = [e for e in ends.values() if e > clock]
            clock = min(later) if later else clock
        got_starts, got_ends, _, busiest = simulate(after, {n: s or 0.0 for n, s in seconds.items()}, limit)
        assert busiest <= limit
        assert set(got_starts) == set(after)
        if all(seconds.values()) and len(set(ends.values())) == len(ends):  # told one by one, ties break earlier
            assert got_starts == starts
        assert all(got_starts[n] >= got_ends[d] for n, needs in after.items() for d in needs)

    @given(dags(), st.data())
    def test_failure_blocks_exactly_those_that_wait_for_it(self, case, data):
        after, seconds = case
        failing = data.draw(st.sets(st.sampled_from(sorted(after)))) if after else set()

        def runs(name):
            return all(runs(d) and d not in failing for d in after[name])

        starts, ends, blocked, _ = simulate(after, seconds, 3, failing)
        assert set(starts) == set(ends) == {n for n in after if runs(n)}
        assert set(blocked) == set(after) - set(starts)
        assert all(cause in failing for cause in blocked.values())

    def test_started_is_enough_for_who_asks_no_more(self):
        schedule = Schedule({"a": {}, "b": {"a": "started"}, "c": {"a": "healthy"}}, 9)
        assert schedule.take() == ["a"]
        schedule.started("a")
        assert schedule.take() == ["b"]
        schedule.ended("a", ok=False)
        assert schedule.take() == []
        assert schedule.blocked == {"c": "a"}

    @pytest.mark.parametrize(
        "after, limit, why",
        [
            ({"a": {"x": "healthy"}}, 1, "unknown names"),
            ({"a": {}}, 0, "at least 1"),
            ({"a": {"a": "healthy"}}, 1, "cycle"),
        ],
    )
    def test_nonsense_is_refused(self, after, limit, why):
        with pytest.raises(ValueError, match=why):
            Schedule(after, limit)


class TestRunReadyFirst:
    def test_every_node_runs_once_after_what_it_needs_within_the_callers_scope(self):
        log, scopes = [], set()

        def work(name, started):
            scopes.add(id(current()))
            log.append(name)
            return name.upper()

        with within(30) as scope:
            got = run_ready_first({"c": {"b": "healthy"}, "b": {"a": "healthy"}, "a": {}}, work, limit=2)
        assert log == ["a", "b", "c"]
        assert list(got) == ["c", "b", "a"]
        assert {n: o.value for n, o in got.items()} == {"a": "A", "b": "B", "c": "C"}
        assert scopes == {id(scope)}

    def test_started_releases_followers_while_the_node_still_runs(self):
        seen = threading.Event()

        def work(name, started):
            if name == "a":
                started()
                assert seen.wait(10)
            else:
                seen.set()

        got = run_ready_first({"a": {}, "b": {"a": "started"}}, work, limit=2)
        assert {o.status for o in got.values()} == {"done"}

    def test_failure_is_kept_and_blocks_only_dependants(self):
        def work(name, started):
            if name == "bad":
                raise OSError("no")

        got = run_ready_first({"bad": {}, "x": {"bad": "healthy"}, "y": {"x": "healthy"}, "z": {}}, work, limit=1)
        assert {n: o.status for n, o in got.items()} == {"bad": "failed", "x": "blocked", "y": "blocked", "z": "done"}
        assert isinstance(got["bad"].error, OSError)
        assert got["y"].because == "bad"

    def test_cancel_starts_nothing_more_and_waits_for_what_runs(self):
        cancel = Cancel()

        def work(name, started):
            cancel.set("user")
            current().sleep(30)

        with within(60, cancel):
            got = run_ready_first({"a": {}, "b": {"a": "healthy"}, "c": {}}, work, limit=1)
        assert isinstance(got["a"].error, Cancelled)
        assert got["b"].status == "blocked"
        assert got["c"].status == "stopped"

    def test_deadline_ends_it_even_when_a_call_does_not_notice(self):
        release = threading.Event()

        def work(name, started):
            if name == "deaf":
                release.wait(60)
            else:
                current().sleep(30)

        with within(0.05):
            got = run_ready_first({"deaf": {}, "good": {}, "later": {"good": "healthy"}}, work, limit=2, patience=0.2)
        release.set()
        assert got["deaf"].status == "stopped"
        assert isinstance(got["good"].error, PhaseTimeout)
        assert got["later"].status == "blocked"
