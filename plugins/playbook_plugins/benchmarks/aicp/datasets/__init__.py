"""Where prompts come from. Every source is read and checked before the first request is made."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from attrs import define, evolve, field

from playbook_plugins.benchmarks.aicp.options import INPUT_LENS, OUTPUT_LENS, Options
from playbook_plugins.benchmarks.aicp.samples import Sample
from playbook_plugins.benchmarks.aicp.tokens import load as load_tokenizer

from .conversations import turns
from .files import all_lengths, custom, filtered, jsonl, normal, sharegpt
from .made_up import drawn, prefixed
from .traces import trace

__all__ = ["Dataset", "open_dataset", "pairs"]

_READ: Mapping[str, Callable[[Options], list[Sample]]] = {
    "filtered": lambda options: [s for group in filtered(options, all_lengths(options)).values() for s in group],
    "sharegpt": sharegpt,
    "normal": normal,
    "custom": custom,
    "jsonl": jsonl,
    "multi-turn": turns,
    "trace": trace,
}
_MADE: Mapping[str, Callable[[Options, int, int], list[Sample]]] = {"random": drawn, "prefix": prefixed}


@define
class Dataset:
    """Hands out samples for one load point after another; ``notes`` say what the user should know.

    Points get different prompts while there are any, so that a server's prefix cache does not flatter later ones.
    """

    options: Options
    notes: list[str] = field(factory=list)
    _pool: dict[int, list[Sample]] = field(factory=dict)
    _at: dict[int, int] = field(factory=dict)
    _made: int = 0

    def static(self, input_len: int, output_len: int, count: int) -> list[Sample]:
        """``count`` prompts of a group of the filtered file; raises OptionError if there is no such group."""
        if self.options.dataset != "filtered":
            return self._fixed(input_len, output_len, count)
        group = self._pool.get(input_len)
        if group is None:
            self._pool.update(filtered(self.options, (input_len,)))
            group = self._pool[input_len]
        return [evolve(s, output_len=output_len) for s in self._next(input_len, group, count)]

    def dynamic(self, count: int) -> list[Sample]:
        """Up to ``count`` prompts; fewer only where the file has no more, which is noted."""
        options = self.options
        self._made += 1
        if options.dataset in _MADE:
            return _MADE[options.dataset](options, count, self._seed())
        if 0 not in self._pool:
            self._pool[0] = _READ[options.dataset](options)
        pool = self._pool[0]
        if options.dataset in ("trace", "multi-turn"):
            taken = pool[:count]
        elif options.enable_same_prompt:
            return pool[:1] * count
        elif count > len(pool):
            taken = list(pool)
        else:
            return self._next(0, pool, count)
        if len(taken) < count:
            self._say(f"{options.dataset_path} has {len(pool)} usable prompts, not {count}: there are fewer requests")
        return taken

    def _fixed(self, input_len: int, output_len: int, count: int) -> list[Sample]:
        options = evolve(self.options, dynamic_input_len=input_len, dynamic_output_len=output_len)
        self._made += 1
        if options.dataset in _MADE:
            return _MADE[options.dataset](options, count, self._seed())
        pool = _READ[options.dataset](options)
        return self._next(input_len, pool, count)

    def _seed(self) -> int:
        return self.options.seed + (0 if self.options.reuse_prompts else self._made * 1_000_003)

    def _next(self, key: int, pool: list[Sample], count: int) -> list[Sample]:
        if self.options.shuffle:
            pool = random.Random(self._seed()).sample(pool, len(pool))  # noqa: S311 - reproducible, no secret
        at = 0 if self.options.reuse_prompts else self._at.get(key, 0)
        if at + count > len(pool) and not self.options.reuse_prompts and at:
            self._say(f"{self.options.dataset_path}: all {len(pool)} prompts were used; later points use them again")
            at = 0
        if count > len(pool):
            self._say(f"{self.options.dataset_path} has {len(pool)} prompts, not {count}: some are used more than once")
        self._at[key] = at + count
        return [pool[(at + n) % len(pool)] for n in range(count)]

    def _say(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)


def pairs(options: Options) -> list[tuple[int, int]]:
    """Input and output lengths of a static load."""
    return list(zip(options.input_len or INPUT_LENS, options.output_len or OUTPUT_LENS, strict=True))


def open_dataset(options: Options) -> Dataset:
    """Read and check the file. Raises OptionError: not there, empty, malformed (with the line), no usable prompt."""
    dataset = Dataset(options)
    kind = options.dataset
    if kind == "filtered" and options.static:
        dataset._pool.update(filtered(options, [length for length, _ in pairs(options)]))  # noqa: SLF001
    elif kind in _READ:
        dataset._pool[0] = _READ[kind](options)  # noqa: SLF001
    elif options.tokenizer_path:
        load_tokenizer(options.tokenizer_path)
    return dataset
