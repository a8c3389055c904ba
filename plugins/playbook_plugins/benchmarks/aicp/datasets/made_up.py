"""Prompts that are made up: of exact lengths, with shared beginnings, the same for a seed."""

from __future__ import annotations

import random
from collections.abc import Sequence

from playbook_plugins.benchmarks.aicp.options import Options
from playbook_plugins.benchmarks.aicp.samples import Sample, chat
from playbook_plugins.benchmarks.aicp.tokens import Tokenizer
from playbook_plugins.benchmarks.aicp.tokens import load as load_tokenizer

from .files import OUTPUT

_TEXT = (
    "time year people way day man thing woman life child world school state family student group country problem "
    "hand part place case week company system program question work government number night point home water room "
    "mother area money story fact month lot right study book eye job word business issue side kind head house"
)
WORDS = _TEXT.split()
_INPUT = 512


def ids_of(options: Options, name: str, count: int) -> list[int]:
    dice = random.Random(f"{options.seed} {name}")  # noqa: S311 - reproducible, no secret
    # The lowest ids are special tokens in most vocabularies.
    low = min(1000, options.vocabulary // 4)
    return dice.choices(range(low, options.vocabulary), k=count)


def of_ids(options: Options, ids: Sequence[int], output: int) -> Sample:
    """Exact token ids where the endpoint takes them; text of about, or with a tokenizer exactly, that length else."""
    if not chat(options):
        return Sample(ids=ids, nominal=len(ids), output_len=output)
    if options.tokenizer_path:
        tokenizer = _cached_tokenizer(options.tokenizer_path)
        text = tokenizer.decode(ids)
        for _ in range(8):  # decoding and encoding again may join tokens
            found = list(tokenizer.encode(text))
            if len(found) == len(ids):
                break
            text = tokenizer.decode([*found, *ids][: len(ids)])
        return Sample(text, nominal=len(tokenizer.encode(text)), output_len=output)
    return Sample(" ".join(WORDS[i % len(WORDS)] for i in ids), nominal=len(ids), output_len=output)


_tokenizers: dict[str, Tokenizer] = {}


def _cached_tokenizer(path: str) -> Tokenizer:
    if path not in _tokenizers:
        _tokenizers[path] = load_tokenizer(path)
    return _tokenizers[path]


def lengths(options: Options, dice: random.Random) -> tuple[int, int]:
    wanted = options.dynamic_input_len or (options.input_len or (_INPUT,))[0]
    spread = int(wanted * options.dynamic_prompt_len_scale)
    output = options.dynamic_output_len or (options.output_len or (OUTPUT,))[0]
    return max(1, dice.randint(wanted - spread, wanted + spread)), output


def drawn(options: Options, count: int, seed: int) -> list[Sample]:
    dice = random.Random(seed)  # noqa: S311 - reproducible, no secret
    made = []
    for number in range(count):
        length, output = lengths(options, dice)
        name = "same" if options.enable_same_prompt else f"{seed} {number}"
        made.append(of_ids(options, ids_of(options, name, length), output))
    return made


def prefixed(options: Options, count: int, seed: int) -> list[Sample]:
    """Prompts of which a set share begin with one of a few prefixes; the rest of each is its own."""
    dice = random.Random(seed)  # noqa: S311 - reproducible, no secret
    made = []
    sharing = round(count * options.prefix_hit)
    with_prefix = [n < sharing for n in range(count)]
    dice.shuffle(with_prefix)
    for number, shared in enumerate(with_prefix):
        length, output = lengths(options, dice)
        start: list[int] = []
        if shared:
            start = ids_of(options, f"prefix {seed} {number % options.prefix_count}", options.prefix_len)
        else:
            start = ids_of(options, f"own {seed} {number}", options.prefix_len)
        made.append(of_ids(options, start + ids_of(options, f"{seed} {number}", length), output))
    return made
