"""The clients that are compared: the product as users run it, and its peers, each from its own wheel."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import venv
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen
from playbook_plugins.benchmarks.aicp.core.stats import percentile

HERE = Path(__file__).parent
CACHE = Path.home() / ".cache" / "playbook-bench-aicp"
MODULE = "playbook_plugins.benchmarks.aicp"
SGLANG, VLLM, AIPERF = "sglang==0.5.23", "vllm==0.33.0", "aiperf==0.13.0"
_NEEDS = {"aiohttp": ["aiohttp"], "httpx": ["httpx"], "vllm": ["numpy", "tqdm", "regex", "pybase64", "aiohttp"]}


@frozen
class Workload:
    """``waves``: requests are so many times ``streams``. An instant one runs against a server of no timing at all."""

    name: str
    streams: int
    tokens: int
    ttft: float
    itl: float
    waves: int

    @property
    def instant(self) -> bool:
        return not self.ttft


@frozen
class Seen:
    """What a client reported, times in ms. ``cpu``: seconds of all its processes during the load alone."""

    requests: int
    tokens: int
    seconds: float
    ttft_mean: float
    ttft_p99: float
    itl_p99: float
    cpu: float


Client = Callable[[str, Workload, Sequence[str]], Seen]


def command(url: str, folder: str, *flags: object) -> list[str]:
    """The product's command line."""
    words = [sys.executable, "-m", f"{MODULE}.cli", "--base-url", url, "--model", "mock", "--dataset-name", "random",
             "--dynamic-input-len", "32", "--calibrate", "0", "--result-dir", folder]  # fmt: skip
    return words + [str(f) for f in flags]


def result(folder: str) -> dict[str, Any]:
    """The one result that the product left."""
    found: dict[str, Any] = json.loads(next(Path(folder).glob("records/*/*.json")).read_text())
    return found


def flags(work: Workload, engine: str = "epoll") -> list[object]:
    """How the product makes a workload: from the very start, with one process."""
    return ["--dynamic-output-len", work.tokens, "--max-concurrency", work.streams, "--num-prompts",
            work.streams * work.waves, "--ramp", 0, "--disable-warm", "--engine", engine, "--processes", 1]  # fmt: skip


def ours(engine: str) -> Client:
    """The product with an engine."""

    def run(url: str, work: Workload, prefix: Sequence[str]) -> Seen:
        with tempfile.TemporaryDirectory() as folder:
            words = [*prefix, *command(url, folder, *flags(work, engine))]
            subprocess.run(words, stdout=subprocess.DEVNULL, check=True)
            found = result(folder)
        metrics = found["metrics"]
        return Seen(
            found["succeeded"], found["output_tokens"], found["seconds"], metrics["ttft"]["mean"],
            metrics["ttft"]["p99"], metrics.get("itl", {}).get("p99", 0.0), found["client"]["cpu_seconds"],
        )  # fmt: skip

    return run


def _peer(words: Sequence[str], *more: str) -> Client:
    """Another client, which prints what it saw."""

    def run(url: str, work: Workload, prefix: Sequence[str]) -> Seen:
        numbers = [str(n) for n in (work.streams, work.streams * work.waves, work.tokens)]
        whole = [*prefix, *words, f"{url}/v1/completions", *numbers, *more]
        done = subprocess.run(whole, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
        found = json.loads(done.stdout)
        waits = sorted(r["ttft"] * 1000 for r in found["requests"])
        gaps = sorted(g * 1000 for r in found["requests"] for g in r["itl"])
        tail = percentile(gaps, 99) if gaps else 0.0
        return Seen(
            len(waits), len(waits) * work.tokens, found["seconds"], sum(waits) / len(waits), percentile(waits, 99),
            tail, found["cpu"],
        )  # fmt: skip

    return run


def peers(names: Sequence[str]) -> dict[str, Client]:
    """Those of the named peers that can be had; the others are said."""
    made: dict[str, Client] = {}
    python = CACHE / "venv" / "bin" / "python"
    if names and not python.exists():
        venv.create(CACHE / "venv", with_pip=True)
    for name in names:
        client = _FIND[name](python, name)
        if client is None:
            print(f"{name} cannot be had here: left out")
        else:
            made[name] = client
    return made


def _plain(python: Path, name: str) -> Client | None:
    """A script of a few lines over a library."""
    script = HERE / "peers" / f"{name}_client.py"
    return _peer([str(python), str(script)]) if _installed(python, _NEEDS[name]) else None


def _aiperf(python: Path, name: str) -> Client | None:
    """In an environment of its own: it wants more than a gigabyte, and versions of its own."""
    home = CACHE / name
    own = home / "bin" / "python"
    if not own.with_name("aiperf").exists():
        venv.create(home, with_pip=True)
    if not own.with_name("aiperf").exists() and not _installed(own, [AIPERF]):
        return None
    return _peer([str(own), str(HERE / "peers" / "aiperf_client.py")])


def _vllm(python: Path, name: str) -> Client | None:
    folder = _unpacked(python, VLLM, "vllm", ("vllm/benchmarks/", "vllm/utils/"))
    if folder is None or not _installed(python, _NEEDS[name]):
        return None
    return _peer([str(python), str(HERE / "peers" / "vllm_bench.py")], str(folder))


def _sglang(python: Path, name: str) -> Client | None:
    folder = _unpacked(python, SGLANG, "sglang", ("sglang/",))
    found = next(folder.glob("sglang/srt/rust_extensions/_bench*.so"), None) if folder is not None else None
    if found is None:
        return None
    return _peer([sys.executable, str(HERE / "peers" / "sglang_rust.py")], str(found))


def _installed(python: Path, packages: Sequence[str]) -> bool:
    try:
        command = [python, "-c", "import " + ", ".join(p.partition("==")[0] for p in packages)]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            subprocess.run([python, "-m", "pip", "install", "-q", *packages], capture_output=True, check=True)
    except subprocess.CalledProcessError:
        return False
    return True


def _unpacked(python: Path, requirement: str, name: str, wanted: tuple[str, ...]) -> Path | None:
    """The wanted parts of a wheel without what it depends on; vLLM's is 340 MB, of which little is kept."""
    folder = CACHE / name
    if folder.exists():
        return folder
    with tempfile.TemporaryDirectory(dir=CACHE) as made:
        words = [python, "-m", "pip", "download", "-q", "--no-deps", "-d", made, requirement]
        subprocess.run(words, capture_output=True, check=False)
        wheel = next(Path(made).glob("*.whl"), None)
        if wheel is None:
            return None
        with zipfile.ZipFile(wheel) as archive:
            names = [n for n in archive.namelist() if n.startswith(wanted) and (n.endswith(".py") or "_bench" in n)]
            archive.extractall(Path(made) / "unpacked", names)
        (Path(made) / "unpacked").rename(folder)
    return folder


_FIND: dict[str, Callable[[Path, str], Client | None]] = {
    "sglang-rust": _sglang, "vllm": _vllm, "aiperf": _aiperf, "aiohttp": _plain, "httpx": _plain,
}  # fmt: skip
PEERS = tuple(_FIND)
