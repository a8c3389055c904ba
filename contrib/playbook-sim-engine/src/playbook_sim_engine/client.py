"""A small closed-loop load client, for smoke tests and for the shipped scenarios.

It keeps `--concurrency` requests in flight until `--requests` are done, stores what came when, and computes after the
run. Exit status: 0 every request succeeded, 1 some failed, 2 the options cannot be used or the endpoint cannot.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
import urllib.parse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from playbook_sim_engine.figures import Record, metric_lines, request_rows, summarise
from playbook_sim_engine.loop import new_event_loop
from playbook_sim_engine.openai import CHAT, COMPLETIONS, dumps
from playbook_sim_engine.upstream import Peer, UpstreamError

_CONNECT_TIMEOUT = 10.0
_MAX_SHOWN = 5
# How the keys of a test_config.json map to our options.
_CONFIG_KEYS = {
    "base_url": "base_url", "model": "model", "num_prompts": "requests", "max_concurrency": "concurrency",
    "sharegpt_input_len": "prompt_tokens", "sharegpt_output_len": "max_tokens",
}  # fmt: skip


class ClientError(Exception):
    """The run cannot begin."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="playbook-sim-client", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--config", type=Path, help="a test_config.json; flags win over it")
    parser.add_argument("--base-url", help="http://HOST:PORT")
    parser.add_argument("--model", help="model name; without it the endpoint's first one")
    parser.add_argument("--endpoint", choices=("chat", "completions"), default="chat")
    parser.add_argument("--requests", type=int, help="[32]")
    parser.add_argument("--concurrency", type=int, help="[8]")
    parser.add_argument("--prompt-tokens", type=int, help="tokens of each prompt; exact with completions [128]")
    parser.add_argument("--max-tokens", type=int, help="tokens of each answer [32]")
    parser.add_argument("--no-stream", action="store_true", help="ask for whole answers")
    parser.add_argument("--timeout", type=float, default=60.0, help="longest silence within a request, in s [60]")
    parser.add_argument("--ramp-s", type=float, default=0.0, help="spread the first requests over this, in s [0]")
    parser.add_argument("--out", type=Path, help="write the summary here as JSON, and requests.jsonl beside it")
    return parser


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    options = _parser().parse_args(argv)
    config: dict[str, Any] = {}
    if options.config is not None:
        try:
            config = json.loads(options.config.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ClientError(f"{options.config}: {error}") from error
    defaults = {"requests": 32, "concurrency": 8, "prompt_tokens": 128, "max_tokens": 32}
    for key, name in _CONFIG_KEYS.items():
        if getattr(options, name) is None:
            setattr(options, name, config.get(key, defaults.get(name)))
    if not options.base_url:
        raise ClientError("--base-url is needed, or base_url in --config")
    for name in defaults:
        value = getattr(options, name)
        if not isinstance(value, int) or value < 1:
            raise ClientError(f"{name} must be a whole number from 1, got {value!r}")
    return options


def _peer(base_url: str, loop: asyncio.AbstractEventLoop) -> Peer:
    url = urllib.parse.urlsplit(base_url)
    try:
        port = url.port or 80
    except ValueError as error:
        raise ClientError(f"{base_url}: {error}") from None
    if url.scheme != "http" or not url.hostname or url.path not in ("", "/", "/v1", "/v1/"):
        raise ClientError(f"{base_url!r} is not http://HOST:PORT")
    return Peer("engine", url.hostname, port, _CONNECT_TIMEOUT, loop)


async def _first_model(peer: Peer) -> str:
    try:
        connection = await peer.send("GET", "/v1/models", b"", _CONNECT_TIMEOUT)
        body = json.loads(await connection.body(_CONNECT_TIMEOUT))
        peer.release(connection)
        return str(body["data"][0]["id"])
    except (UpstreamError, ValueError, LookupError, TypeError) as error:
        raise ClientError(f"{peer.address}/v1/models: {error}") from error


def _body(options: argparse.Namespace, model: str, serial: int) -> bytes:
    request: dict[str, Any] = {
        "model": model, "max_tokens": options.max_tokens, "ignore_eos": True, "stream": not options.no_stream,
    }  # fmt: skip
    if not options.no_stream:
        request["stream_options"] = {"include_usage": True}
    if options.endpoint == "chat":
        # About four characters a token; the number first, so that no prefix cache makes later requests cheaper.
        text = f"{serial:07d} " + "word " * max(1, (options.prompt_tokens * 4 - 8) // 5)
        request["messages"] = [{"role": "user", "content": text}]
    else:
        request["prompt"] = [serial % 30000, *range(1, options.prompt_tokens)]
    return dumps(request)


async def _request(peer: Peer, path: str, body: bytes, timeout: float, loop: asyncio.AbstractEventLoop) -> Record:
    record = Record(sent=loop.time())
    keep = record.pieces.append
    now = loop.time
    try:
        connection = await peer.send("POST", path, body, timeout, lambda payload: keep((now(), payload)))
        try:
            await connection.wait(connection.done, timeout)
        finally:
            peer.release(connection)
        if connection.status != 200:
            record.error = f"HTTP {connection.status}"
    except UpstreamError as error:
        record.error = str(error)
    record.ended = loop.time()
    return record


async def run(options: argparse.Namespace, loop: asyncio.AbstractEventLoop) -> dict[str, Any]:
    """Make the load and return its summary.

    Raises ClientError when the endpoint cannot be used at all.
    """
    peer = _peer(options.base_url, loop)
    model = options.model or await _first_model(peer)
    path = CHAT if options.endpoint == "chat" else COMPLETIONS
    bodies = [_body(options, model, serial) for serial in range(options.requests)]
    records: list[Record] = []
    left = iter(bodies)

    async def worker(delay: float) -> None:
        await asyncio.sleep(delay)
        for body in left:
            records.append(await _request(peer, path, body, options.timeout, loop))

    started = loop.time()
    workers = min(options.concurrency, options.requests)
    await asyncio.gather(*(worker(options.ramp_s * at / workers) for at in range(workers)))
    seconds = loop.time() - started
    peer.close()
    if options.out is not None:
        rows = request_rows(records, stream=not options.no_stream, epoch=time.time() - loop.time())
        options.out.parent.mkdir(parents=True, exist_ok=True)
        text = "".join(json.dumps(row) + "\n" for row in rows)
        options.out.with_name("requests.jsonl").write_text(text, encoding="utf-8")
    summary = summarise(records, stream=not options.no_stream, wanted=options.requests, seconds=seconds)
    load = {
        name: getattr(options, name) for name in ("endpoint", "requests", "concurrency", "prompt_tokens", "max_tokens")
    }
    return {"base_url": options.base_url, "model": model, "load": {**load, "stream": not options.no_stream}, **summary}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the client; return the exit status."""
    loop = new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        options = _options(argv)
        summary = loop.run_until_complete(run(options, loop))
        if options.out is not None:
            options.out.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    except (ClientError, OSError) as error:
        print(f"playbook-sim-client: {error}", file=sys.stderr)
        return 2
    finally:
        loop.close()
    print("\n".join(metric_lines(summary)))
    for reason, count in sorted(summary["errors"].items(), key=lambda item: -item[1])[:_MAX_SHOWN]:
        print(f"playbook-sim-client: {count} requests failed: {reason}", file=sys.stderr)
    return 1 if summary["failed_requests"] else 0


if __name__ == "__main__":
    sys.exit(main())
