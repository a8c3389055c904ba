from __future__ import annotations

import gzip
import json
import math
from pathlib import Path

import pytest
from playbook_plugins.stats.records import Requests, read


def write(path: Path, *rows: object) -> Path:
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows))
    return path


def same(requests: Requests) -> list[tuple[float, ...]]:
    columns = (requests.sent, requests.ttft, requests.tpot, requests.e2el, requests.tokens)
    return [tuple(round(v, 9) for v in row) for row in zip(*columns, strict=True)]


@pytest.mark.parametrize(
    "row",
    [
        {"sent": 5.0, "ttft": 0.25, "tpot": 0.01, "e2el": 1.25, "output_tokens": 101, "error": ""},
        {
            "t_sent_ns": 5e9,
            "ttft_ms": 250,
            "tpot_ms": 10,
            "e2e_latency_ms": 1250,
            "completion_tokens": 101,
            "success": True,
        },
        {"start_time": 5, "ttft_us": 250_000, "latency_s": 1.25, "output_len": 101, "error": None},
    ],
    ids=["own", "ms", "derived"],
)
def test_names_and_units_of_several_tools_mean_the_same(tmp_path: Path, row: dict):
    expected = (5.0, 0.25, 0.01, 1.25, 101.0)
    for rows in ([row] * 3, [row, {**row, "more": 1}, row]):  # all alike, and one that is not
        found = read(write(tmp_path / "requests.jsonl", *rows))
        assert same(found) == [expected] * 3
        assert not found.failures


def test_the_records_of_aicp(tmp_path: Path):
    found = read(
        write(
            tmp_path / "records.jsonl",
            {"run": {"version": 1, "started": "2026-01-01T00:00:00Z"}},
            {
                "i": 0,
                "intended": 0,
                "sent": 1000,
                "first": 200,
                "ended": 1_250_000,
                "t": [250_000, 1_250_000],
                "out": 101,
            },
            {"i": 1, "intended": 0, "sent": 2000, "first": -1, "ended": 50, "error": "connect_refused"},
            {"client": {"lag": 0.1}},
        )
    )
    assert same(found)[0] == (1767225600.001, 0.25, 0.01, 1.25, 101.0)
    assert found.errors == {"connect_refused": 1}
    assert (len(found), found.skipped) == (2, 0)
    assert found.values("e2el") == [1.25]


def test_failures_are_told_apart_and_have_no_latency(tmp_path: Path):
    rows = [
        {"sent": 1, "e2el": 2.0, "error": ""}, {"sent": 2, "e2el": 9.0, "error": {"class": "timeout", "at": 1}},
        {"sent": 3, "e2el": 9.0, "error": "HTTP  503\nbusy"}, {"sent": 4, "e2el": None, "error": ""},
        {"sent": 5, "e2el": "soon", "success": False},
    ]  # fmt: skip
    found = read(write(tmp_path / "r.jsonl", *rows))
    assert found.errors == {"timeout": 1, "HTTP 503 busy": 1, "failed": 1}
    assert found.values("e2el") == [2.0]
    assert len(found) == 5


def test_what_is_no_record_is_counted(tmp_path: Path):
    path = write(
        tmp_path / "r.jsonl",
        {"sent": 1, "e2el": 1},
        "[1]",
        "null",
        "7",
        '{"cut": ',
        {"weather": 1},
        {"sent": 2, "e2el": 1},
    )
    found = read(path)
    assert (len(found), found.skipped) == (2, 5)
    assert math.isnan(found.ttft[0])


def test_compressed_and_torn(tmp_path: Path):
    rows = [{"sent": n, "e2el": 1.0} for n in range(5000)]
    whole = tmp_path / "requests.jsonl.gz"
    with gzip.open(whole, "wt") as file:
        file.writelines(json.dumps(r) + "\n" for r in rows)
    assert len(read(whole)) == 5000
    whole.write_bytes(whole.read_bytes()[:-100])
    with pytest.raises(EOFError):
        read(whole)
