"""OpenAI's completions and chat completions: requests checked, answers shaped."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, cast

from playbook_sim_engine.settings import Settings
from playbook_sim_engine.text import Prompt, count_tokens, render_chat, words

COMPLETIONS = "/v1/completions"
CHAT = "/v1/chat/completions"
_DEFAULT_OUTPUT = {COMPLETIONS: 16, CHAT: 128}
_MAX_STOPS = 16


class ApiError(Exception):
    """A request that is answered with an error in OpenAI's shape."""

    def __init__(self, status: int, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.param = param
        self.code = code

    def body(self) -> bytes:
        return error_body(self.status, str(self), self.param, self.code)


def error_body(status: int, message: str, param: str | None = None, code: str | None = None) -> bytes:
    """Shape an error as OpenAI does."""
    kind = "invalid_request_error" if status < 500 and status != 429 else "server_error"
    if status == 429:
        kind = "rate_limit_error"
    return dumps({"error": {"message": message, "type": kind, "param": param, "code": code}})


def dumps(value: object) -> bytes:
    """Compact JSON."""
    return json.dumps(value, separators=(",", ":")).encode()


@dataclass(frozen=True)
class Completion:
    """A request that can be run: every prompt with its length, and what to generate for it."""

    chat: bool
    prompts: tuple[Prompt, ...]
    prompt_tokens: tuple[int, ...]
    limits: tuple[int, ...]
    reason: tuple[str, ...]
    cuts: tuple[int | None, ...]
    seeds: tuple[int, ...]
    stream: bool
    include_usage: bool
    usage_in_every_chunk: bool
    reasoning_tokens: int
    kv_transfer: Mapping[str, Any] | None

    @property
    def prefill_only(self) -> bool:
        """Whether a router asks only for KV that a decode peer will pull."""
        return bool(self.kv_transfer and self.kv_transfer.get("do_remote_decode"))

    def text(self, at: int, start: int, count: int) -> str:
        """Return tokens `start`.. of the answer to prompt `at`, up to where a stop string cuts it."""
        full = words(self.seeds[at], start, count)
        cut = self.cuts[at]
        if cut is None:
            return full
        before = len(words(self.seeds[at], 0, start)) if start else 0
        return full[: max(0, cut - before)]


def parse_json(body: bytes) -> dict[str, Any]:
    """Return the JSON object of a request.

    Raises ApiError(400) when it is not one.
    """
    try:
        data = json.loads(body)
    except ValueError as error:
        raise ApiError(400, f"the body is not JSON: {error}") from None
    if not isinstance(data, dict):
        raise ApiError(400, "the body must be a JSON object")
    return data


def _wrong(name: str, expected: str) -> NoReturn:
    raise ApiError(422, f"{name} must be {expected}", param=name)


def _typed(data: Mapping[str, Any], name: str, kind: type, expected: str, default: Any) -> Any:
    value = data.get(name)
    if value is None:
        return default
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        _wrong(name, expected)
    return value


def parse_completion(data: dict[str, Any], path: str, settings: Settings, serial: int) -> Completion:
    """Check a request and work out what to generate; `serial` makes the answers of requests differ.

    Raises ApiError: 404 for another model, 422 for a field of the wrong type, 400 for anything else.
    """
    chat = path == CHAT
    model = data.get("model", settings.model)
    if model != settings.model:
        raise ApiError(404, f"the model {model!r} does not exist", param="model", code="model_not_found")
    prompts = _chat_prompt(data) if chat else _prompts(data)
    _refuse_unsupported(data)
    max_tokens = _max_tokens(data, path, settings)
    ignore_eos = _typed(data, "ignore_eos", bool, "true or false", default=False)
    minimum = _typed(data, "min_tokens", int, "a whole number", 0)
    stops = _stops(data)
    stream_options = _typed(data, "stream_options", dict, "an object", {})
    kv_transfer = _typed(data, "kv_transfer_params", dict, "an object", None)

    limits, reasons, cuts, seeds, counts = [], [], [], [], []
    for at, prompt in enumerate(prompts):
        count = count_tokens(prompt, settings.chars_per_token)
        if count + (max_tokens or 1) > settings.max_model_len:
            message = (
                f"this model's maximum context length is {settings.max_model_len} tokens; "
                f"the prompt has {count} and {max_tokens or 1} were asked for"
            )
            raise ApiError(400, message, param="messages" if chat else "prompt", code="context_length_exceeded")
        seed = settings.seed + serial + at
        wanted = max_tokens or min(settings.output_tokens or _DEFAULT_OUTPUT[path], settings.max_model_len - count)
        limit, reason, cut = wanted, "length", None
        natural = max(settings.output_tokens, minimum)
        if settings.output_tokens and not ignore_eos and natural <= wanted:
            limit, reason = natural, "stop"
        found = _find_stop(words(seed, 0, limit), stops, seed, limit, minimum) if stops else None
        if found is not None:
            (limit, cut), reason = found, "stop"
        counts.append(count)
        limits.append(limit)
        reasons.append(reason)
        cuts.append(cut)
        seeds.append(seed)
    return Completion(
        chat=chat, prompts=tuple(prompts), prompt_tokens=tuple(counts), limits=tuple(limits), reason=tuple(reasons),
        cuts=tuple(cuts), seeds=tuple(seeds), stream=_typed(data, "stream", bool, "true or false", default=False),
        include_usage=bool(stream_options.get("include_usage")),
        usage_in_every_chunk=bool(stream_options.get("continuous_usage_stats")),
        reasoning_tokens=settings.reasoning_tokens if chat else 0, kv_transfer=kv_transfer,
    )  # fmt: skip


def _chat_prompt(data: Mapping[str, Any]) -> list[Prompt]:
    messages = data.get("messages")
    if messages is None:
        raise ApiError(400, "messages is required", param="messages")
    if not isinstance(messages, list):
        _wrong("messages", "a list")
    if not messages:
        raise ApiError(400, "messages must not be empty", param="messages")
    try:
        return [render_chat(messages)]
    except ValueError as error:
        raise ApiError(422, str(error), param="messages") from None


def _prompts(data: Mapping[str, Any]) -> list[Prompt]:
    prompt = data.get("prompt")
    if prompt is None:
        raise ApiError(400, "prompt is required", param="prompt")
    if isinstance(prompt, str):
        return [prompt]
    if prompt == []:
        raise ApiError(400, "prompt must not be empty", param="prompt")
    if isinstance(prompt, list):
        if all(isinstance(item, str) for item in prompt):
            return list(prompt)
        if _is_ids(prompt):
            return [cast("list[int]", prompt)]
        if all(isinstance(item, list) and item and _is_ids(item) for item in prompt):
            return list(prompt)
    _wrong("prompt", "text, a list of texts, a list of token ids or a list of such lists")


def _is_ids(items: list[Any]) -> bool:
    return all(type(item) is int and item >= 0 for item in items)


def _refuse_unsupported(data: Mapping[str, Any]) -> None:
    if _typed(data, "n", int, "a whole number", 1) != 1:
        raise ApiError(400, "only n=1 is supported", param="n")
    if _typed(data, "best_of", int, "a whole number", 1) != 1:
        raise ApiError(400, "only best_of=1 is supported", param="best_of")
    for name in ("echo", "logprobs", "top_logprobs", "tools", "suffix"):
        if data.get(name):
            raise ApiError(400, f"{name} is not supported by the simulated engine", param=name)
    temperature = data.get("temperature")
    if temperature is not None and (isinstance(temperature, bool) or not isinstance(temperature, (int, float))):
        _wrong("temperature", "a number")


def _max_tokens(data: Mapping[str, Any], path: str, settings: Settings) -> int:
    names = ("max_completion_tokens", "max_tokens") if path == CHAT else ("max_tokens",)
    for name in names:
        value = _typed(data, name, int, "a whole number", None)
        if value is not None:
            if not 1 <= value <= settings.max_model_len:
                raise ApiError(400, f"{name} must be from 1 to {settings.max_model_len}, got {value}", param=name)
            return int(value)
    return 0


def _stops(data: Mapping[str, Any]) -> list[str]:
    stop = data.get("stop")
    stops = [stop] if isinstance(stop, str) else stop or []
    if not isinstance(stops, list) or not all(isinstance(item, str) for item in stops):
        _wrong("stop", "text or a list of texts")
    if len(stops) > _MAX_STOPS or "" in stops:
        raise ApiError(400, f"stop takes up to {_MAX_STOPS} texts, none of them empty", param="stop")
    return stops


def _find_stop(text: str, stops: list[str], seed: int, limit: int, minimum: int) -> tuple[int, int] | None:
    """Find the first stop string; return (tokens generated when it is complete, characters before it)."""
    floor = len(words(seed, 0, min(minimum, limit)))
    places = [(at, stop) for stop in stops if (at := text.find(stop, floor)) >= 0]
    if not places:
        return None
    at, stop = min(places, key=lambda place: place[0] + len(place[1]))
    end, tokens, length = at + len(stop), 0, 0
    while length < end:
        length += len(words(seed, tokens, 1))
        tokens += 1
    return tokens, at
