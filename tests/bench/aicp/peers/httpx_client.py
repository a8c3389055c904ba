"""A load as a script of a few lines makes it: httpx. Prints what it saw as JSON."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any


async def one(client: Any, url: str, body: dict[str, Any], gate: asyncio.Semaphore, out: list[dict[str, Any]]) -> None:
    async with gate:
        began = time.perf_counter()
        first, last, gaps = 0.0, began, []
        async with client.stream("POST", url, json=body) as answer:
            async for line in answer.aiter_lines():
                if not line.startswith("data: ") or line == "data: [DONE]" or not json.loads(line[6:])["choices"]:
                    continue
                now = time.perf_counter()
                if not first:
                    first = now - began
                else:
                    gaps.append(now - last)
                last = now
        out.append({"ttft": first, "itl": gaps})


async def main(url: str, concurrency: int, count: int, tokens: int) -> None:
    import httpx

    body = {"model": "m", "prompt": list(range(32)), "max_tokens": tokens, "stream": True}
    gate, out = asyncio.Semaphore(concurrency), []
    limits = httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
    async with httpx.AsyncClient(limits=limits, timeout=300) as client:
        began, used = time.perf_counter(), time.process_time()
        await asyncio.gather(*(one(client, url, body, gate, out) for _ in range(count)))
        seconds = time.perf_counter() - began
    json.dump({"seconds": seconds, "cpu": time.process_time() - used, "requests": out}, sys.stdout)


asyncio.run(main(sys.argv[1], *map(int, sys.argv[2:5])))
