"""How true this client is, here and now: the same load against a server whose timing is known."""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import evolve, field, frozen

from .client import Client
from .core.records import Record, load
from .core.stats import percentile
from .options import Options
from .point import BenchmarkError, Point
from .samples import Sample

_TTFT_MS, _ITL_MS = 50.0, 20.0
_MOST = 512


@frozen
class Known:
    """A running known-timing server."""

    port: int
    process: subprocess.Popen[str] = field(repr=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str) -> Any:
        """Ask one of its own pages."""
        return page(socket.create_connection(("127.0.0.1", self.port), 60), path)


def page(connected: socket.socket, path: str) -> Any:
    """One of a known-timing server's own pages, over a connection to it, which is closed."""
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1")
    connection.sock = connected
    with contextlib.closing(connection):
        connection.request("GET", path)
        return json.loads(connection.getresponse().read())


def flags(**timing: object) -> list[str]:
    """The words of its command line."""
    return [item for name, value in timing.items() for item in (f"--{name.replace('_', '-')}", str(value).lower())]


@contextlib.contextmanager
def known_server(**timing: object) -> Iterator[Known]:
    """Start one in a process of its own. Raises BenchmarkError."""
    command = [sys.executable, "-m", f"{__package__}.core.mock", *flags(**timing)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline() if process.stdout else ""
            if not line.startswith("listening on "):
                raise BenchmarkError("the known-timing server did not start")
            yield Known(int(line.rsplit(":", 1)[1]), process)
        finally:
            process.terminate()


def calibrate(client: Client, streams: int, seconds: float = 2.0) -> Mapping[str, Any]:
    """Errors of this client in ms at so many streams, where its loads are made, and what it can do at most.

    See docs/aicp.md. The rates are those of client and server together on this machine, so the client alone can do more.
    """
    streams = max(1, min(streams, _MOST))
    tokens = max(4, round((seconds * 1000 - _TTFT_MS) / _ITL_MS))
    plain = evolve(
        client.options, endpoint="/v1/completions", model="mock", headers={}, extra_body={}, duration=0.0, precision=0.0,
        rate_stages=(), dataset_name="random", dataset_path="", own_answers=False, connections=0, ramp=min(0.5, streams * 0.004),
        stream=True, save_text=False, disable_ignore_eos=True, best_of=1, logprobs=None,
    )  # fmt: skip
    known = client.known or known_server

    def same(options: Options) -> Client:
        return Client(options, site=client.site, remote=client.remote, stop=client.stop)

    with known(ttft_ms=_TTFT_MS, itl_ms=_ITL_MS) as server, tempfile.TemporaryDirectory(prefix="aicp-") as made:
        plain = evolve(plain, base_url=server.url)
        samples = [Sample(ids=range(1, 33), nominal=32, output_len=tokens)] * streams
        outcome = same(plain).run(Point("calibration", streams), samples, (), Path(made) / "r")
        found = load(outcome.records).records if outcome.records else []
        log = server.get("/__log")
        result = compare(found, log)
        server.get("/__config?ttft_ms=0&itl_ms=0&keep=false")
        for name, asked, amount in (("requests", 2, 3000), ("tokens", 256, 150)):
            fast = [Sample(ids=(1, 2, 3), nominal=3, output_len=asked)] * amount
            summary = same(evolve(plain, ramp=0.0)).run(Point("speed", min(64, amount)), fast, (), None).summary
            result[f"max_{name}_per_s"] = summary.rate(
                summary.succeeded if name == "requests" else summary.output_tokens
            )
    result["streams"] = streams
    return result


def compare(records: Sequence[Record], log: Mapping[str, Any]) -> dict[str, Any]:
    """What the client saw against what the server says it did, in ms. Raises BenchmarkError if nothing was answered."""
    there = {s["id"]: s for s in log["streams"]}
    waits, gaps_seen, gaps_true = [], [], []
    for record in records:
        stream = there.get(str(record.number))
        if not record.ok or stream is None or len(stream["sent"]) != len(record.tokens):
            continue
        sent = stream["sent"]
        waits.append(record.tokens[0] / 1e3 - (sent[0] - stream["received"]) / 1e6)
        gaps_seen += [(b - a) / 1e3 for a, b in zip(record.tokens, record.tokens[1:], strict=False)]
        gaps_true += [(b - a) / 1e6 for a, b in itertools.pairwise(sent)]
    if not waits:
        raise BenchmarkError("the calibration saw no answer")
    waits.sort()
    gaps_seen.sort()
    gaps_true.sort()
    made: dict[str, Any] = {
        "ttft_error_mean_ms": sum(waits) / len(waits),
        "ttft_error_p50_ms": percentile(waits, 50),
        "ttft_error_p99_ms": percentile(waits, 99),
        "server_lag_p99_ms": log["lag_ms"].get("p99"),
    }
    if gaps_true:
        made["itl_error_mean_ms"] = (sum(gaps_seen) - sum(gaps_true)) / len(gaps_true)
        made["itl_error_p99_ms"] = percentile(gaps_seen, 99) - percentile(gaps_true, 99)
    return made
