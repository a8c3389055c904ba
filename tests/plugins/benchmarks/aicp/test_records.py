"""What is kept of a run: torn files, full disks, old Pythons."""

from __future__ import annotations

import ast
import errno
import os
import resource
import subprocess
import sys
import zipfile
from array import array
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from playbook_plugins.benchmarks.aicp import core
from playbook_plugins.benchmarks.aicp.core import records
from playbook_plugins.benchmarks.aicp.core.exchange import Exchange
from playbook_plugins.benchmarks.aicp.core.records import Record
from playbook_plugins.benchmarks.aicp.core.spool import Answer, Follower, Spool, read

from .servers import mock_server, stream, token, usage

CORE = Path(core.__file__).parent


def exchange(number=0, body=b"abc"):
    one = Exchange(number, 100, 150)
    one.sent, one.times, one.sizes = 200, [300, 400], [1, 2]
    one.body += body
    return one


def spool(path, count):
    made = Spool(path)
    for number in range(count):
        made.add(exchange(number), "answered", 500, "détail")
    made.note(end=True)
    made.close()
    return path.read_bytes()


def test_what_is_spooled_comes_back(tmp_path):
    path = tmp_path / "s"
    spool(path, 2)
    first, second, note = read(path)
    assert (first.number, second.number, note) == (0, 1, {"end": True})
    assert (first.intended, first.started, first.sent, first.ended) == (100, 150, 200, 500)
    assert (list(first.times), list(first.sizes), first.body, first.detail) == ([300, 400], [1, 2], b"abc", "détail")


def test_a_spool_cut_anywhere_gives_every_whole_record_before_the_cut(tmp_path):
    path = tmp_path / "s"
    whole = spool(path, 3)
    counts = []
    for cut in range(8, len(whole) + 1):
        path.write_bytes(whole[:cut])
        counts.append(len(list(read(path))))
    assert counts == sorted(counts)
    assert (counts[0], counts[-1]) == (0, 4)


def test_following_a_spool_sees_each_record_once_and_reads_no_body(tmp_path):
    path = tmp_path / "s"
    follower = Follower(path)
    assert follower.news() == []
    made = Spool(path)
    made.add(exchange(), "answered", 500)
    made.flush()
    assert [(g.outcome, g.sent, g.first, g.ended) for g in follower.news()] == [("answered", 200, 300, 500)]
    made.add(exchange(), "cut", 600)
    made.flush()
    assert [g.outcome for g in follower.news()] == ["cut"]
    made.close()


def test_a_full_disk_leaves_a_readable_spool_and_is_said(tmp_path, monkeypatch):
    path = tmp_path / "s"
    made = Spool(path)
    made.add(exchange(0), "answered", 500)
    made.flush()
    real = os.write

    def full(fd, data):
        if fd == made._fd:
            real(fd, bytes(data)[:10])
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(fd, data)

    monkeypatch.setattr(os, "write", full)
    made.add(exchange(1), "answered", 500)
    made.flush()
    assert "No space left" in made.broken
    monkeypatch.undo()
    made.close()
    assert [a.number for a in read(path)] == [0]


def test_a_load_stops_when_its_disk_is_full(load):
    with mock_server(ttft_ms=1) as server:
        # The workers' spool is the largest file that is written.
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, hard))
        try:
            run = load(server.port, 10_000, tokens=300, concurrency=16, connections=16)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert 0 < len(run.records) < 10_000


RECORDS = st.builds(
    Record,
    *[st.integers(0, 9), st.sampled_from(["", "cut"]), st.text(max_size=5), st.integers(0, 599)],
    *[st.integers(-5, 10**9)] * 5,
    st.lists(st.integers(0, 10**6), max_size=4),
    st.integers(0, 3),
    st.lists(st.integers(0, 99), max_size=2),
    st.none() | st.lists(st.integers(1, 4), max_size=3),
    st.none() | st.integers(0, 99),
    st.none() | st.integers(0, 99),
    st.sampled_from(["", "stop"]),
    st.booleans(),
    st.just(0),
    st.integers(0, 9),
    st.none(),
    st.none() | st.text(max_size=5),
    st.none(),
    st.just(0),
)


@given(RECORDS)
def test_a_record_survives_its_line(record):
    assert records.of_line(records.to_line(record)) == record


def lines(path, *texts):
    path.write_text("".join(t + "\n" for t in texts))
    return path


def test_a_file_of_a_killed_run_is_read_without_its_last_line(tmp_path):
    good = records.to_line(records.of_line('{"i":1,"intended":0,"sent":0,"first":0,"ended":5}'))
    loaded = records.load(lines(tmp_path / "r.jsonl", '{"run":{"a":1}}', good, good[:10]))
    assert (loaded.run, len(loaded.records), loaded.client, loaded.torn) == ({"a": 1}, 1, None, True)


def test_a_wrong_line_in_the_middle_is_named(tmp_path):
    good = '{"i":1,"intended":0,"sent":0,"first":0,"ended":5}'
    path = lines(tmp_path / "r.jsonl", good, "nonsense", good)
    with pytest.raises(ValueError, match=r"r\.jsonl:2"):
        records.load(path)


def answer(body, outcome="answered"):
    return Answer(3, outcome, 1_000_000, 1_000_000, 2_000_000, 9_000_000, array("q", [5_000_000]), array("I", [len(body)]),
                  body, "why")  # fmt: skip


def test_times_of_a_record_are_microseconds_after_what_they_count_from():
    made = records.of_answer(answer(stream(token(), usage(4, 9))), 500_000, asked=9)
    assert (made.intended, made.sent, made.first, made.tokens, made.ended) == (500, 1500, 3000, [3000], 3000)
    assert (made.prompt_tokens, made.completion_tokens, made.asked, made.error) == (4, 9, 9, "")


def test_a_connection_cut_after_everything_was_said_is_no_failure():
    whole = stream({"choices": [{"delta": {"content": "x"}, "finish_reason": "stop"}]})
    assert records.of_answer(answer(whole[:-15], "cut"), 0).error == ""
    assert records.of_answer(answer(stream(token())[:-30], "cut"), 0).error == "cut"


@pytest.mark.parametrize("value", [-1, "7", True, None])
def test_usage_that_makes_no_sense_is_not_believed(value):
    assert records.of_answer(answer(stream(token(), usage(1, value))), 0).completion_tokens is None


def test_the_shipped_part_is_python_3_9_and_stands_alone(tmp_path):
    packed = tmp_path / "core.zip"
    with zipfile.ZipFile(packed, "w") as file:
        for path in sorted(CORE.glob("*.py")):
            ast.parse(path.read_text(), feature_version=(3, 9))
            file.write(path, f"shipped/{path.name}")
    names = [p.stem for p in CORE.glob("*.py") if p.stem != "__init__"]
    code = f"import sys; sys.path[:0] = [{str(packed)!r}]; " + "".join(f"import shipped.{n}; " for n in names)
    # -S: no site-packages, so anything that is not the standard library fails.
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
