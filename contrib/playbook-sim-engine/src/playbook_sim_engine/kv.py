"""KV blocks over TCP: a prefill engine serves them, a decode engine pulls them.

Request:  b"PKV1", length of the id (2 bytes), the id.
Answer:   status (1 byte: 0 found, 1 unknown), length (8 bytes), the block, CRC-32 of the block (4 bytes).
All integers are big-endian.
"""

from __future__ import annotations

import asyncio
import logging
import random
import struct
import zlib
from typing import Callable

from playbook_sim_engine.faults import FaultDice, Faults
from playbook_sim_engine.metrics import EngineMetrics

_LOG = logging.getLogger("playbook_sim_engine")
_MAGIC = b"PKV1"
_HEAD = struct.Struct(">BQ")
_CRC = struct.Struct(">I")
_PIECE = 256 * 1024
_REQUEST_TIMEOUT = 30.0
# Noise, read from a place that depends on the block's id: blocks differ, and no link can compress them.
_PATTERN = random.Random(0).randbytes(_PIECE) * 2  # noqa: S311 - nothing secret


class KvError(Exception):
    """A KV block could not be pulled whole."""


class KvStore:
    """Blocks that wait to be pulled: only their sizes are kept, the bytes are made while they are sent."""

    def __init__(self, ttl: float, loop: asyncio.AbstractEventLoop) -> None:
        self._ttl = ttl
        self._loop = loop
        self._blocks: dict[str, tuple[int, Callable[[], None], asyncio.TimerHandle]] = {}

    def __len__(self) -> int:
        return len(self._blocks)

    def put(self, ident: str, size: int, released: Callable[[], None]) -> None:
        """Offer a block of `size` bytes; `released` is called when it was pulled or nobody came in time."""
        timer = self._loop.call_later(self._ttl, self._expire, ident)
        self._blocks[ident] = (size, released, timer)

    def take(self, ident: str) -> int | None:
        """Return the block's size and let it go, or None when there is none."""
        if ident not in self._blocks:
            return None
        size, released, timer = self._blocks.pop(ident)
        timer.cancel()
        released()
        return size

    def _expire(self, ident: str) -> None:
        _LOG.warning("KV block %s was not pulled within %g s: dropped", ident, self._ttl)
        self.take(ident)


class KvServer:
    """Answers pulls."""

    def __init__(self, store: KvStore, metrics: EngineMetrics, faults: Callable[[], Faults], dice: FaultDice) -> None:
        self._store = store
        self._metrics = metrics
        self._faults = faults
        self._dice = dice

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one pull and close."""
        try:
            await asyncio.wait_for(self._answer(reader, writer), _REQUEST_TIMEOUT)
        except (OSError, EOFError, asyncio.TimeoutError, KvError) as error:
            self._metrics.kv_failures.value += 1
            _LOG.warning("KV transfer failed: %s", str(error) or type(error).__name__)
            writer.transport.abort()
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readexactly(6)
        if head[:4] != _MAGIC:
            raise KvError(f"not a KV request: {head!r}")
        ident = (await reader.readexactly(int.from_bytes(head[4:], "big"))).decode("ascii", "replace")
        size = self._store.take(ident)
        if size is None:
            writer.write(_HEAD.pack(1, 0))
            await writer.drain()
            raise KvError(f"block {ident!r} is unknown or expired")
        faults = self._faults()
        limit = size // 2 if self._dice.hits(faults.drop_kv_rate) else size
        writer.write(_HEAD.pack(0, size))
        shift, sent, crc = zlib.crc32(ident.encode()) % _PIECE, 0, 0
        while sent < limit:
            piece = _PATTERN[shift : shift + min(_PIECE, limit - sent)]
            crc = zlib.crc32(piece, crc)
            writer.write(piece)
            await writer.drain()
            sent += len(piece)
        if sent < size:
            raise KvError(f"block {ident} dropped after {sent} of {size} bytes, as asked")
        writer.write(_CRC.pack(crc ^ self._dice.hits(faults.corrupt_kv_rate)))
        await writer.drain()
        self._metrics.kv_bytes.value += size
        self._metrics.kv_transfers.value += 1


async def pull(host: str, port: int, ident: str, expected: int, timeout: float) -> int:
    """Pull a block and check its length and checksum; return its size in bytes.

    Raises KvError when the peer cannot be reached, does not have it, or what came is not whole.
    """
    try:
        return await asyncio.wait_for(_pull(host, port, ident, expected), timeout)
    except (asyncio.TimeoutError, TimeoutError):
        raise KvError(f"pulling {ident} from {host}:{port}: nothing within {timeout:g} s") from None
    except (OSError, EOFError) as error:
        reason = "the connection ended early" if isinstance(error, EOFError) else str(error)
        raise KvError(f"pulling {ident} from {host}:{port}: {reason}") from error


async def _pull(host: str, port: int, ident: str, expected: int) -> int:
    reader, writer = await asyncio.open_connection(host, port, limit=2 * _PIECE)
    try:
        name = ident.encode("ascii", "replace")
        writer.write(_MAGIC + len(name).to_bytes(2, "big") + name)
        status, size = _HEAD.unpack(await reader.readexactly(_HEAD.size))
        if status:
            raise KvError(f"pulling {ident} from {host}:{port}: the peer does not have it")
        if size != expected:
            raise KvError(f"pulling {ident} from {host}:{port}: {size} bytes offered, {expected} expected")
        left, crc = size, 0
        while left:
            piece = await reader.read(min(_PIECE, left))
            if not piece:
                raise KvError(f"pulling {ident} from {host}:{port}: ended after {size - left} of {size} bytes")
            crc = zlib.crc32(piece, crc)
            left -= len(piece)
        (announced,) = _CRC.unpack(await reader.readexactly(_CRC.size))
        if announced != crc:
            raise KvError(f"pulling {ident} from {host}:{port}: checksum does not match")
        return int(size)
    finally:
        writer.close()
