"""What one request says, before it is bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from attrs import field, frozen

from .options import Options


@frozen
class Sample:
    """Either ``text``, ``messages`` or token ``ids``. ``nominal`` is the prompt's length in tokens, as far as known.

    ``output_len`` is how many tokens to ask for. ``due``: seconds after the start, of a trace. ``conversation``: samples
    of the same one follow each other; ``pause`` is the time before this one, in seconds.
    """

    text: str = ""
    messages: Sequence[Mapping[str, Any]] = ()
    ids: Sequence[int] = field(default=(), repr=False)
    nominal: int = 0
    output_len: int = 16
    due: float | None = None
    conversation: int | None = None
    pause: float = 0.0


def chat(options: Options) -> bool:
    """Whether the endpoint takes messages."""
    return options.api.rstrip("/").endswith("/chat/completions")


def payload(sample: Sample, options: Options, *, ignore_eos: bool = True) -> dict[str, Any]:
    """The JSON of a request. Fields that only some servers know are sent only where they say something."""
    body: dict[str, Any] = {"model": options.model, "temperature": 0.0, "max_tokens": sample.output_len}
    if options.stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    else:
        body["stream"] = False
    if options.best_of != 1:
        body["best_of"] = options.best_of
    if ignore_eos and not options.disable_ignore_eos:
        body["ignore_eos"] = True
    if options.logprobs is not None:
        body |= (
            {"logprobs": True, "top_logprobs": options.logprobs} if chat(options) else {"logprobs": options.logprobs}
        )
    if not chat(options):
        body["prompt"] = list(sample.ids) if sample.ids else sample.text
    elif sample.ids:
        # vLLM's and SGLang's chat endpoints take no ids; the completions endpoint does.
        raise ValueError("token ids need an endpoint of the kind /v1/completions")
    else:
        body["messages"] = list(sample.messages) or [{"role": "user", "content": sample.text}]
    return {**body, **options.extra_body}


def wire(number: int, body: Mapping[str, Any], options: Options, api_key: str | None) -> bytes:
    """The request as it goes over the wire, whole, so that one send does it."""
    data = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    head = [f"POST {path_of(options)} HTTP/1.1", f"Host: {host_of(options)}", f"X-Request-Id: {number}"]
    head += [
        "Content-Type: application/json",
        f"Accept: {'text/event-stream' if options.stream else 'application/json'}",
    ]
    head += ["Accept-Encoding: identity", "User-Agent: playbook-aicp"]
    if api_key:
        head.append(f"Authorization: Bearer {api_key}")
    head += [f"{name}: {value}" for name, value in options.headers.items()]
    head.append(f"Content-Length: {len(data)}")
    return "\r\n".join(head).encode("latin-1", "replace") + b"\r\n\r\n" + data


def url_of(options: Options) -> str:
    """Base and endpoint, with exactly one slash between them, and ``/v1`` once.

    >>> url_of(Options(base_url="http://h:1/v1/", endpoint="/v1/completions"))
    'http://h:1/v1/completions'
    """
    base, endpoint = options.base_url.rstrip("/"), "/" + options.api.lstrip("/")
    if base.endswith("/v1") and endpoint.startswith("/v1/"):
        base = base[:-3]
    return base + endpoint


def path_of(options: Options) -> str:
    """The target of the request line."""
    parts = urlsplit(url_of(options))
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def host_of(options: Options) -> str:
    """The Host header."""
    return urlsplit(url_of(options)).netloc.rpartition("@")[2]
