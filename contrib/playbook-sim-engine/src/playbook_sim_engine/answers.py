"""Answers that grow as tokens come: whole ones, and streams of server-sent events with the faults asked for."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Callable

from playbook_sim_engine.faults import FaultDice, Faults
from playbook_sim_engine.http import Exchange
from playbook_sim_engine.openai import Completion, dumps, error_body
from playbook_sim_engine.sequence import Sequence
from playbook_sim_engine.settings import Settings

_SSE = "text/event-stream; charset=utf-8"
_GARBAGE = b"data: {not json \xff\xfe\n\n"
_COMMENT = b": keep-alive\n\n"


class Answer(ABC):
    """Collects the tokens of all prompts of one request; `finished` is called once when the last one is complete."""

    def __init__(
        self, settings: Settings, completion: Completion, exchange: Exchange, ident: str, finished: Callable[[], None]
    ) -> None:
        self.completion = completion
        self.kv_params: Mapping[str, Any] | None = None
        self._settings = settings
        self._exchange = exchange
        self.finished = finished
        self._id = ident
        self._created = int(time.time())
        self._open = len(completion.prompts)
        self._generated = [0] * len(completion.prompts)

    @abstractmethod
    def on_tokens(self, sequence: Sequence, count: int, *, finished: bool) -> None:
        """Take new tokens from the scheduler."""

    def fail(self, status: int, message: str) -> None:
        """Answer with an error, or end the stream with one when it has begun."""
        if self._exchange.started:
            body = b"data: " + error_body(status, message) + b"\n\n"
            self._exchange.write(self._exchange.chunk(body))
            self._exchange.abort()
        else:
            self._exchange.respond(status, error_body(status, message))

    def _usage(self) -> dict[str, Any]:
        prompt, generated = sum(self.completion.prompt_tokens), sum(self._generated)
        usage: dict[str, Any] = {
            "prompt_tokens": prompt, "total_tokens": prompt + generated, "completion_tokens": generated,
        }  # fmt: skip
        if self.completion.reasoning_tokens:
            thought = min(self.completion.reasoning_tokens, generated)
            usage["completion_tokens_details"] = {"reasoning_tokens": thought}
        return usage


class WholeAnswer(Answer):
    """One JSON object, sent when everything is generated."""

    def __init__(
        self, settings: Settings, completion: Completion, exchange: Exchange, ident: str, finished: Callable[[], None],
        *, with_usage: bool,
    ) -> None:  # fmt: skip
        super().__init__(settings, completion, exchange, ident, finished)
        self._with_usage = with_usage

    def on_tokens(self, sequence: Sequence, count: int, *, finished: bool) -> None:
        self._generated[sequence.index] += count
        if finished:
            self._open -= 1
            if not self._open:
                self.finished()
                self._exchange.respond(200, dumps(self._body()))

    def _body(self) -> dict[str, Any]:
        completion = self.completion
        body: dict[str, Any] = {
            "id": self._id,
            "object": "chat.completion" if completion.chat else "text_completion",
            "created": self._created,
            "model": self._settings.model,
            "choices": [self._choice(at) for at in range(len(completion.prompts))],
        }
        if self._with_usage:
            body["usage"] = self._usage()
        if self.kv_params is not None:
            body["kv_transfer_params"] = self.kv_params
        return body

    def _choice(self, at: int) -> dict[str, Any]:
        completion, total = self.completion, self._generated[at]
        ending = {"logprobs": None, "finish_reason": completion.reason[at]}
        if not completion.chat:
            return {"index": at, "text": completion.text(at, 0, total), **ending}
        thought = min(completion.reasoning_tokens, total)
        message: dict[str, Any] = {"role": "assistant", "content": completion.text(at, thought, total - thought)}
        if thought:
            message[self._settings.reasoning_field] = completion.text(at, 0, thought)
        return {"index": at, "message": message, **ending}


class StreamAnswer(Answer):
    """Server-sent events, each its own HTTP chunk, written the moment the tokens are made."""

    def __init__(
        self, settings: Settings, completion: Completion, exchange: Exchange, ident: str, finished: Callable[[], None],
        plan: StreamFaults, *, with_usage: bool,
    ) -> None:  # fmt: skip
        super().__init__(settings, completion, exchange, ident, finished)
        self._plan = plan
        self._with_usage = with_usage
        self._tokens = 0
        self._held: list[bytes] | None = None
        exchange.split = plan.split_bytes
        kind = "chat.completion.chunk" if completion.chat else "text_completion"
        self._head = dumps(
            {"id": self._id, "object": kind, "created": self._created, "model": settings.model, "choices": []}
        )[:-2]
        opening, closing = ('"delta":{"content":"', '"}') if completion.chat else ('"text":"', '"')
        self._opening = [b'data: %b{"index":%d,%b' % (self._head, at, opening.encode()) for at in range(self._open)]
        self._closing = closing.encode() + b',"logprobs":null,"finish_reason":null}]}\n\n'
        self._ending = [
            closing.encode() + b',"logprobs":null,"finish_reason":"%b","stop_reason":null}]}\n\n' % reason.encode()
            for reason in completion.reason
        ]

    def on_tokens(self, sequence: Sequence, count: int, *, finished: bool) -> None:
        events = b"" if self._exchange.started else self._start()
        at, start = sequence.index, self._generated[sequence.index]
        self._generated[at] = start + count
        thinking = self.completion.reasoning_tokens - start
        if 0 < thinking < count:  # the chunk in which thinking ends becomes two events
            events += self._event(at, start, thinking, finished=False)
            start, count = start + thinking, count - thinking
        events += self._event(at, start, count, finished=finished)
        if finished:
            self._open -= 1
            if not self._open:
                self.finished()
                self._end(events)
                return
        if self._plan.active:
            self._tokens += count
            events = self._plan.disturb(events, self._tokens, self)
        self._send(events)

    def _event(self, at: int, start: int, count: int, *, finished: bool) -> bytes:
        text = self.completion.text(at, start, count).encode()
        opening = self._opening[at]
        if start < self.completion.reasoning_tokens:
            opening = opening.replace(b'"content"', b'"%b"' % self._settings.reasoning_field.encode())
        closing = self._ending[at] if finished else self._closing
        event = opening + text + closing
        if self.completion.usage_in_every_chunk and self._with_usage:
            event = event[:-3] + b',"usage":' + dumps(self._usage()) + b"}\n\n"
        return self.framed(event)

    def _start(self) -> bytes:
        self._exchange.start_stream(200, _SSE, (("Cache-Control", "no-cache"),))
        if not self.completion.chat:
            return b""
        role = (
            b'data: %b{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]}\n\n'
        )
        return self.framed(role % self._head)

    def _end(self, events: bytes) -> None:
        if self.completion.include_usage and self._with_usage:
            events += self.framed(b"data: " + self._head + b'],"usage":' + dumps(self._usage()) + b"}\n\n")
        if not self._plan.no_done:
            events += self.framed(b"data: [DONE]\n\n")
        if self._plan.active:
            events = self._plan.disturb(events, self._tokens, self)
        self._send(events + self._exchange.last_chunk())
        if self._held is None:
            self._exchange.end()

    def framed(self, event: bytes) -> bytes:
        """Put one event into an HTTP chunk, with the line ends asked for."""
        if self._plan.active:
            event = self._plan.reframe(event)
        return self._exchange.chunk(event)

    def _send(self, framed: bytes) -> None:
        if self._held is None:
            self._exchange.write(framed)
        else:
            self._held.append(framed)

    def stall(self, events: bytes, seconds: float) -> None:
        """Send these, then nothing; go on after `seconds`, or never when that is 0."""
        self._send(events)
        self._held = []
        if seconds:
            asyncio.get_running_loop().call_later(seconds, self._resume)

    def _resume(self) -> None:
        held, self._held = self._held or [], None
        self._exchange.write(b"".join(held))
        if not self._open:
            self._exchange.end()

    def cut(self, events: bytes) -> None:
        """Send what there is and cut the connection."""
        self._exchange.write(events)
        self._exchange.abort()
        if self._exchange.on_disconnect is not None:
            self._exchange.on_disconnect()


class StreamFaults:
    """What will go wrong with one stream, decided when it begins."""

    def __init__(self, faults: Faults, dice: FaultDice) -> None:
        self.active = faults.on_streams
        self.no_done = faults.no_done
        self.split_bytes = faults.split_bytes
        self._crlf = faults.crlf
        self._comments = faults.comments
        self._stall_s = faults.stall_s
        self._stall_at = faults.stall_after_tokens if dice.hits(faults.stall_rate) else -1
        self._cut_at = faults.cut_after_tokens if dice.hits(faults.cut_rate) else -1
        self._garbage = dice.hits(faults.garbage_rate)
        self._error_event = dice.hits(faults.error_event_rate)

    def reframe(self, event: bytes) -> bytes:
        """Put comments and other line ends into one event."""
        if self._comments:
            event = _COMMENT + event
        return event.replace(b"\n", b"\r\n") if self._crlf else event

    def disturb(self, events: bytes, tokens: int, answer: StreamAnswer) -> bytes:
        """Return the framed events as they are to be sent, `tokens` having been made; may stall or cut the answer."""
        if self._garbage:
            self._garbage = False
            events += answer.framed(_GARBAGE)
        if self._error_event:
            error = b"data: " + error_body(500, "the engine met an error while generating") + b"\n\n"
            answer.cut(events + answer.framed(error))
            return b""
        if 0 <= self._cut_at <= tokens:
            answer.cut(events)
            return b""
        if 0 <= self._stall_at <= tokens:
            self._stall_at = -1
            answer.stall(events, self._stall_s)
            return b""
        return events
