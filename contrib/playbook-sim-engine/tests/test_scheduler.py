"""The timing model on a clock that the test moves: exact, whatever the machine does."""

import heapq

import pytest

from playbook_sim_engine.metrics import EngineMetrics, Registry
from playbook_sim_engine.scheduler import new_scheduler
from playbook_sim_engine.sequence import Sequence
from playbook_sim_engine.settings import Settings


class FakeLoop:
    """An event loop whose time is a number; `lateness` makes every timer run late."""

    def __init__(self, lateness=0.0):
        self.now, self.lateness, self.queue, self.count = 0.0, lateness, [], 0

    def time(self):
        return self.now

    def call_soon(self, function, *args):
        return self._push(self.now, function, args)

    def call_at(self, when, function, *args):
        return self._push(when, function, args)

    def _push(self, when, function, args):
        self.count += 1
        handle = Handle(when)
        heapq.heappush(self.queue, (when, self.count, handle, function, args))
        return handle

    def run(self, until=1e9):
        while self.queue and self.queue[0][0] <= until:
            when, _, handle, function, args = heapq.heappop(self.queue)
            if not handle.cancelled:
                self.now = max(self.now, when + self.lateness)
                function(*args)


class Handle:
    def __init__(self, when):
        self._when, self.cancelled = when, False

    def when(self):
        return self._when

    def cancel(self):
        self.cancelled = True


class Sink:
    def __init__(self, name, log):
        self.name, self.log = name, log

    def on_tokens(self, sequence, count, *, finished):
        self.log.append((round(sequence.last * 1000, 6), self.name, count, finished))


class World:
    def __init__(self, lateness=0.0, **settings):
        base = {"prefill_base_ms": 10, "prefill_per_token_ms": 0.5, "decode_base_ms": 4, "decode_per_seq_ms": 1}
        self.loop = FakeLoop(lateness)
        self.metrics = EngineMetrics(Registry({}))
        self.scheduler = new_scheduler(Settings(**{**base, **settings}), self.metrics, self.loop)
        self.log = []

    def submit(self, name, prompt, limit, prefilled=False):
        sequence = Sequence(Sink(name, self.log), 0, prompt, 0 if prefilled else prompt, limit, self.loop.time())
        self.scheduler.submit(sequence)
        return sequence

    def times(self, name):
        return [when for when, who, _, _ in self.log if who == name]


@pytest.fixture(params=["batched", "paced"])
def scheduling(request):
    return request.param


def test_one_stream_takes_what_the_formulas_say(scheduling):
    world = World(scheduling=scheduling)
    world.submit("a", prompt=20, limit=3)
    world.loop.run()
    assert world.times("a") == [20, 25, 30]  # 10 + 20 * 0.5, then 4 + 1 * 1 each


def test_batched_streams_step_together_and_prefills_share_a_pass():
    world = World(scheduling="batched")
    world.submit("a", prompt=10, limit=2)
    world.submit("b", prompt=30, limit=2)
    world.loop.run()
    assert world.log == [(30, "a", 1, False), (30, "b", 1, False), (36, "a", 1, True), (36, "b", 1, True)]


def test_batched_prefill_holds_up_those_who_decode():
    world = World(scheduling="batched")
    world.submit("a", prompt=20, limit=4)
    world.loop.run(until=0.0201)
    world.submit("b", prompt=100, limit=1)
    world.loop.run()
    # b arrives within the step that ends at 25; the next one has a's decode and b's whole prefill.
    assert world.times("a") == [20, 25, 25 + 5 + 60, 95]
    assert world.times("b") == [90]


def test_paced_streams_do_not_disturb_each_other():
    world = World(scheduling="paced", decode_per_seq_ms=0)
    world.submit("a", prompt=20, limit=3)
    world.loop.run(until=0.005)
    world.loop.now = 0.005
    world.submit("b", prompt=100, limit=3)
    world.loop.run()
    assert world.times("a") == [20, 24, 28]
    assert world.times("b") == [65, 69, 73]


def test_a_long_prefill_is_split_by_the_budget():
    world = World(scheduling="batched", max_num_batched_tokens=64)
    world.submit("a", prompt=100, limit=1)
    world.loop.run()
    assert world.times("a") == [(10 + 32) + (10 + 18)]


def test_lateness_of_the_machine_does_not_add_up(scheduling):
    punctual, late = World(scheduling=scheduling), World(scheduling=scheduling, lateness=0.003)
    for world in (punctual, late):
        world.submit("a", prompt=20, limit=200)
        world.loop.run()
    drift = [b - a for a, b in zip(punctual.times("a"), late.times("a"))]
    assert len(drift) == 200
    assert max(drift) <= 3.001  # the one start that was late; never 200 times that


def test_a_stalled_machine_moves_the_plan_instead_of_bursting(scheduling):
    world = World(scheduling=scheduling)
    world.submit("a", prompt=20, limit=4)
    world.loop.run(until=0.0201)
    world.loop.now = 5.0
    world.loop.run()
    _, second, third, fourth = world.times("a")
    assert second == 25  # what was planned already
    assert third >= 5000
    assert fourth - third == pytest.approx(5)


def test_more_than_max_num_seqs_wait(scheduling):
    world = World(scheduling=scheduling, max_num_seqs=2)
    for name in "abcd":
        world.submit(name, prompt=20, limit=5)
    world.loop.run(until=0.001)
    assert (world.scheduler.running, world.scheduler.waiting) == (2, 2)
    world.loop.run()
    assert min(world.times("c")) > max(world.times("a"))
    assert [sum(n for _, who, n, _ in world.log if who == name) for name in "abcd"] == [5] * 4
    assert (world.scheduler.running, world.scheduler.waiting, world.scheduler.kv_usage) == (0, 0, 0)


def test_a_full_kv_cache_makes_prompts_wait(scheduling):
    world = World(scheduling=scheduling, kv_capacity_tokens=100)
    world.submit("a", prompt=60, limit=3)
    world.submit("b", prompt=60, limit=3)
    world.loop.run(until=0.001)
    assert (world.scheduler.running, world.scheduler.waiting) == (1, 1)
    assert world.scheduler.kv_usage == 0.6
    world.loop.run()
    assert min(world.times("b")) > max(world.times("a"))
    assert world.metrics.preemptions.value == 0


def test_growth_preempts_the_youngest_and_all_tokens_still_come_once(scheduling):
    world = World(scheduling=scheduling, kv_capacity_tokens=100)
    for name in "abc":
        world.submit(name, prompt=30, limit=40)
    world.loop.run()
    assert world.metrics.preemptions.value > 0
    for name in "abc":
        assert sum(n for _, who, n, _ in world.log if who == name) == 40
        assert sum(done for _, who, _, done in world.log if who == name) == 1
    assert max(world.times("a")) < max(world.times("c"))
    assert world.scheduler.kv_usage == 0


def test_kv_from_a_peer_needs_no_prefill(scheduling):
    world = World(scheduling=scheduling)
    world.submit("a", prompt=1000, limit=2, prefilled=True)
    world.loop.run()
    assert world.times("a") == [5, 10]


def test_held_kv_blocks_others_until_it_is_let_go(scheduling):
    world = World(scheduling=scheduling, kv_capacity_tokens=100)
    world.scheduler.hold(80)
    world.submit("a", prompt=50, limit=1)
    world.loop.run()
    assert world.scheduler.waiting == 1
    world.scheduler.hold(-80)
    world.loop.run()
    assert len(world.times("a")) == 1


def test_cancelling_frees_slots_and_nothing_more_comes(scheduling):
    world = World(scheduling=scheduling, max_num_seqs=1)
    running, waiting = world.submit("a", 20, 50), world.submit("b", 20, 50)
    last = world.submit("c", 20, 2)
    world.loop.run(until=0.03)
    seen = len(world.times("a"))
    assert seen
    world.scheduler.cancel(waiting)
    world.scheduler.cancel(running)
    world.scheduler.cancel(running)
    world.loop.run()
    assert len(world.times("a")) == seen
    assert world.times("b") == []
    assert last.done
    assert len(world.times("c")) == 2
    assert world.scheduler.kv_usage == 0
    assert world.metrics.finished["abort"].value == 2


def test_jitter_is_bounded_and_comes_from_the_seed(scheduling):
    runs = []
    for seed in (1, 1, 2):
        world = World(scheduling=scheduling, jitter=0.3, seed=seed)
        world.submit("a", prompt=20, limit=100)
        world.loop.run()
        runs.append(world.times("a"))
    assert runs[0] == runs[1] != runs[2]
    gaps = [b - a for a, b in zip(runs[0], runs[0][1:])]
    assert all(3.5 - 1e-5 <= gap <= 6.5 + 1e-5 for gap in gaps)
    assert max(gaps) > 5 > min(gaps)


def test_metrics_are_of_the_models_clock(scheduling):
    world = World(scheduling=scheduling)
    world.submit("a", prompt=20, limit=11)
    world.loop.run()
    assert world.metrics.ttft.total == pytest.approx(0.020)
    assert world.metrics.tpot.count == 10
    assert world.metrics.tpot.total == pytest.approx(0.050)
    assert world.metrics.e2e.total == pytest.approx(0.070)
