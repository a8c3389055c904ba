"""Where prompts come from. Every source is read and checked before the first request is made."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from attrs import define, evolve, field

from playbook_plugins import jsonc

from .core.history import place
from .options import INPUT_LENS, OUTPUT_LENS, OptionError, Options
from .samples import Sample, chat
from .tokens import Tokenizer, fit
from .tokens import load as load_tokenizer

_TEXT = (
    "time year people way day man thing woman life child world school state family student group country problem "
    "hand part place case week company system program question work government number night point home water room "
    "mother area money story fact month lot right study book eye job word business issue side kind head house"
)
_WORDS = _TEXT.split()
_MIN, _MAX_PROMPT, _MAX_TOTAL = 4, 1024, 2048
_OUTPUT = 128
_INPUT = 512


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
            self._pool.update(_filtered(self.options, (input_len,)))
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
        dataset._pool.update(_filtered(options, [length for length, _ in pairs(options)]))  # noqa: SLF001
    elif kind in _READ:
        dataset._pool[0] = _READ[kind](options)  # noqa: SLF001
    elif options.tokenizer_path:
        load_tokenizer(options.tokenizer_path)
    return dataset


# -- files --------------------------------------------------------------------------------------------------------


def _read_json(options: Options, kind: type[Any], shape: str) -> Any:
    path = _path(options)
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


def _path(options: Options) -> Path:
    if not options.dataset_path:
        raise OptionError([f"dataset_path: is needed for the dataset {options.dataset}"])
    path = Path(options.dataset_path)
    if not path.is_file():
        raise OptionError([f"dataset_path: there is no file {path}"])
    if path.stat().st_size == 0:
        raise OptionError([f"{path}: is empty"])
    return path


def _lines(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
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


def _tokenizer(options: Options) -> Tokenizer | None:
    return load_tokenizer(options.tokenizer_path) if options.tokenizer_path else None


def _filtered(options: Options, lengths: Sequence[int]) -> dict[int, list[Sample]]:
    groups = _read_json(options, dict, 'an object: {"<input length>": [prompts]}')
    missing = [length for length in lengths if not groups.get(str(length))]
    if missing:
        there = ", ".join(k for k in groups if groups[k])
        raise OptionError(
            [f"{options.dataset_path}: no prompts of length {m}; it has {there} (see --input-len)" for m in missing]
        )
    tokenizer = _tokenizer(options)
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


def _sharegpt(options: Options) -> list[Sample]:
    entries = _read_json(options, list, "a list of conversations")
    two = []
    for number, entry in enumerate(entries):
        turns = entry.get("conversations", entry.get("conversation")) if isinstance(entry, Mapping) else None
        if not isinstance(turns, list):
            raise OptionError([f'{options.dataset_path}: entry {number}: has no "conversations"'])
        values = [t.get("value") for t in turns if isinstance(t, Mapping)]
        if len(values) >= 2 and isinstance(values[0], str) and isinstance(values[1], str):
            two.append((values[0], values[1]))
    return _select(options, two)


def _normal(options: Options) -> list[Sample]:
    entries = _read_json(options, list, 'a list of {"instruction": ..., "output": ...}')
    found = []
    for number, entry in enumerate(entries):
        if not isinstance(entry, Mapping) or not isinstance(entry.get("instruction"), str):
            raise OptionError([f'{options.dataset_path}: entry {number}: has no "instruction"'])
        more = entry.get("input")
        prompt = entry["instruction"] + (f"\n{more}" if isinstance(more, str) and more else "")
        found.append((prompt, str(entry.get("output", ""))))
    return _select(options, found)


def _custom(options: Options) -> list[Sample]:
    wanted = options.dataset_field
    inputs, outputs = _columns(wanted, "input_field"), _columns(wanted, "output_field")
    if not inputs:
        raise OptionError(['dataset_field: the dataset custom needs {"input_field": [...], "output_field": [...]}'])
    entries = _read_json(options, list, "a list of objects")
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


def _jsonl(options: Options) -> list[Sample]:
    """``prompt``, ``prompt_token_ids`` or ``messages`` in each line, and ``output_len`` or ``max_tokens`` if they say."""
    path = _path(options)
    found = []
    for number, line in _lines(path):
        length = line.get("output_len", line.get("max_tokens", line.get("output_length")))
        wanted = options.dynamic_output_len or (length if isinstance(length, int) and length > 0 else _OUTPUT)
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
    tokenizer = _tokenizer(options)
    if tokenizer is not None:
        found = [evolve(s, nominal=len(tokenizer.encode(s.text))) if s.text else s for s in found]
    return found


def _select(options: Options, found: Sequence[tuple[str, str]]) -> list[Sample]:
    """Prompts of the wanted lengths. Without a tokenizer a word counts as 4/3 tokens."""
    tokenizer = _tokenizer(options)
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


# -- conversations and traces -------------------------------------------------------------------------------------


def _multi_turn(options: Options) -> list[Sample]:
    """Whole conversations of a sharegpt file: each turn repeats what was said before, with the recorded answers."""
    entries = _read_json(options, list, "a list of conversations")
    made = []
    for number, entry in enumerate(entries):
        turns = entry.get("conversations") if isinstance(entry, Mapping) else None
        if not isinstance(turns, list):
            raise OptionError([f'{options.dataset_path}: entry {number}: has no "conversations"'])
        texts = [str(t["value"]) for t in turns if isinstance(t, Mapping) and isinstance(t.get("value"), str)]
        made += _conversation(options, number, texts)
    if not made:
        raise OptionError([f"{options.dataset_path}: no conversation has a question"])
    return made


def _conversation(options: Options, number: int, texts: Sequence[str]) -> list[Sample]:
    made, history = [], []
    for at in range(0, len(texts), 2):
        history.append({"role": "user", "content": texts[at]})
        answer = texts[at + 1] if at + 1 < len(texts) else ""
        output = options.dynamic_output_len or max(1, len(answer.split()) * 4 // 3) or _OUTPUT
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


def _trace(options: Options) -> list[Sample]:
    """Public formats: Mooncake (JSONL: timestamp in ms, input_length, output_length, hash_ids) and Azure LLM (CSV)."""
    path = _path(options)
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        first = file.readline()
    if not first.lstrip().startswith("{") and "TIMESTAMP" not in first:
        raise OptionError(
            [f"{path}:1: neither a line of JSON (Mooncake) nor the head of a CSV with TIMESTAMP (Azure LLM)"]
        )
    rows = _mooncake(path) if first.lstrip().startswith("{") else _azure(path)
    rows.sort(key=lambda r: r[0])
    if not rows:
        raise OptionError([f"{path}: is empty"])
    began = rows[0][0]
    made = []
    for number, (at, length, output, blocks) in enumerate(rows):
        due = (at - began) / options.trace_speed
        made.append(evolve(_blocks(options, number, length, output, blocks), due=due))
    return made


_Row = tuple[float, int, int, Sequence[int]]
_BLOCK = 512


def _mooncake(path: Path) -> list[_Row]:
    rows: list[_Row] = []
    for number, line in _lines(path):
        try:
            blocks = [int(b) for b in line.get("hash_ids") or ()]
            rows.append(
                (float(line["timestamp"]) / 1000, int(line["input_length"]), max(1, int(line["output_length"])), blocks)
            )
        except (KeyError, TypeError, ValueError) as error:
            raise OptionError([f"{path}:{number}: not a line of a Mooncake trace: {error!r}"]) from None
    return rows


def _azure(path: Path) -> list[_Row]:
    rows: list[_Row] = []
    with path.open(encoding="utf-8-sig", newline="", errors="replace") as file:
        reader = csv.DictReader(file)
        for row in reader:
            try:
                at = datetime.fromisoformat(row["TIMESTAMP"].strip()[:26]).timestamp()
                rows.append((at, int(row["ContextTokens"]), max(1, int(row["GeneratedTokens"])), ()))
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise OptionError([f"{path}:{reader.line_num}: not a line of an Azure LLM trace: {error!r}"]) from None
    return rows


def _blocks(options: Options, number: int, length: int, output: int, blocks: Sequence[int]) -> Sample:
    """A prompt whose stretches of 512 tokens are the same wherever the trace has the same block."""
    length = max(1, length)
    ids: list[int] = []
    for block in blocks or [-1 - number]:
        ids += _ids(options, f"block {block}", _BLOCK if blocks else length)
    if len(ids) < length:
        ids += _ids(options, f"rest {number}", length - len(ids))
    return _of_ids(options, ids[:length], output)


# -- made up ------------------------------------------------------------------------------------------------------


def _ids(options: Options, name: str, count: int) -> list[int]:
    dice = random.Random(f"{options.seed} {name}")  # noqa: S311 - reproducible, no secret
    # The lowest ids are special tokens in most vocabularies.
    low = min(1000, options.vocabulary // 4)
    return dice.choices(range(low, options.vocabulary), k=count)


def _of_ids(options: Options, ids: Sequence[int], output: int) -> Sample:
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
    return Sample(" ".join(_WORDS[i % len(_WORDS)] for i in ids), nominal=len(ids), output_len=output)


_tokenizers: dict[str, Tokenizer] = {}


def _cached_tokenizer(path: str) -> Tokenizer:
    if path not in _tokenizers:
        _tokenizers[path] = load_tokenizer(path)
    return _tokenizers[path]


def _lengths(options: Options, dice: random.Random) -> tuple[int, int]:
    wanted = options.dynamic_input_len or (options.input_len or (_INPUT,))[0]
    spread = int(wanted * options.dynamic_prompt_len_scale)
    output = options.dynamic_output_len or (options.output_len or (_OUTPUT,))[0]
    return max(1, dice.randint(wanted - spread, wanted + spread)), output


def _random(options: Options, count: int, seed: int) -> list[Sample]:
    dice = random.Random(seed)  # noqa: S311 - reproducible, no secret
    made = []
    for number in range(count):
        length, output = _lengths(options, dice)
        name = "same" if options.enable_same_prompt else f"{seed} {number}"
        made.append(_of_ids(options, _ids(options, name, length), output))
    return made


def _prefixed(options: Options, count: int, seed: int) -> list[Sample]:
    """Prompts of which a set share begin with one of a few prefixes; the rest of each is its own."""
    dice = random.Random(seed)  # noqa: S311 - reproducible, no secret
    made = []
    sharing = round(count * options.prefix_hit)
    with_prefix = [n < sharing for n in range(count)]
    dice.shuffle(with_prefix)
    for number, shared in enumerate(with_prefix):
        length, output = _lengths(options, dice)
        start: list[int] = []
        if shared:
            start = _ids(options, f"prefix {seed} {number % options.prefix_count}", options.prefix_len)
        else:
            start = _ids(options, f"own {seed} {number}", options.prefix_len)
        made.append(_of_ids(options, start + _ids(options, f"{seed} {number}", length), output))
    return made


def _conversations(options: Options, count: int, seed: int) -> list[Sample]:
    """Conversations of ``turns`` turns; ``count`` counts requests."""
    dice = random.Random(seed)  # noqa: S311 - reproducible, no secret
    made: list[Sample] = []
    number = 0
    while len(made) < count:
        length, output = _lengths(options, dice)
        texts = []
        for turn in range(options.turns):
            for part, size in (("q", length), ("a", output)):
                ids = _ids(options, f"{seed} {number} {turn} {part}", size)
                texts.append(" ".join(_WORDS[i % len(_WORDS)] for i in ids))
        made += [evolve(s, output_len=output) for s in _conversation(options, number, texts)]
        number += 1
    return made[:count]


def _turns(options: Options) -> list[Sample]:
    return (
        _multi_turn(options)
        if options.dataset_path
        else _conversations(options, max(options.num_prompts), options.seed)
    )


_READ: Mapping[str, Callable[[Options], list[Sample]]] = {
    "filtered": lambda options: [s for group in _filtered(options, _all_lengths(options)).values() for s in group],
    "sharegpt": _sharegpt,
    "normal": _normal,
    "custom": _custom,
    "jsonl": _jsonl,
    "multi-turn": _turns,
    "trace": _trace,
}
_MADE: Mapping[str, Callable[[Options, int, int], list[Sample]]] = {"random": _random, "prefix": _prefixed}


def _all_lengths(options: Options) -> list[int]:
    groups = _read_json(options, dict, 'an object: {"<input length>": [prompts]}')
    return [int(k) for k in groups if k.isdigit() and groups[k]]
