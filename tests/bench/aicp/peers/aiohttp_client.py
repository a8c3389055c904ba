"""A load as most tools make it: aiohttp, a task for each request, JSON for each event. Prints what it saw as JSON."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any


async def one(session: Any, url: str, body: dict[str, Any], gate: asyncio.Semaphore, out: list[dict[str, Any]]) -> None:
    async with gate:
        began = time.perf_counter()
        first, last, gaps = 0.0, began, []
        async with session.post(url, json=body) as answer:
            async for line in answer.content:
                if not line.startswith(b"data: ") or line.startswith(b"data: [DONE]"):
                    continue
                event = json.loads(line[6:])
                if not event["choices"]:
                    continue
                now = time.perf_counter()
                if not first:
                    first = now - began
                else:
                    gaps.append(now - last)
                last = now
        out.append({"ttft": first, "itl": gaps})


async def main(url: str, concurrency: int, count: int, tokens: int) -> None:
    import aiohttp

    body = {"model": "m", "prompt": list(range(32)), "max_tokens": tokens, "stream": True}
    gate, out = asyncio.Semaphore(concurrency), []
    connector = aiohttp.TCPConnector(limit=concurrency)
    async with aiohttp.ClientSession(connector=connector) as session:
        began, used = time.perf_counter(), time.process_time()
        await asyncio.gather(*(one(session, url, body, gate, out) for _ in range(count)))
        seconds = time.perf_counter() - began
    json.dump({"seconds": seconds, "cpu": time.process_time() - used, "requests": out}, sys.stdout)


asyncio.run(main(sys.argv[1], *map(int, sys.argv[2:5])))
