"""What each figure means: one definition each, with an id that results carry."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from attrs import frozen

from .core.records import Record

Better = Literal["less", "more"]


@frozen
class Metric:
    """``of`` gives a request's value, or None where it has none. ``source`` says which facts it stands on."""

    name: str
    id: str
    unit: str
    text: str
    source: str
    of: Callable[[Record], float | None]
    better: Better = "less"


def output_tokens(record: Record) -> int:
    """Tokens of the answer: the server's count; the number of chunks where it gave none."""
    return len(record.tokens) if record.completion_tokens is None else record.completion_tokens


def input_tokens(record: Record) -> int:
    """Tokens of the prompt: the server's count; what was meant to be sent where it gave none."""
    return record.nominal if record.prompt_tokens is None else record.prompt_tokens


def _ms(value: int | None) -> float | None:
    return None if value is None else value / 1000


def first_chunk(record: Record) -> int | None:
    """When the first chunk with a ``content`` key came, even an empty one; reasoning does not count."""
    content = record.tokens[record.reasoning : record.reasoning + 1]
    return min([*record.empty[:1], *content], default=None)


def _first_content(record: Record) -> int | None:
    return record.tokens[record.reasoning] if record.reasoning < len(record.tokens) else None


def _tpot(record: Record) -> float | None:
    """From the first token event to the last; the first chunk's own tokens came with it."""
    count = output_tokens(record) - _in_first(record)
    if len(record.tokens) < 2 or count < 1:
        return None
    return (record.tokens[-1] - record.tokens[0]) / count / 1000


def _in_first(record: Record) -> int:
    """Tokens in the first chunk."""
    if record.counts:
        return record.counts[0]
    if len(record.tokens) < 2:
        return output_tokens(record)
    return max(1, round(output_tokens(record) / len(record.tokens)))


def _decode(record: Record) -> float | None:
    tpot = _tpot(record)
    return 1000 / tpot if tpot else None


def _per_second(tokens: int, microseconds: int) -> float | None:
    return tokens / (microseconds / 1e6) if microseconds > 0 and tokens else None


def legacy_chunks(record: Record) -> list[int]:
    """Times of the chunks that the earlier tool counted as tokens: those with a ``content`` key."""
    content = record.tokens[record.reasoning :]
    return sorted(record.empty + content) if record.empty else content


def _legacy_tpot(record: Record) -> float | None:
    chunks = legacy_chunks(record)
    return (record.ended - chunks[0]) / (len(chunks) - 1) / 1000 if len(chunks) > 1 else None


METRICS: Sequence[Metric] = (
    Metric(
        "ttft", "ttft.first_token", "ms", "Time to the first token, of reasoning or of content.", "sent, t[0]",
        lambda r: _ms(r.tokens[0]) if r.tokens else None,
    ),
    Metric(
        "ttft_byte", "ttft.first_byte", "ms", "Time to the first byte of the answer, its head included.", "sent, first",
        lambda r: _ms(r.first) if r.first >= 0 else None,
    ),
    Metric(
        "ttft_content", "ttft.first_content", "ms", "Time to the first token of content; reasoning does not count.",
        "sent, t[reasoning]", lambda r: _ms(_first_content(r)),
    ),
    Metric(
        "ttft_legacy", "ttft.first_chunk", "ms",
        "Time to the first chunk with a `content` key, even an empty one: the earlier tool's definition.",
        "sent, empty[0] or t[reasoning]", lambda r: _ms(first_chunk(r)),
    ),
    Metric(
        "ttft_intended", "ttft.first_token.from_intended", "ms",
        "As ttft, from when the request should have been sent: waiting for a slot or a connection counts.",
        "intended, t[0]", lambda r: (r.tokens[0] + r.sent - r.intended) / 1000 if r.tokens else None,
    ),
    Metric(
        "tpot", "tpot.per_request.excl_first", "ms",
        "Time per output token: from the first token to the last, over the tokens after the first chunk.",
        "t[0], t[-1], out", _tpot,
    ),
    Metric(
        "tpot_legacy", "tpot.per_request.chunks", "ms",
        "(end - ttft_legacy) / (chunks - 1): the earlier tool's definition.", "ended, empty, t", _legacy_tpot,
    ),
    Metric(
        "tpot_incl_first", "tpot.per_request.incl_first", "ms",
        "Normalised time per token: the whole latency over all tokens.", "ended, out",
        lambda r: r.ended / output_tokens(r) / 1000 if output_tokens(r) else None,
    ),
    Metric("e2el", "e2el.answer_end", "ms", "From sending the request to the end of its answer.", "sent, ended",
           lambda r: r.ended / 1000),
    Metric(
        "e2el_intended", "e2el.answer_end.from_intended", "ms",
        "As e2el, from when the request should have been sent.", "intended, ended",
        lambda r: (r.ended + r.sent - r.intended) / 1000,
    ),
    Metric(
        "client_delay", "queue.client", "ms", "How much later than intended the request was sent.", "intended, sent",
        lambda r: (r.sent - r.intended) / 1000,
    ),
    Metric("connect", "queue.connect", "ms", "Opening a connection for the request; 0 on one that was open.",
           "started, sent", lambda r: (r.sent - r.started) / 1000),
    Metric(
        "output_throughput", "throughput.per_request.output", "tok/s", "Output tokens of a request over its latency.",
        "ended, out", lambda r: _per_second(output_tokens(r), r.ended), "more",
    ),
    Metric(
        "prefill_throughput", "throughput.per_request.prefill", "tok/s", "Prompt tokens over ttft.", "in, t[0]",
        lambda r: _per_second(input_tokens(r), r.tokens[0]) if r.tokens else None, "more",
    ),
    Metric(
        "decode_throughput", "throughput.per_request.decode", "tok/s", "1 / tpot.", "t[0], t[-1], out", _decode, "more",
    ),
)  # fmt: skip
BY_NAME: Mapping[str, Metric] = {m.name: m for m in METRICS}
GAPS: Mapping[str, tuple[str, str]] = {
    "itl": ("itl.gap.pooled", "Time between consecutive chunks with tokens, pooled over all requests."),
    "itl_token": (
        "itl.token_weighted",
        "The same, each gap shared evenly by the tokens of the chunk that ends it, and counted once for each.",
    ),
    "itl_legacy": ("itl.gap.chunks", "Time between chunks with a `content` key: the earlier tool's definition."),
}
