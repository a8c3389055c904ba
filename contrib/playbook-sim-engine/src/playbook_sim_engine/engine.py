"""The engine that computes: unified, prefill or decode."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Mapping
from typing import Any

from playbook_sim_engine.answers import Answer, StreamAnswer, StreamFaults, WholeAnswer
from playbook_sim_engine.app import BaseApp
from playbook_sim_engine.http import Exchange, Request
from playbook_sim_engine.kv import KvError, KvServer, KvStore, pull
from playbook_sim_engine.lifecycle import Lifecycle
from playbook_sim_engine.metrics import EngineMetrics
from playbook_sim_engine.openai import ApiError, Completion, parse_completion, parse_json
from playbook_sim_engine.scheduler import new_scheduler
from playbook_sim_engine.sequence import Sequence
from playbook_sim_engine.settings import Settings
from playbook_sim_engine.text import PrefixCache

_LOG = logging.getLogger("playbook_sim_engine")


class EngineApp(BaseApp):
    """Serves completions from its scheduler; with the prefill role it also serves KV blocks."""

    def __init__(self, settings: Settings, lifecycle: Lifecycle, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(settings, lifecycle, loop)
        self.metrics = metrics = EngineMetrics(self.registry)
        self.scheduler = scheduler = new_scheduler(settings, metrics, loop)
        gauge = self.registry.gauge
        gauge("vllm:num_requests_running", "Sequences running.", lambda: scheduler.running)
        gauge("vllm:num_requests_waiting", "Sequences waiting.", lambda: scheduler.waiting)
        gauge("vllm:kv_cache_usage_perc", "Fraction of the KV cache in use.", lambda: scheduler.kv_usage)
        self._prefix = PrefixCache(settings.prefix_cache_blocks, settings.chars_per_token)
        self._store = KvStore(settings.kv_ttl_s, loop)
        gauge("sim:kv_blocks_held", "KV blocks waiting to be pulled.", lambda: len(self._store))
        self._kv_server: asyncio.AbstractServer | None = None
        self._kv_port = settings.kv_port

    def status_line(self) -> str:
        metrics, scheduler = self.metrics, self.scheduler
        return (
            f"{scheduler.running} running, {scheduler.waiting} waiting; "
            f"{metrics.prompt_tokens.value} prompt tokens, {metrics.generation_tokens.value} generated"
        )

    async def open(self) -> None:
        if self.settings.role == "prefill":
            server = KvServer(self._store, self.metrics, lambda: self.faults, self.dice)
            self._kv_server = await asyncio.start_server(server.serve, self.settings.host, self.settings.kv_port)
            self._kv_port = self._kv_server.sockets[0].getsockname()[1]
            _LOG.info("serving KV blocks on %s:%d", self.settings.host, self._kv_port)

    async def close(self) -> None:
        if self._kv_server is not None:
            self._kv_server.close()
        await super().close()

    def complete(self, request: Request, exchange: Exchange) -> None:
        arrived = self.loop.time()
        completion = parse_completion(parse_json(request.body), request.path, self.settings, int(self.requests.value))
        ident = ("chatcmpl-" if completion.chat else "cmpl-") + uuid.uuid4().hex
        if completion.prefill_only:
            self._prefill_only(completion, exchange, request.local_host, ident, arrived)
            return
        answer = self._answer(completion, exchange, ident)
        params = completion.kv_transfer
        if params and params.get("do_remote_prefill"):
            self.run_task(exchange, self._with_remote_kv(answer, params, exchange, arrived))
        else:
            self._submit(answer, exchange, self._to_prefill(completion), arrived)

    def _answer(self, completion: Completion, exchange: Exchange, ident: str) -> Answer:
        with_usage = not self.faults.no_usage

        def finished() -> None:
            for reason in completion.reason:
                self.metrics.finished[reason].value += 1

        answer: Answer
        if completion.stream:
            plan = StreamFaults(self.faults, self.dice)
            answer = StreamAnswer(
                self.settings, completion, exchange, ident, finished, plan, with_usage=with_usage
            )  # fmt: skip
        else:
            answer = WholeAnswer(self.settings, completion, exchange, ident, finished, with_usage=with_usage)
        return answer

    def _to_prefill(self, completion: Completion) -> list[int]:
        """Return the tokens of each prompt that are not in the prefix cache."""
        counts = list(completion.prompt_tokens)
        if self.settings.prefix_cache_blocks:
            for at, prompt in enumerate(completion.prompts):
                hits = self._prefix.lookup(prompt, counts[at])
                self.metrics.prefix_queries.value += counts[at]
                self.metrics.prefix_hits.value += hits
                counts[at] -= hits
        return counts

    def _submit(self, answer: Answer, exchange: Exchange, to_prefill: list[int], arrived: float) -> None:
        completion = answer.completion
        sequences = [
            Sequence(answer, at, tokens, to_prefill[at], completion.limits[at], arrived)
            for at, tokens in enumerate(completion.prompt_tokens)
        ]

        def disconnected() -> None:
            for sequence in sequences:
                self.scheduler.cancel(sequence)

        exchange.on_disconnect = disconnected
        for sequence in sequences:
            self.scheduler.submit(sequence)

    def _prefill_only(
        self, completion: Completion, exchange: Exchange, local_host: str, ident: str, arrived: float
    ) -> None:
        if self.settings.role != "prefill" or completion.stream or any(limit != 1 for limit in completion.limits):
            message = "do_remote_decode needs the prefill role, stream=false and max_tokens=1"
            raise ApiError(400, message, param="kv_transfer_params")
        tokens = sum(completion.prompt_tokens)
        size = tokens * self.settings.kv_bytes_per_token
        answer = self._answer(completion, exchange, ident)
        answer.kv_params = {
            "do_remote_prefill": True, "remote_host": self.settings.kv_advertise or local_host,
            "remote_port": self._kv_port, "remote_id": ident, "num_tokens": tokens, "num_bytes": size,
        }  # fmt: skip
        ready = answer.finished

        def hold() -> None:
            ready()
            self.scheduler.hold(tokens)
            self._store.put(ident, size, lambda: self.scheduler.hold(-tokens))

        answer.finished = hold
        self._submit(answer, exchange, self._to_prefill(completion), arrived)

    async def _with_remote_kv(
        self, answer: Answer, params: Mapping[str, Any], exchange: Exchange, arrived: float
    ) -> None:
        tokens = answer.completion.prompt_tokens
        to_prefill = [0] * len(tokens)
        try:
            self.metrics.kv_bytes.value += await self._pull(params, sum(tokens) * self.settings.kv_bytes_per_token)
            self.metrics.kv_transfers.value += 1
        except KvError as error:
            self.metrics.kv_failures.value += 1
            _LOG.warning("%s", error)
            if self.settings.kv_failure == "fail":
                self.failed.value += 1
                answer.fail(500, f"KV transfer failed: {error}")
                return
            to_prefill = list(tokens)
        self._submit(answer, exchange, to_prefill, arrived)

    async def _pull(self, params: Mapping[str, Any], expected: int) -> int:
        host, port, ident = params.get("remote_host"), params.get("remote_port"), params.get("remote_id")
        if not isinstance(host, str) or type(port) is not int or not isinstance(ident, str) or not 0 < port < 65536:
            raise KvError("kv_transfer_params needs remote_host, remote_port and remote_id")
        return await pull(host, port, ident, expected, self.settings.kv_timeout_s)
