"""Traces of real traffic: when each request came, and how long it was."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from attrs import evolve

from playbook_plugins.benchmarks.aicp.options import OptionError, Options
from playbook_plugins.benchmarks.aicp.samples import Sample

from .files import file_of, lines
from .made_up import ids_of, of_ids


def trace(options: Options) -> list[Sample]:
    """Public formats: Mooncake (JSONL: timestamp in ms, input_length, output_length, hash_ids) and Azure LLM (CSV)."""
    path = file_of(options)
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
    for number, line in lines(path):
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
        ids += ids_of(options, f"block {block}", _BLOCK if blocks else length)
    if len(ids) < length:
        ids += ids_of(options, f"rest {number}", length - len(ids))
    return of_ids(options, ids[:length], output)
