"""Figures of records whose values are known."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from playbook_plugins.benchmarks.aicp.core.records import Record
from playbook_plugins.benchmarks.aicp.rows import slos, value
from playbook_plugins.benchmarks.aicp.summary import summarise


def record(number=0, *, sent=0, tokens=(100_000, 110_000), out=2, **more):
    """A success; times in microseconds."""
    times = list(tokens)
    made = Record(
        number, "", "", 200, sent, sent, sent, times[0], times[-1], times, 0, [], None, 50, out, "stop", done=True
    )  # fmt: skip
    return made._replace(**more)


def test_the_kinds_of_ttft():
    one = record(tokens=(200_000, 300_000, 400_000), first=50_000, reasoning=1, empty=[60_000], intended=-30_000)
    found = summarise([one]).distributions
    assert [found[n].mean for n in ("ttft_byte", "ttft", "ttft_content", "ttft_legacy", "ttft_intended")] == [
        50, 200, 300, 60, 230,
    ]  # fmt: skip


def test_time_per_token_leaves_out_what_came_with_the_first_chunk():
    one = record(tokens=(100_000, 180_000, 260_000), out=12)  # 4 tokens a chunk, so 8 came in 160 ms
    found = summarise([one]).distributions
    assert found["tpot"].mean == pytest.approx(20)
    assert found["tpot_legacy"].mean == pytest.approx(80)
    assert found["tpot_incl_first"].mean == pytest.approx(260 / 12)
    assert found["decode_throughput"].mean == pytest.approx(50)
    assert (found["itl"].mean, found["itl_token"].mean) == (80, pytest.approx(20))
    assert (found["itl"].count, found["itl_token"].count) == (2, 8)


def test_counts_of_the_server_weigh_each_gap():
    one = record(tokens=(0, 30_000, 40_000), out=6, counts=[2, 3, 1])
    found = summarise([one]).distributions["itl_token"]
    assert (found.count, found.mean) == (4, pytest.approx(10))


moments = st.lists(st.integers(0, 20), max_size=6)


@given(st.lists(st.tuples(moments, moments, st.integers(0, 3)), min_size=1, max_size=4))
def test_the_gaps_of_the_earlier_tool_are_those_between_all_chunks_with_content(made):
    streams, wanted = [], []
    for tokens, empty, reasoning in made:
        times = sorted(tokens)
        kept = min(reasoning, len(times))
        one = record(tokens=times or [0], out=len(times), first=0, reasoning=kept, empty=empty)
        streams.append(one._replace(tokens=times))
        wanted += [b - a for a, b in pairwise(sorted([*empty, *times[kept:]]))]
    found = summarise(streams, confidence=False).distributions["itl_legacy"]
    assert found.count == len(wanted)
    if wanted:
        assert [found.percentile(100 * n / max(1, len(wanted) - 1)) for n in range(len(wanted))] == pytest.approx(
            [gap / 1000 for gap in sorted(wanted)]
        )


def test_tokens_second_by_second_and_in_the_steady_window():
    streams = [record(n, sent=n * 100_000, tokens=[100_000 * k for k in range(1, 31)], out=60) for n in range(4)]
    found = summarise(streams)
    assert sum(row["tokens"] for row in found.series) == pytest.approx(240)
    assert [row["sent"] for row in found.series] == [4, 0, 0, 0]
    assert max(row["in_flight"] for row in found.series) == found.peak_in_flight == 4
    # All four are under way from 0.3 s to 3.0 s.
    assert (found.steady["from"], found.steady["to"]) == (pytest.approx(0.3), pytest.approx(3.0))
    inside = sum(2 for s in streams for t in s.tokens if 300_000 <= s.sent + t <= 3_000_000)
    assert found.steady["output_throughput"] == pytest.approx(inside / 2.7)


@pytest.mark.parametrize(("waves", "told"), [(1, False), (4, True)])
def test_requests_per_second_of_a_steady_part_in_which_few_ended_are_not_told(waves, told):
    sent = [n // 16 * 1_000_000 + n % 16 * 20_000 for n in range(16 * waves)]
    made = [record(n, sent=at, tokens=[500_000, 1_000_000], out=2) for n, at in enumerate(sent)]
    found = summarise(made)
    assert ("request_throughput" in found.steady) is told
    assert ("request_throughput" in found.unsteady) is not told
    if told:
        assert found.steady["request_throughput"] == pytest.approx(16, rel=0.35)


def test_cancelled_requests_are_neither_good_nor_bad():
    found = summarise([record(), record(1, error="cancelled"), record(2, error="cut")], slos({"ttft": 500}))
    assert (found.succeeded, found.failed, found.cancelled) == (1, 1, 1)
    assert (found.attainment, value(found, "completed")) == (0.5, 50.0)


def test_nothing_at_all_has_no_figures_and_raises_nothing():
    found = summarise([])
    assert (found.requests, found.seconds, found.steady, list(found.series)) == (0, 0.0, {}, [])
    assert value(found, "TTFT_P99") is None


def test_any_percentile_is_a_column_and_an_unknown_column_is_none():
    found = summarise([record(n, tokens=(1000 * (n + 1), 2_000_000)) for n in range(101)])
    assert value(found, "TTFT_P37.5") == pytest.approx(38.5)
    assert value(found, "P95_decode_throughput") is not None
    for name in ("TTFT_Q9", "mean_SPEED", "speed"):
        with pytest.raises(KeyError):
            value(found, name)
