"""CSV, SQLite and workbook, with the earlier tool's names, columns and order; and JSON with everything."""

from __future__ import annotations

import csv
import importlib
import json
import math
import threading
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from attrs import define, field

from .rows import PER_GPU, RESULT_KEYS, Row, higher_is_better

_TABLE = "summary_data"
# Loads that run side by side write to one file.
_ONE_AT_A_TIME = threading.Lock()
_FIRST = ("case_id", "arch", "gpu", "model", "gpu_num", "replicas", "question_label", "batch", "request_rate",
          "num_prompts")  # fmt: skip
_LAST = ("backend", "other_params", "created_at", *PER_GPU)
_DB_METRICS = tuple(k for k in RESULT_KEYS if k not in _FIRST)
DB_COLUMNS: Sequence[str] = (*_FIRST, *_DB_METRICS, *_LAST)
_TEXT = frozenset({"case_id", "arch", "gpu", "model", "question_label", "backend", "other_params", "created_at"})

_BEFORE = ("other_params", "gpu", "model", "gpu_num", "replicas", "batch", "mean_input_tokens", "mean_output_tokens")
_MIDDLE = ("TTFT_P90", "TPOT_P90", "ITL_P90", "TTFT_P95", "TPOT_P95", "ITL_P95", "TTFT_P99", "TPOT_P99", "ITL_P99",
           "mean_TTFT", "mean_TPOT", "mean_ITL", "goodput_percentage")  # fmt: skip
_AFTER = ("prefill_throughput_per_gpu", "decode_throughput_per_gpu", "mean_prefill_throughput",
          "mean_decode_throughput", "mean_output_throughput", "output_throughput", "mean_ITL", "mean_E2EL",
          "request_throughput", "arch", "case_id", "completed", "question_label", "backend")  # fmt: skip
STATIC_COLUMNS: Sequence[str] = (*_BEFORE, *_MIDDLE, *_AFTER)
DYNAMIC_COLUMNS: Sequence[str] = (*_BEFORE, "num_prompts", *_MIDDLE, "request_rate", *_AFTER)
_TINTS = ("C5D9F1", "F2DCDB", "EBF1DE", "FDE9D9")


class OutputError(Exception):
    """A result could not be written."""


@define
class Outputs:
    """Writes each row the moment it is there. ``metadata`` is the user's, in its order, ``case_id`` included."""

    directory: Path
    filename: str
    metadata: Mapping[str, str]
    notes: list[str] = field(factory=list)
    written: list[Path] = field(factory=list)

    def save(self, row: Row) -> None:
        """Append a row to CSV and database. Raises OutputError with the reason; nothing is lost silently."""
        import sqlite3  # after the load: nobody should wait for it before

        try:
            with _ONE_AT_A_TIME:
                self.directory.mkdir(parents=True, exist_ok=True)
                self._kept(self._csv(row))
                self._kept(self._database(row))
        except (OSError, sqlite3.Error) as error:
            raise OutputError(f"the result cannot be saved in {self.directory}: {error}") from error

    def _kept(self, path: Path) -> None:
        if path not in self.written:
            self.written.append(path)

    # -- CSV ------------------------------------------------------------------------------------------------------

    def _csv(self, row: Row) -> Path:
        columns = [*self.metadata, *RESULT_KEYS, "num_prompts", *PER_GPU]
        path = self._csv_with(columns)
        new = not path.exists() or path.stat().st_size == 0
        with path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, quoting=csv.QUOTE_NONNUMERIC)
            if new:
                writer.writerow(columns)
            writer.writerow([_plain({**row, **self.metadata}.get(c)) for c in columns])
        return path

    def _csv_with(self, columns: Sequence[str]) -> Path:
        """The file whose header these are; a file with another header is left as it is."""
        number = 1
        while True:
            path = self.directory / (f"{self.filename}.csv" if number == 1 else f"{self.filename}-{number}.csv")
            if not path.exists() or path.stat().st_size == 0:
                break
            with path.open(newline="", encoding="utf-8") as file:
                if next(csv.reader(file), []) == list(columns):
                    break
            number += 1
        if number > 1:
            note = f"{self.filename}.csv has other columns (other metadata): rows go to {path.name}"
            if note not in self.notes:
                self.notes.append(note)
        return path

    # -- SQLite ---------------------------------------------------------------------------------------------------

    def _database(self, row: Row) -> Path:
        import sqlite3

        path = self.directory / f"{self.filename}.db"
        values = {c: _plain({**row, **self.metadata}.get(c)) for c in DB_COLUMNS}
        further = {k: v for k, v in self.metadata.items() if k not in DB_COLUMNS}
        if further:
            # The table has no columns for these; other_params is where the user's own words go.
            said = [str(values["other_params"])] if values["other_params"] else []
            values["other_params"] = "; ".join([*said, *(f"{k}={v}" for k, v in further.items())])
        values["created_at"] = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
        with closing(sqlite3.connect(path, timeout=30)) as base, base:
            kinds = ", ".join(f'"{c}" {"TEXT" if c in _TEXT else "REAL"}' for c in DB_COLUMNS)
            base.execute(f"CREATE TABLE IF NOT EXISTS {_TABLE} (key INTEGER PRIMARY KEY, {kinds})")
            there = {str(r[1]) for r in base.execute(f"PRAGMA table_info({_TABLE})")}
            for column in DB_COLUMNS:
                if column not in there:
                    base.execute(f'ALTER TABLE {_TABLE} ADD COLUMN "{column}"')
            names = ", ".join(f'"{c}"' for c in values)
            marks = ", ".join("?" for _ in values)
            base.execute(f"INSERT INTO {_TABLE} ({names}) VALUES ({marks})", list(values.values()))  # noqa: S608 - our names
        return path

    def rows(self, case_id: str) -> list[Row]:
        """All rows of a case, old ones with the same id too. Raises OutputError."""
        import sqlite3

        path = self.directory / f"{self.filename}.db"
        try:
            with closing(sqlite3.connect(path)) as base:
                base.row_factory = sqlite3.Row
                found = base.execute(f"SELECT * FROM {_TABLE} WHERE case_id = ? ORDER BY key", (case_id,))  # noqa: S608
                return [dict(r) for r in found]
        except sqlite3.Error as error:
            raise OutputError(f"{path}: {error}") from error


def _plain(value: Any) -> Any:
    """What a file can hold."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return "" if value is None else value


# -- workbook -----------------------------------------------------------------------------------------------------


def workbook(
    path: Path, rows: Sequence[Row], *, static: bool, goodput: Mapping[str, float], more: Sequence[str] = ()
) -> None:
    """Write the workbook. Raises OutputError, also if openpyxl is not installed."""
    try:
        styles = importlib.import_module("openpyxl.styles")
        book = importlib.import_module("openpyxl").Workbook()
    except ImportError:
        raise OutputError("a workbook needs the package openpyxl: pip install 'playbook-kernel[xlsx]'") from None
    columns = [*(STATIC_COLUMNS if static else DYNAMIC_COLUMNS), *more]
    ordered = sorted(rows, key=(lambda r: (_num(r, "mean_input_tokens"), _num(r, "batch"))) if static
                     else (lambda r: (_num(r, "batch"), _num(r, "num_prompts"))))  # fmt: skip
    sheet = book.active
    sheet.append(columns)
    for cell in sheet[1]:
        cell.fill = styles.PatternFill("solid", fgColor="FFFF00")
        cell.font = styles.Font(bold=True)
    labels = list(dict.fromkeys(str(r.get("question_label")) for r in ordered))
    best = _best(ordered, goodput)
    for row in ordered:
        sheet.append([_cell(row.get(c)) for c in columns])
        tint = _TINTS[labels.index(str(row.get("question_label"))) % len(_TINTS)]
        for cell in sheet[sheet.max_row]:
            cell.fill = styles.PatternFill("solid", fgColor=tint)
            if row in best:
                cell.font = styles.Font(bold=True)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        book.save(path)
    except OSError as error:
        raise OutputError(f"{path}: {error.strerror}") from error


def _best(rows: Sequence[Row], goodput: Mapping[str, float]) -> list[Row]:
    """For each label the row with the largest batch that meets every limit that is a column."""

    def meets(row: Row) -> bool:
        judged = [(k, v) for k, v in goodput.items() if k in row]
        return bool(judged) and all(
            isinstance(row[k], (int, float)) and (row[k] >= v if higher_is_better(k) else row[k] <= v)
            for k, v in judged
        )

    best: dict[str, Row] = {}
    for row in rows:
        label = str(row.get("question_label"))
        if meets(row) and (label not in best or _num(row, "batch") >= _num(best[label], "batch")):
            best[label] = row
    return list(best.values())


def _num(row: Row, key: str) -> float:
    value = row.get(key)
    return float(value) if isinstance(value, (int, float)) else 0.0


def _cell(value: Any) -> Any:
    return round(value, 2) if isinstance(value, float) and math.isfinite(value) else _plain(value)


def workbook_path(directory: Path, dirname: str, *, static: bool, model: str, case_id: str, at: datetime) -> Path:
    """Where the earlier tool put it."""
    mode = "static" if static else "dynamic"
    safe = "".join(c if c.isalnum() or c in "-_." else "_" for c in case_id)
    return directory / dirname / f"{mode}_{model}_{at:%Y%m%d%H%M%S}_{safe}.xlsx"


def write_json(path: Path, value: Any) -> None:
    """Beside and renamed into place, so that it is whole or not there. Raises OutputError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".part")
        part.write_text(json.dumps(_finite(value), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: {error.strerror}") from error


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    if isinstance(value, Mapping):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    return value
