"""What a script's output says: METRIC lines and blocks, units by name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from playbook_plugins.benchmarks.metrics import MetricsReader, as_metrics, unit


def read(*lines: str) -> MetricsReader:
    reader = MetricsReader()
    for line in lines:
        reader.feed(line)
    return reader


def test_lines_amid_other_output() -> None:
    values = read(
        "warming up", "METRIC:a=1", "12:00 INFO METRIC: b = 2.5 ", "METRIC:name=fast run", "METRIC:a=3"
    ).values
    assert values == {"a": 3, "b": 2.5, "name": "fast run"}


def test_a_value_may_hold_an_equals_sign_and_be_empty() -> None:
    assert read("METRIC:cmd=a=b", "METRIC:none=").values == {"cmd": "a=b", "none": ""}


@pytest.mark.parametrize(
    "lines",
    [
        ['METRICS_START {"a": 1, "b": {"c": 2}} METRICS_END'],
        ["METRICS_START", '{"a": 1,', '"b": {"c": 2}}', "METRICS_END"],
        ['x METRICS_START {"a": 1,', '"b": {"c": 2}} METRICS_END y'],
    ],
)
def test_blocks(lines: list[str]) -> None:
    reader = read(*lines, "METRIC:after=1")
    assert reader.values == {"a": 1, "b": {"c": 2}, "after": 1}
    assert reader.problems == []


@pytest.mark.parametrize("block, problem", [("{", "is not JSON"), ("[1]", "is not an object"), ("", "is not JSON")])
def test_a_broken_block_is_told_and_costs_nothing_else(block: str, problem: str) -> None:
    reader = read("METRIC:a=1", f"METRICS_START {block} METRICS_END", "METRIC:b=2")
    assert reader.values == {"a": 1, "b": 2}
    assert problem in reader.problems[0]


def test_an_endless_block_is_given_up() -> None:
    reader = read("METRICS_START", *["x" * 65536] * 17, "METRIC:a=1")
    assert "given up" in reader.problems[0]
    assert reader.values == {"a": 1}


@given(st.lists(st.text(st.characters(exclude_characters="\n"), max_size=40), max_size=20))
def test_no_output_breaks_the_reader(lines: list[str]) -> None:
    as_metrics(read(*lines).values, None)


@pytest.mark.parametrize(
    "name, expected",
    [
        ("ttft_p99_ms", "ms"), ("output_throughput", "tok/s"), ("output_tokens_per_second", "tok/s"),
        ("request_throughput", "req/s"), ("requests_per_s", "req/s"), ("throughput", "1/s"), ("duration", "s"),
        ("elapsed_s", "s"), ("success_percent", "%"), ("total_requests", "1"), ("Latency_P50_MS", "ms"),
    ],
)  # fmt: skip
def test_units(name: str, expected: str) -> None:
    assert unit(name) == expected


def test_only_numbers_are_metrics() -> None:
    found = as_metrics({"a": 1, "b": 2.5, "c": "x", "d": True, "e": {}}, 7)
    assert {k: (m.value, m.samples) for k, m in found.items()} == {"a": (1.0, 7), "b": (2.5, 7)}


def test_a_slip_is_told_once_with_its_line() -> None:
    reader = MetricsReader()
    for line in ("METRIC:bad", "  METRIC: also bad", "METRIC:good=1", "a METRIC: in a sentence"):
        reader.feed(line)
    assert reader.values == {"good": 1}
    assert reader.problems == ["'METRIC:bad' is no METRIC:name=value, and is not read; so are others like it"]
