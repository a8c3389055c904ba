"""Prompts from files: what the earlier tool read, and JSONL."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import evolve

from playbook_plugins import jsonc
from playbook_plugins.benchmarks.aicp.options import OptionError, Options
from playbook_plugins.benchmarks.aicp.samples import Sample
from playbook_plugins.benchmarks.aicp.tokens import Tokenizer, fit
from playbook_plugins.benchmarks.aicp.tokens import load as load_tokenizer

_MIN, _MAX_PROMPT, _MAX_TOTAL = 4, 1024, 2048
OUTPUT = 128
"""Tokens to ask for where nothing says."""


def read_json(options: Options, kind: type[Any], shape: str) -> Any:
    path = file_of(options)
    try:
        found = jsonc.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise OptionError([f"{path}:{error.lineno}: not JSON: {error.msg}"]) from None
    except UnicodeDecodeError as error:
        raise OptionError([f"{path}: not UTF-8 at byte {error.start}"]) from None
    if not isinstance(found, kind):
        raise OptionError([f"{path}: expected {shape}"])
    if not found:
        raise OptionError([f"{path}: is empty"])
    return found


def file_of(options: Options) -> Path:
    if not options.dataset_path:
        raise OptionError([f"dataset_path: is needed for the dataset {options.dataset}"])
    path = Path(options.dataset_path)
    if not path.is_file():
        raise OptionError([f"dataset_path: there is no file {path}"])
    if path.stat().st_size == 0:
        raise OptionError([f"{path}: is empty"])
    return path


def lines(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The objects of a JSONL file with their line numbers."""
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                found = json.loads(line)
            except ValueError as error:
                raise OptionError([f"{path}:{number}: not JSON: {error}"]) from None
            if not isinstance(found, Mapping):
                raise OptionError([f"{path}:{number}: expected an object"])
            yield number, found


def tokenizer_of(options: Options) -> Tokenizer | None:
    return load_tokenizer(options.tokenizer_path) if options.tokenizer_path else None


def filtered(options: Options, lengths: Sequence[int]) -> dict[int, list[Sample]]:
    groups = read_json(options, dict, 'an object: {"<input length>": [prompts]}')
    missing = [length for length in lengths if not groups.get(str(length))]
    if missing:
        there = ", ".join(k for k in groups if groups[k])
        raise OptionError(
            [f"{options.dataset_path}: no prompts of length {m}; it has {there} (see --input-len)" for m in missing]
        )
    tokenizer = tokenizer_of(options)
    made = {}
    for length in dict.fromkeys(lengths):
        texts = groups[str(length)]
        if not isinstance(texts, list) or not all(isinstance(t, str) for t in texts):
            raise OptionError([f"{options.dataset_path}: key {length}: expected a list of texts"])
        if tokenizer is None:
            made[length] = [Sample(text, nominal=length) for text in texts]
        else:
            fitted = [fit(tokenizer, text, length) for text in texts]
            made[length] = [Sample(text, nominal=count) for text, count in fitted]
    return made


def sharegpt(options: Options) -> list[Sample]:
    entries = read_json(options, list, "a list of conversations")
    two = []
    for number, entry in enumerate(entries):
        turns = entry.get("conversations", entry.get("conversation")) if isinstance(entry, Mapping) else None
        if not isinstance(turns, list):
            raise OptionError([f'{options.dataset_path}: entry {number}: has no "conversations"'])
        values = [t.get("value") for t in turns if isinstance(t, Mapping)]
        if len(values) >= 2 and isinstance(values[0], str) and isinstance(values[1], str):
            two.append((values[0], values[1]))
    return _select(options, two)


def normal(options: Options) -> list[Sample]:
    entries = read_json(options, list, 'a list of {"instruction": ..., "output": ...}')
    found = []
    for number, entry in enumerate(entries):
        if not isinstance(entry, Mapping) or not isinstance(entry.get("instruction"), str):
            raise OptionError([f'{options.dataset_path}: entry {number}: has no "instruction"'])
        more = entry.get("input")
        prompt = entry["instruction"] + (f"\n{more}" if isinstance(more, str) and more else "")
        found.append((prompt, str(entry.get("output", ""))))
    return _select(options, found)


def custom(options: Options) -> list[Sample]:
    wanted = options.dataset_field
    inputs, outputs = _columns(wanted, "input_field"), _columns(wanted, "output_field")
    if not inputs:
        raise OptionError(['dataset_field: the dataset custom needs {"input_field": [...], "output_field": [...]}'])
    entries = read_json(options, list, "a list of objects")
    found = []
    for number, entry in enumerate(entries):
        absent = [f for f in inputs if not isinstance(entry, Mapping) or f not in entry]
        if absent:
            raise OptionError([f"{options.dataset_path}: entry {number}: has no {absent[0]!r}"])
        found.append(("".join(str(entry[f]) for f in inputs), "".join(str(entry.get(f, "")) for f in outputs)))
    return _select(options, found)


def _columns(wanted: Mapping[str, Any], key: str) -> list[str]:
    value = wanted.get(key) or []
    return [value] if isinstance(value, str) else [str(v) for v in value]


def jsonl(options: Options) -> list[Sample]:
    """``prompt``, ``prompt_token_ids`` or ``messages`` in each line, and ``output_len`` or ``max_tokens`` if they say."""
    path = file_of(options)
    found = []
    for number, line in lines(path):
        length = line.get("output_len", line.get("max_tokens", line.get("output_length")))
        wanted = options.dynamic_output_len or (length if isinstance(length, int) and length > 0 else OUTPUT)
        prompt = line.get("prompt", line.get("text"))
        ids = line.get("prompt_token_ids", prompt if isinstance(prompt, list) else None)
        if isinstance(line.get("messages"), list):
            found.append(Sample(messages=line["messages"], output_len=wanted))
        elif isinstance(ids, list):
            found.append(Sample(ids=ids, nominal=len(ids), output_len=wanted))
        elif isinstance(prompt, str) and prompt:
            found.append(Sample(prompt, output_len=wanted))
        else:
            raise OptionError([f'{path}:{number}: has no "prompt", "messages" or "prompt_token_ids"'])
    if not found:
        raise OptionError([f"{path}: is empty"])
    tokenizer = tokenizer_of(options)
    if tokenizer is not None:
        found = [evolve(s, nominal=len(tokenizer.encode(s.text))) if s.text else s for s in found]
    return found


def _select(options: Options, found: Sequence[tuple[str, str]]) -> list[Sample]:
    """Prompts of the wanted lengths. Without a tokenizer a word counts as 4/3 tokens."""
    tokenizer = tokenizer_of(options)
    if tokenizer is None and options.dataset == "sharegpt" and options.dynamic_input_len is not None:
        raise OptionError(["tokenizer_path: cutting sharegpt prompts to a length needs a tokenizer"])

    def count(text: str) -> int:
        return len(tokenizer.encode(text)) if tokenizer is not None else max(1, len(text.split()) * 4 // 3)

    dice = random.Random(options.seed)  # noqa: S311 - reproducible, no secret
    wanted, scale = options.dynamic_input_len, options.dynamic_prompt_len_scale
    made = []
    for prompt, answer in found:
        length = count(prompt)
        output = options.dynamic_output_len or count(answer)
        if wanted is None:
            if options.dataset == "sharegpt" and not (
                _MIN <= length <= _MAX_PROMPT
                and length + output <= _MAX_TOTAL
                and (options.dynamic_output_len is not None or output >= _MIN)
            ):
                continue
            made.append(Sample(prompt, nominal=length, output_len=max(1, output)))
        elif tokenizer is not None:
            spread = int(wanted * scale)
            if length <= wanted + spread:
                continue
            text, real = fit(tokenizer, prompt, dice.randint(wanted - spread, wanted + spread))
            made.append(Sample(text, nominal=real, output_len=max(1, output)))
        else:
            made.append(Sample(prompt, nominal=length, output_len=max(1, output)))
    if not made:
        wish = f" of more than {wanted} tokens" if wanted is not None else ""
        raise OptionError([f"{options.dataset_path}: no usable prompt{wish} among {len(found)}"])
    return made


def all_lengths(options: Options) -> list[int]:
    groups = read_json(options, dict, 'an object: {"<input length>": [prompts]}')
    return [int(k) for k in groups if k.isdigit() and groups[k]]
