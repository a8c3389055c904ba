"""What one simulated engine is told at its start."""

from __future__ import annotations

from dataclasses import dataclass

from playbook_sim_engine.options import OptionError, option

ROLES = ("unified", "prefill", "decode", "router")


@dataclass(frozen=True)
class Settings:
    """Every setting of an engine; times in the unit of their name, sizes in tokens or bytes as named."""

    role: str = option("unified", "what this process is", choices=ROLES)
    host: str = option("0.0.0.0", "address to listen on")  # noqa: S104 - a server in a container has to
    port: int = option(8000, "HTTP port; 0 takes a free one", low=0, high=65535)
    model: str = option("sim-model", "model name served")
    seed: int = option(0, "seed of jitter, of the generated text and of which requests a fault hits")
    max_model_len: int = option(32768, "longest prompt plus answer, in tokens", low=1)
    max_body_mb: float = option(64.0, "largest request body, in MiB; more is answered with 413", low=0.001)

    scheduling: str = option("batched", "batched: one step for all; paced: own clock", choices=("batched", "paced"))
    prefill_base_ms: float = option(20.0, "time of a pass that prefills, whatever its size", low=0)
    prefill_per_token_ms: float = option(0.05, "prefill time per prompt token", low=0)
    decode_base_ms: float = option(10.0, "time of a decode step", low=0)
    decode_per_seq_ms: float = option(0.1, "time of a decode step per running sequence", low=0)
    jitter: float = option(0.0, "prefills and steps vary by up to this fraction, both ways", low=0, high=0.99)
    tokens_per_chunk: int = option(1, "tokens that a decode step makes and sends as one chunk", low=1)
    max_num_seqs: int = option(256, "sequences running at once; the rest waits", low=1)
    max_num_batched_tokens: int = option(8192, "tokens of one step; longer prefills are split", low=1)
    kv_capacity_tokens: int = option(0, "tokens that the KV cache holds; 0 is no limit", low=0)
    prefix_cache_blocks: int = option(0, "remembered prompt blocks of 16 tokens; 0 turns the cache off", low=0)
    chars_per_token: float = option(4.0, "characters of prompt text that count as a token", low=0.1)
    output_tokens: int = option(0, "the model ends its answer after so many tokens; 0 never", low=0)
    reasoning_tokens: int = option(0, "tokens of a chat answer that are reasoning, at its start", low=0)
    reasoning_field: str = option(
        "reasoning_content", "where reasoning goes in chat answers", choices=("reasoning_content", "reasoning")
    )

    kv_port: int = option(5600, "prefill: port that serves KV blocks; 0 takes a free one", low=0, high=65535)
    kv_advertise: str = option("", "prefill: host that decode peers reach it by; empty is where the request came in")
    kv_bytes_per_token: int = option(4096, "size of a token's KV", low=1)
    kv_ttl_s: float = option(60.0, "prefill: a block nobody pulled is dropped after this", low=0.01)
    kv_timeout_s: float = option(30.0, "decode: limit for pulling one block", low=0.01)
    kv_failure: str = option("fail", "decode: when the pull fails", choices=("fail", "recompute"))

    prefill: str = option("", "router: prefill peers, HOST:PORT,...; empty sends everything to the decode peers")
    decode: str = option("", "router: decode peers, HOST:PORT,...")
    policy: str = option("round_robin", "router: choice of peers", choices=("round_robin", "least_loaded"))
    peer_interval_s: float = option(0.5, "router: time between health checks of its peers", low=0.01)
    peer_timeout_s: float = option(5.0, "router: limit for connecting to a peer and for its health answer", low=0.01)
    request_timeout_s: float = option(600.0, "router: longest silence of a peer within a request", low=0.01)
    max_attempts: int = option(3, "router: tries of a request before its first byte is sent on", low=1)

    startup_delay_s: float = option(0.0, "/health answers 503 for so long", low=0)
    grace_s: float = option(5.0, "after SIGTERM running requests may take so long, then they are cut", low=0)
    log_every: int = option(100, "a log line for every so many requests; 0 never", low=0)
    allow_faults: bool = option(default=False, text="let POST /sim/faults switch faults at run time")

    def __post_init__(self) -> None:
        if self.kv_capacity_tokens and self.max_model_len > self.kv_capacity_tokens:
            # A longer request could never run: everything else preempted, it would still not fit.
            object.__setattr__(self, "max_model_len", self.kv_capacity_tokens)
        if self.role == "router" and not self.decode:
            raise OptionError("--decode: a router needs at least one decode peer, HOST:PORT")
        for flag, text in (("--prefill", self.prefill), ("--decode", self.decode)):
            parse_peers(text, flag)


def parse_peers(text: str, origin: str) -> list[tuple[str, int]]:
    """`h1:8000,[::1]:8001` -> `[("h1", 8000), ("::1", 8001)]`.

    Raises OptionError naming `origin` when a peer has no host or no port.
    """
    peers = []
    for item in (part.strip() for part in text.split(",") if part.strip()):
        host, _, port = item.removeprefix("http://").rstrip("/").rpartition(":")
        if not host or not port.isdigit() or not 0 < int(port) < 65536:
            raise OptionError(f"{origin}: expected HOST:PORT, got {item!r}")
        peers.append((host.strip("[]"), int(port)))
    return peers
