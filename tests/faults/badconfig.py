"""Files that nobody would write: ``python -m tests.faults.badconfig RESULTS.jsonl`` goes on where it was stopped.

Each tree is a folder of configuration with one to three mutations: of bytes, of the tree that a file means (other types, odd
values, keys that are misspelled, missing, moved or doubled), or a tree that hypothesis makes up. Reading and planning it must end
within a second, in objects or in problems that each name a file, with the line wherever the file could be read. A case is its
number: any can be repeated with ``--case N``.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml
from playbook_kernel.api import ConfigError, NoOptions, PluginError, Problems, Sources
from playbook_kernel.engine.plan import make_plan
from playbook_kernel.loading import Loader
from playbook_plugins.readers.playbook import PlaybookReader

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 1.0
"""CPU seconds of this process that a tree may take: others on the machine must not decide."""
BATCH = 500

ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 10**30, -0.0, 1.5, float("inf"), float("nan"), "", " ", "x" * 5000, "\x00", "\u2028", "é✓",
    "../..", "~", "${HOME}", "${", "${A:-${B}}", "$(reboot)", "{{ x }}", "1e400", "0x1f", "01:30", "2001-01-01", "no", "null",
    "!!python/object:os.system",
    [], {}, [[]], [None], {"": 1}, {"a": {"b": {"c": [1, {"d": None}]}}}, ["x"] * 300, {"type": None}, {"use": 3}, [{"name": []}],
)  # fmt: skip
Mutate = Callable[[random.Random, bytes, str], bytes]


def texts() -> dict[str, bytes]:
    """A folder of good files with most keys in it."""
    found: dict[str, str] = {}
    for name in ("nodes.example.yaml", "scenarios.yaml", "defaults.yaml"):
        found[f"config/{name.replace('.example', '')}"] = (ROOT / "config" / name).read_text()
    found["config/nodes.yaml"] += "\n  local: {host: localhost, transport: local, composer: process}\n"
    older = ROOT / "tests/plugins/readers/files/scenarios/002_pd"
    for path in sorted(older.iterdir()):
        found[f"config/scenarios/older/{path.name}"] = path.read_text()
    for path in sorted((ROOT / "scenarios/002_pd_disaggregated").iterdir()):
        if path.is_file():
            found[f"config/scenarios/x/{path.name}"] = path.read_text()
    found["config/scenarios/x/metadata.yaml"] += (
        "faults:\n  - {type: kill, service: decode, at: 3s, for: 1s}\n  - {type: cut, between: [prefill, decode], at: 1s}\n"
    )
    found["config/scenarios/x/.env"] = "A=1\nB='two'\nexport C=\"x y\"\n"
    return {name: text.encode() for name, text in found.items()}


def bytes_of(rng: random.Random, text: bytes, _name: str) -> bytes:
    """Bits of it flipped, cut out, doubled, or put in."""
    raw = bytearray(text)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(raw) + 1)
        length = min(rng.choice((1, 1, 2, 8, 40)), len(raw) - at)
        match rng.randrange(6):
            case 0 if length:
                raw[at] ^= 1 << rng.randrange(8)
            case 1:
                del raw[at : at + length]
            case 2:
                raw[at:at] = raw[at : at + length]
            case 3:
                raw[at:at] = bytes(rng.randrange(256) for _ in range(rng.randint(1, 4)))
            case 4:
                raw[at:at] = rng.choice(
                    (
                        b"\t",
                        b"\n",
                        b": ",
                        b"- ",
                        b"{",
                        b"[",
                        b"&a ",
                        b"*a",
                        b"<<: ",
                        b"|",
                        b"!",
                        b"\xef\xbb\xbf",
                        b"#",
                        b"'",
                        b'"',
                    )
                )
            case _:
                del raw[at:]
    return bytes(raw)


def tree_of(rng: random.Random, text: bytes, name: str) -> bytes:
    """What it means, changed somewhere."""
    try:
        tree = yaml.safe_load(text) if not name.endswith((".toml", ".env", ".json", ".sh")) else json.loads(text)
    except (yaml.YAMLError, ValueError):
        return bytes_of(rng, text, name)
    places = list(_places(tree))
    if not places:
        return _dumped(rng.choice(ODD))
    for _ in range(rng.randint(1, 3)):
        holder, key = rng.choice(places)
        try:
            match rng.randrange(6):
                case 0 | 1 | 2:
                    holder[key] = rng.choice(ODD)
                case 3:
                    del holder[key]
                case 4 if isinstance(holder, dict):
                    letters = list(str(key)) or ["x"]
                    letters[rng.randrange(len(letters))] = rng.choice("aeiou_-. ")
                    holder["".join(letters)] = holder.pop(key)
                case _:
                    other, there = rng.choice(places)
                    holder[key] = json.loads(json.dumps(other[there], default=str))
        except (KeyError, IndexError):
            continue  # an earlier change took it away
    if name.endswith(".json"):
        return json.dumps(tree, default=str).encode("utf-8", "surrogatepass")
    return _dumped(tree, sort_keys=rng.random() < 0.5, default_flow_style=rng.random() < 0.2)


def _dumped(tree: Any, **style: Any) -> bytes:
    text: str = yaml.safe_dump(tree, allow_unicode=True, **style)
    return text.encode("utf-8", "surrogatepass")


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    pairs = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in list(pairs):
        yield tree, key
        yield from _places(value)


def made_up(rng: random.Random, text: bytes, name: str) -> bytes:
    """A tree by hypothesis, whole or in the place of a part of the file."""
    tree = _hypothesis(rng.randrange(2**32))
    if rng.random() < 0.3 or name.endswith((".toml", ".env", ".json", ".sh")):
        return _dumped(tree)
    try:
        own = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError):
        return bytes_of(rng, text, name)
    places = list(_places(own))
    if places:
        holder, key = rng.choice(places)
        holder[key] = tree
    return _dumped(own)


_POOL: list[Any] = []


def _hypothesis(seed: int) -> Any:
    """One of some thousand trees that hypothesis made, the same for the same seed."""
    if not _POOL:
        from hypothesis import HealthCheck, Phase, given, settings
        from hypothesis import seed as seeded
        from hypothesis import strategies as st

        leaves = (
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats()
            | st.text(max_size=12)
            | st.sampled_from(("nodes", "kill", "all", "1s"))
        )
        trees = st.recursive(
            leaves,
            lambda t: st.lists(t, max_size=4) | st.dictionaries(st.text(max_size=8), t, max_size=4),
            max_leaves=12,
        )

        @seeded(20261125)
        @settings(
            max_examples=2000,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(trees)
        def collect(tree: Any) -> None:
            _POOL.append(tree)

        collect()
    return _POOL[seed % len(_POOL)]


def case(number: int, folder: Path, good: dict[str, bytes]) -> str:
    """Make, read and plan one tree; what is wrong with that, or nothing."""
    rng = random.Random(number)
    names = sorted(good)
    changed: dict[str, bytes] = {}
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        name = rng.choice(names)
        how: Mutate = rng.choices((bytes_of, tree_of, made_up), (4, 4, 2))[0]
        changed[name] = how(rng, changed.get(name, good[name]), name)
    for name, text in changed.items():
        (folder / name).write_bytes(text)
    try:
        return _read(folder, changed)
    finally:
        for name in changed:
            (folder / name).write_bytes(good[name])


def _read(folder: Path, changed: dict[str, bytes]) -> str:
    began = time.process_time()
    problems = Problems()
    told: list[str] = []
    try:
        config = PlaybookReader(NoOptions()).read(
            Sources(folder / "config", folder / "results", folder, None, {"PATH": "/bin"}), problems
        )
        told = [str(p) for p in problems.items]
        try:
            make_plan(config, LOADER)
        except (ConfigError, PluginError) as error:
            told += list(getattr(error, "problems", [str(error)]))
    except Exception:  # noqa: BLE001 - that is what is looked for
        return f"{sorted(changed)}: {re.sub('x{50,}', 'x...x', traceback.format_exc())[-2500:]}"
    took = time.process_time() - began
    if took > SECONDS:
        return f"{sorted(changed)}: took {took:.2f} s of CPU"
    return next((f"{sorted(changed)}: no file and line: {p[:300]}" for p in told if not placed(p, folder)), "")


def placed(problem: str, folder: Path) -> bool:
    """Whether a problem names a file or folder of the tree; with its line, if it is about something that stands in it."""
    if not problem.startswith(str(folder)):
        return False
    rest = problem.removeprefix(str(folder))
    whole = (
        "cannot be",
        "is not",
        "there is no",
        "is empty",
        "nothing",
        "is too",
        "is there too",
        "no such",
        "is a ",
        "not UTF-8",
        "larger",
        "more than",
        "services: ",
        "test_execution: ",
    )
    return bool(re.match(r"[^:]*:\d+(:|$)", rest)) or any(w in rest for w in whole)


LOADER = Loader()


def main() -> int:
    """Run the batches that RESULTS does not have yet."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.badconfig", description=__doc__)
    parser.add_argument("results", type=Path, nargs="?")
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--case", type=int, help="repeat one, and say what came of it")
    options = parser.parse_args()
    good = texts()
    folder = Path(tempfile.mkdtemp(prefix="badconfig-"))
    try:
        for name, text in good.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(text)
        assert _read(folder, {}) == "", _read(folder, {})
        if options.case is not None:
            print(case(options.case, folder, good) or "good")
            return 0
        return _sweep(options.results, options.cases, folder, good)
    finally:
        shutil.rmtree(folder)


def _sweep(results: Path, cases: int, folder: Path, good: dict[str, bytes]) -> int:
    rows = [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []
    have = {row["first"] for row in rows}
    for first in range(0, cases, BATCH):
        if first in have:
            continue
        began = time.process_time()
        wrong = {n: said for n in range(first, min(first + BATCH, cases)) if (said := case(n, folder, good))}
        row = {
            "first": first,
            "cases": min(BATCH, cases - first),
            "seconds": round(time.process_time() - began, 2),
            "wrong": wrong,
        }
        with results.open("a") as file:
            file.write(json.dumps(row) + "\n")
        rows.append(row)
        print(f"{first + BATCH} cases, {len(wrong)} of these {BATCH} bad, {row['seconds']} s of CPU", flush=True)
    bad = sum(len(row["wrong"]) for row in rows)
    print(f"{sum(r['cases'] for r in rows)} cases, {bad} bad")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
