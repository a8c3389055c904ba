"""What an answer said, from its bytes: the swift way and the careful way must agree."""

from __future__ import annotations

import gzip
import zlib
from array import array
from itertools import accumulate

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from playbook_plugins.benchmarks.aicp.core import sse as sse_module
from playbook_plugins.benchmarks.aicp.core.sse import understand

from .servers import HEAD, LAST, chunk, plain, sse, stream, thought, token, usage


def read(*pieces, text=False):
    """Understand pieces that came 1,000 apart, the first at 1,000."""
    times = array("q", [1000 * n for n in range(1, len(pieces) + 1)])
    return understand(times, array("I", map(len, pieces)), b"".join(pieces), text=text)


def paced(*events):
    """One read for each event; the head comes with the first."""
    made = [chunk(sse(e)) for e in events]
    return [HEAD + made[0], *made[1:-1], made[-1] + LAST]


ROLE = {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}
END = {"id": "a", "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "stop"}]}


@pytest.mark.parametrize("text", [False, True])  # True reads carefully
def test_times_are_those_of_each_event(text):
    said = read(*paced(ROLE, token("a"), token("b"), token("c"), END, usage(5, 3), "[DONE]"), text=text)
    assert said.tokens == [2000, 3000, 4000]
    assert said.empty == [1000, 5000]
    assert said.usage == {"prompt_tokens": 5, "completion_tokens": 3}
    assert (said.done, said.finish, said.problem, said.last) == (True, "stop", "", 7000)


@pytest.mark.parametrize("text", [False, True])
def test_reasoning_is_told_from_content(text):
    said = read(*paced(ROLE, thought(), thought(), token(), token(), "[DONE]"), text=text)
    assert (said.tokens, said.reasoning) == ([2000, 3000, 4000, 5000], 2)
    said = read(*paced(thought(key="reasoning"), "[DONE]"), text=text)
    assert (said.tokens, said.reasoning) == ([1000], 1)


def test_the_text_is_put_together_only_if_asked_for():
    pieces = paced(thought("h"), token("wörld "), token("data: x\n\n"), "[DONE]")
    assert read(*pieces, text=True).text == "wörld data: x\n\n"
    assert read(*pieces, text=True).thought == "h"
    assert read(*pieces).text == ""
    assert read(*pieces).tokens == [1000, 2000, 3000]


def test_an_event_counts_when_its_end_is_there():
    whole = chunk(sse(token("abcdefghijklmnopqrstuvwxyz")))
    said = read(HEAD, whole[:20], whole[20:] + chunk(sse("[DONE]")) + LAST)
    assert said.tokens == [3000]


EVENTS = st.lists(
    st.one_of(
        st.text(max_size=8).map(token),
        st.text(min_size=1, max_size=8).map(thought),
        st.integers(1, 3).map(lambda n: token("y", created=n)),
        st.just(ROLE),
    ),
    min_size=1,
    max_size=12,
)


@given(EVENTS, st.lists(st.integers(1, 60), max_size=40), st.booleans())
def test_however_it_is_cut_both_ways_of_reading_agree(events, cuts, counted):
    body = stream(*events, *([usage(3, len(events))] if counted else []))
    at = [c for c in accumulate(cuts) if c < len(body)]
    pieces = [body[a:b] for a, b in zip([0, *at], [*at, len(body)], strict=True)]
    swift, careful = read(*pieces), read(*pieces, text=True)
    for name in ("reasoning", "usage", "done", "finish", "problem"):
        assert getattr(swift, name) == getattr(careful, name), name
    assert len(swift.tokens) == len(careful.tokens)
    assert len(swift.empty) == len(careful.empty)
    # The swift way may date an event one read earlier when only the last bytes of its JSON were cut off.
    assert all(0 <= c - s <= 16_000 for s, c in zip(swift.tokens, careful.tokens, strict=True))


LONG = st.lists(
    st.one_of(
        st.sampled_from(["a", "bc", 'q"\\', "", "x" * 130, "y" * 150]).map(lambda t: (token(t, id="c" * 40),)),
        st.just((thought(),)),
        st.just((token("two", id="c" * 40), token("at once", id="c" * 40))),
        st.just((token("d" * 9, id="c" * 40), ROLE)),
    ),
    min_size=1,
    max_size=6,
)


@given(LONG, st.integers(1, 40), LONG, st.sampled_from([b"", b": ping\n\n"]))
@example([(token("two", id="c" * 40), token("at once", id="c" * 40))], 20, [(token("a", id="c" * 40),)], b"")
def test_an_even_stretch_is_read_as_the_careful_way_reads_it(before, count, after, ping):
    """Events in reads of their own, all of one shape, with others before, after and among them."""
    even = [(token("t" * (n % 7 + 1), id="c" * 40),) for n in range(count)]
    reads = [b"".join(chunk(sse(e)) for e in events) for events in [*before, *even, *after, *even]]
    pieces = [
        HEAD,
        *reads[:-1],
        reads[-1] + (chunk(ping) if ping else b""),
        chunk(sse(usage(3, 1))) + chunk(sse("[DONE]")) + LAST,
    ]
    swift, careful = read(*pieces), read(*pieces, text=True)
    for name in ("tokens", "reasoning", "empty", "usage", "done", "finish", "problem", "last"):
        assert getattr(swift, name) == getattr(careful, name), name


def test_an_even_stretch_is_not_parsed(monkeypatch):
    """Chunk sizes of two and of three digits, mixed; what is between the first and the last token costs no parsing."""
    parsed = []
    scan = sse_module._scan
    monkeypatch.setattr(sse_module, "_scan", lambda text, at: parsed.append(text) or scan(text, at))
    monkeypatch.setattr(sse_module, "_meanings", {})
    texts = ["x" * (n * 37 % 90 + 1) for n in range(200)]
    events = [token(t, id="c" * 120) for t in texts]
    sizes = {len(chunk(sse(e)).split(b"\r\n")[0]) for e in events}
    said = read(HEAD, *(chunk(sse(e)) for e in (ROLE, *events)), chunk(sse("[DONE]")) + LAST)
    assert sizes == {2, 3}
    assert said.tokens == [1000 * n for n in range(3, 203)]
    assert len(parsed) < 8


def test_what_stands_before_the_choices_is_not_forgotten():
    """Events with the same choices are looked at once, unless something before the choices counts too."""
    same = '"choices":[{"index":0,"delta":{"content":"x"},"finish_reason":null}]}'
    plain = read(HEAD, *(chunk(sse(f'{{"id":"{n}",{same}')) for n in range(3)), chunk(sse("[DONE]")) + LAST)
    assert (len(plain.tokens), plain.usage, plain.problem) == (3, None, "")
    counted = read(
        HEAD,
        *(chunk(sse(f'{{"usage":{{"completion_tokens":{n}}},{same}')) for n in (2, 5)),
        chunk(sse("[DONE]")) + LAST,
    )
    assert (counted.counts, counted.usage) == ([2, 3], {"completion_tokens": 5})
    nothing = '"choices":[]}'
    fine = read(HEAD, chunk(sse('{"id":"1",' + nothing)), chunk(sse("[DONE]")) + LAST)
    wrong = read(HEAD, chunk(sse('{"object":"error","message":"no",' + nothing)), chunk(sse("[DONE]")) + LAST)
    assert (fine.problem, wrong.problem) == ("", "error_event")
    nested = read(HEAD, chunk(sse('{"x":{' + same + "}")), chunk(sse("[DONE]")) + LAST)
    assert nested.tokens == []


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"\r\r"])
def test_every_line_end_of_the_standard(end):
    body = HEAD + b"".join(chunk(sse(e, end=end)) for e in (token(), token(), "[DONE]")) + LAST
    said = read(body)
    assert (len(said.tokens), said.done, said.problem) == (2, True, "")


def test_comments_and_other_fields_are_passed_over():
    body = HEAD + chunk(b": ping\n\nevent: message\nid: 4\nretry: 10\n" + sse(token())) + chunk(sse("[DONE]")) + LAST
    said = read(body)
    assert (len(said.tokens), said.done, said.problem) == (1, True, "")


def test_an_event_over_several_data_lines_is_one():
    body = HEAD + chunk(b'data: {"choices":\ndata: [{"delta":{"content":"x"}}]}\n\n') + chunk(sse("[DONE]")) + LAST
    assert len(read(body).tokens) == 1


def test_chunks_of_one_byte():
    inner = sse(ROLE, token(), token(), usage(1, 2), "[DONE]")
    pieces = [HEAD, *(chunk(bytes([b])) for b in inner), LAST]
    said = read(*pieces)
    assert (len(said.tokens), said.done, said.usage) == (2, True, {"prompt_tokens": 1, "completion_tokens": 2})


def test_a_line_of_a_mebibyte():
    body = stream(token("x" * (1 << 20)), token())
    pieces = [body[at : at + 65536] for at in range(0, len(body), 65536)]
    assert len(read(*pieces).tokens) == 2


def test_bytes_that_are_not_utf8_end_nothing():
    raw = sse(token("@@")).replace(b"@@", b"\xff\xfe")
    said = read(HEAD + chunk(raw) + chunk(sse("[DONE]")) + LAST, text=True)
    assert (len(said.tokens), said.problem, said.text) == (1, "", "��")


@pytest.mark.parametrize("wbits", [31, 15])
def test_compressed_streams(wbits):
    machine = zlib.compressobj(wbits=wbits)
    parts = [machine.compress(sse(e)) + machine.flush(zlib.Z_SYNC_FLUSH) for e in (token(), token(), "[DONE]")]
    head = HEAD.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n")
    said = read(head, *map(chunk, parts), LAST)
    assert (said.tokens, said.done) == ([2000, 3000], True)


def test_without_done_an_answer_may_still_be_whole():
    said = read(HEAD + chunk(sse(token())) + chunk(sse(END)) + LAST)
    assert (said.done, said.finish, said.problem) == (False, "stop", "")


def test_without_chunks_a_stream_lasts_until_the_connection_closes():
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
    said = read(head, sse(token()), sse(token(), "[DONE]"))
    assert (said.tokens, said.done) == ([2000, 3000], True)


def test_usage_in_every_event_tells_the_tokens_of_each():
    def counted(total, text="ab"):
        return token(text, usage={"prompt_tokens": 2, "completion_tokens": total})

    said = read(*paced(counted(2), counted(6), counted(7), "[DONE]"))
    assert said.counts == [2, 4, 1]


def test_an_error_inside_a_stream_fails_it_and_is_told():
    said = read(stream(token(), {"error": {"message": "out of blocks", "code": 500}}))
    assert (said.problem, said.detail) == ("error_event", "out of blocks")


def test_an_event_that_is_not_json_fails_it():
    said = read(HEAD + chunk(sse(token())) + chunk(sse("{oops")) + chunk(sse("[DONE]")) + LAST)
    assert said.problem == "bad_event"
    assert "{oops" in said.detail


def test_an_answer_in_one_piece():
    body = b'{"choices":[{"message":{"content":"hello"},"finish_reason":"stop"}],"usage":{"completion_tokens":7}}'
    said = read(plain(200, body), text=True)
    assert (said.text, said.usage, said.done, len(said.tokens)) == ("hello", {"completion_tokens": 7}, True, 0)


@pytest.mark.parametrize(
    ("status", "headers", "problem", "told"),
    [
        (429, [b"Retry-After: 7"], "http_429", "Retry-After: 7"),
        (404, [], "http_4xx", "no such model"),
        (503, [], "http_5xx", "no such model"),
        (302, [b"Location: http://elsewhere/"], "redirect", "http://elsewhere/"),
    ],
)
def test_statuses_are_classed_and_what_they_say_is_kept(status, headers, problem, told):
    said = read(plain(status, b'{"error": {"message": "no such model"}}', *headers))
    assert said.problem == problem
    assert told in said.detail
    assert str(status) in said.detail


def test_html_with_status_200_is_no_answer():
    said = read(plain(200, b"<html>login</html>", kind=b"text/html"))
    assert said.problem == "not_a_stream"
    assert "login" in said.detail


@given(st.binary(max_size=300))
def test_no_bytes_at_all_can_raise(data):
    read(HEAD + data)
    read(HEAD + chunk(data) + LAST)
    read(data or b"x")
    read(HEAD.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n") + chunk(gzip.compress(data)[:-3]) + LAST)
