"""Conversations of several turns, recorded or made up; each turn repeats what was said before."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from attrs import evolve

from playbook_plugins.benchmarks.aicp.core.history import place
from playbook_plugins.benchmarks.aicp.options import OptionError, Options
from playbook_plugins.benchmarks.aicp.samples import Sample, chat

from .files import OUTPUT, read_json
from .made_up import WORDS, ids_of, lengths


def _multi_turn(options: Options) -> list[Sample]:
    """Whole conversations of a sharegpt file: each turn repeats what was said before, with the recorded answers."""
    entries = read_json(options, list, "a list of conversations")
    made = []
    for number, entry in enumerate(entries):
        turns = entry.get("conversations") if isinstance(entry, Mapping) else None
        if not isinstance(turns, list):
            raise OptionError([f'{options.dataset_path}: entry {number}: has no "conversations"'])
        texts = [str(t["value"]) for t in turns if isinstance(t, Mapping) and isinstance(t.get("value"), str)]
        made += conversation(options, number, texts)
    if not made:
        raise OptionError([f"{options.dataset_path}: no conversation has a question"])
    return made


def conversation(options: Options, number: int, texts: Sequence[str]) -> list[Sample]:
    made, history = [], []
    for at in range(0, len(texts), 2):
        history.append({"role": "user", "content": texts[at]})
        answer = texts[at + 1] if at + 1 < len(texts) else ""
        output = options.dynamic_output_len or max(1, len(answer.split()) * 4 // 3) or OUTPUT
        pause = options.turn_pause if at else 0.0
        if chat(options):
            sample = Sample(messages=tuple(history), output_len=output, conversation=number, pause=pause)
        else:
            text = "\n".join(m["content"] for m in history)
            sample = Sample(text, output_len=output, conversation=number, pause=pause)
        made.append(sample)
        if not answer:
            break
        history.append({"role": "assistant", "content": place(at // 2) if options.own_answers else answer})
    return made


def _conversations(options: Options, count: int, seed: int) -> list[Sample]:
    """Conversations of ``turns`` turns; ``count`` counts requests."""
    dice = random.Random(seed)  # noqa: S311 - reproducible, no secret
    made: list[Sample] = []
    number = 0
    while len(made) < count:
        length, output = lengths(options, dice)
        texts = []
        for turn in range(options.turns):
            for part, size in (("q", length), ("a", output)):
                ids = ids_of(options, f"{seed} {number} {turn} {part}", size)
                texts.append(" ".join(WORDS[i % len(WORDS)] for i in ids))
        made += [evolve(s, output_len=output) for s in conversation(options, number, texts)]
        number += 1
    return made[:count]


def turns(options: Options) -> list[Sample]:
    return (
        _multi_turn(options)
        if options.dataset_path
        else _conversations(options, max(options.num_prompts), options.seed)
    )
