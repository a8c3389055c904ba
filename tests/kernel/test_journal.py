"""The journal: whole records or none, damage that is named, and what may still be left."""

from __future__ import annotations

import json
import resource
import threading
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from playbook_kernel.context import Effect
from playbook_kernel.engine.journal import Journal, format_record, parse, read, trials
from playbook_kernel.model.record import JournalDamaged, Record
from playbook_kernel.redaction import Secret, is_secret_name

RECORDS = [
    Record(1, "2026-01-01T00:00:00Z", 1.5, "campaign", "", {"run": "r", "scenarios": ["a"]}),
    Record(2, "2026-01-01T00:00:01Z", 2.5, "trial", "t", {"scenario": "ä ✓", "nested": {"v": 1}}),
    Record(3, "2026-01-01T00:00:02Z", 3.5, "intent", "t", {"id": 1, "data": {'","crc":"': "x\ny"}}),
    Record(4, "2026-01-01T00:00:03Z", 4.5, "undone", "t", {"id": 1}),
]
LINES = [format_record(r) for r in RECORDS]
RAW = b"".join(LINES)


def ends() -> list[int]:
    return [sum(map(len, LINES[:n])) for n in range(len(LINES) + 1)]


def test_a_cut_at_any_byte_gives_every_record_before_it() -> None:
    for cut in range(len(RAW) + 1):
        records, whole = parse(RAW[:cut])
        expected = max(n for n, end in enumerate(ends()) if end <= cut)
        assert records == RECORDS[:expected]
        assert whole == ends()[expected]


def test_a_journal_cut_at_any_byte_is_continued_after_its_last_whole_record(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    for cut in range(0, len(RAW) + 1, 7):
        path.write_bytes(RAW[:cut])
        before = read(path)
        journal = Journal(path)
        journal.append([("event", "t", {"n": 1})])
        journal.close()
        after = read(path)
        assert after[:-1] == before
        assert (after[-1].seq, after[-1].type) == (len(before) + 1, "event")


@given(st.data())
def test_a_changed_byte_before_the_last_record_is_damage_and_names_its_line(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, ends()[-2] - 1))
    value = data.draw(st.integers(0, 255).filter(lambda v: v != RAW[at]))
    line = RAW[:at].count(b"\n") + 1
    with pytest.raises(JournalDamaged, match=rf"damaged in line {line}\b"):
        parse(RAW[:at] + bytes([value]) + RAW[at + 1 :])


def test_a_last_line_without_all_of_its_bytes_is_torn_even_with_its_newline() -> None:
    torn = LINES[3].replace(b"undone", b"\0\0\0\0\0\0")
    assert parse(b"".join(LINES[:3]) + torn)[0] == RECORDS[:3]


def test_a_missing_and_a_repeated_record_are_damage() -> None:
    with pytest.raises(JournalDamaged, match="line 2"):
        parse(LINES[0] + LINES[2] + LINES[3])
    with pytest.raises(JournalDamaged, match="line 5"):
        parse(RAW + LINES[3])


def test_a_damaged_journal_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    damaged = RAW.replace(b"trial", b"tr!al")
    path.write_bytes(damaged)
    with pytest.raises(JournalDamaged):
        Journal(path)
    assert path.read_bytes() == damaged


def test_a_journal_of_another_version_is_named_and_not_touched(tmp_path: Path) -> None:
    text = LINES[3].replace(b'"v":1', b'"v":2', 1).rpartition(b',"crc"')[0]
    newer = text + b',"crc":"%08x"}\n' % zlib.crc32(text + b"}")
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b"".join(LINES[:3]) + newer)
    with pytest.raises(JournalDamaged, match="version 2"):
        Journal(path)
    assert path.read_bytes().endswith(newer)


def test_the_checksum_is_what_the_documentation_says() -> None:
    for line, record in zip(LINES, RECORDS, strict=True):
        body = json.loads(line)
        before, _, _ = line.rpartition(b',"crc"')
        assert int(body["crc"], 16) == zlib.crc32(before + b"}")
        assert (body["v"], body["seq"], body["type"]) == (1, record.seq, record.type)


keys = st.text().filter(lambda key: not is_secret_name(key))
"""What a name says is secret does not come back, and is not to."""

values: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(keys, inner),
    max_leaves=8,
)


@given(st.dictionaries(keys, values))
def test_any_data_comes_back_from_one_line(data: dict[str, Any]) -> None:
    line = format_record(Record(1, "u", 0.0, "event", "", data))
    assert line.count(b"\n") == 1
    assert parse(line)[0][0].data == data


def test_what_cannot_be_written_leaves_no_gap(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j")
    with pytest.raises(ValueError, match="JSON"):
        journal.append([("event", "", {}), ("event", "", {"x": float("nan")})])
    journal.append([("event", "", {"name": "not utf-8: \udcff"})])
    journal.close()
    assert [(r.seq, r.data) for r in read(tmp_path / "j")] == [(1, {"name": "not utf-8: \udcff"})]


def test_a_known_secret_never_reaches_the_file(tmp_path: Path) -> None:
    secret = Secret("jrnl-hunter2")
    journal = Journal(tmp_path / "j")
    journal.append([("intent", "t", {"command": f"curl {secret.reveal()}", "token": "plain"})])
    journal.close()
    assert read(tmp_path / "j")[0].data == {"command": "curl ***", "token": "***"}


def test_threads_append_whole_batches(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j")

    def work(name: str) -> None:
        for n in range(20):
            journal.append([("event", name, {"n": n, "half": h}) for h in (0, 1)], sync=n % 10 == 0)

    threads = [threading.Thread(target=work, args=(f"t{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    journal.close()
    records = read(tmp_path / "j")
    assert [r.data["half"] for r in records] == [0, 1] * 80
    for name in ("t0", "t3"):
        assert [r.data["n"] for r in records if r.trial == name and r.data["half"]] == list(range(20))


def test_append_returns_once_the_record_is_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path / "j")
    synced: list[int] = []

    def fdatasync(_descriptor: int) -> None:
        synced.append(len(read(tmp_path / "j")))

    monkeypatch.setattr("os.fdatasync", fdatasync)
    journal.append([("intent", "t", {})])
    journal.append([("event", "t", {})], sync=False)
    journal.close()
    assert synced == [1], "the record is in the file when it is synced, and events are not waited for"


def test_a_full_disk_is_an_error_and_the_journal_goes_on_when_there_is_room(tmp_path: Path) -> None:
    path = tmp_path / "j"
    journal = Journal(path)
    journal.append([("event", "", {"n": 1})])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # the limit lies inside of the next record, so that a part of it is written first
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 40, hard))
    try:
        with pytest.raises(OSError, match="too large"):
            journal.append([("intent", "t", {"id": 1})])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [r.type for r in read(path)] == ["event"]
    assert path.read_bytes().endswith(b"}\n"), "nothing of the failed record stays"
    journal.append([("trial", "t", {})])
    journal.close()
    assert [(r.seq, r.type) for r in read(path)] == [(1, "event"), (2, "trial")]


def replay(*entries: tuple[str, dict[str, Any]]) -> tuple[Effect, ...]:
    began = {"scenario": "s", "attempt": 2, "folder": "s/trials/t", "nodes": ["n1", "n2"]}
    records = [Record(1, "", 0.0, "trial", "t", began), Record(2, "", 0.0, "trial", "other", {**began, "attempt": 3})]
    records += [Record(n, "", 0.0, kind, "t", data) for n, (kind, data) in enumerate(entries, 3)]
    return trials(records)["t"].open


INTENT = ("intent", {"id": 1, "kind": "file", "node": "n1", "data": {"path": "/x"}})
SECOND = ("intent", {"id": 2, "kind": "compose", "node": "n2", "data": {}})


def test_an_effect_stays_open_until_it_is_known_to_be_undone() -> None:
    intended = Effect(1, "file", "n1", {"path": "/x"})
    assert replay(INTENT) == (intended,)
    done = ("done", {"id": 1, "data": {"inode": 7}})
    assert replay(INTENT, done) == (Effect(1, "file", "n1", {"path": "/x", "inode": 7}, "done"),)
    assert replay(INTENT, done, ("undone", {"id": 1})) == ()
    assert replay(INTENT, ("undone", {"id": 1})) == ()
    assert [e.id for e in replay(INTENT, SECOND)] == [2, 1], "newest first"
    assert replay(INTENT, SECOND, ("undone", {"id": 2})) == (intended,)
    assert replay(INTENT, ("event", {"event": "Warned"}), ("recovered", {"clean": True})) == (intended,)


def test_the_state_of_a_trial_says_where_and_whether_it_ended() -> None:
    records = [
        Record(1, "", 0.0, "campaign", "", {}),
        Record(2, "", 0.0, "trial", "t", {"scenario": "s", "attempt": 2, "folder": "s/t", "nodes": ["n1", "n2"]}),
        Record(3, "", 0.0, "trial_ended", "t", {"status": "failed", "clean": False}),
        Record(4, "", 0.0, "intent", "unheard of", {"id": 1, "kind": "x", "node": "", "data": {}}),
    ]
    [state] = trials(records).values()
    assert (state.scenario, state.attempt, state.folder, state.nodes) == ("s", 2, "s/t", ("n1", "n2"))
    assert state.ended
    assert not trials(records[:2])["t"].ended
