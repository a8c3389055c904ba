"""The driver: three sheets."""

from __future__ import annotations

import datetime as dt
import io
import math
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from playbook_kernel.api import CampaignResult, NoOptions, Reporter, redact

from .table import COLUMNS, Row, rows

TINTS = ("C5D9F1", "F2DCDB", "EBF1DE", "FDE9D9")
HEAD = "FFFF00"
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_LONGEST = 32_000  # a cell holds 32,767 characters
_EPOCH = dt.datetime(1980, 1, 1)


class XlsxReporter(Reporter[NoOptions]):
    """``report.xlsx``: verdicts, the earlier tool's table of results, and every metric."""

    def write(self, result: CampaignResult, into: Path) -> Sequence[Path]:
        from openpyxl import Workbook

        book = Workbook()
        book.remove(book.worksheets[0])
        _scenarios(book, result)
        _results(book, list(rows(result)))
        _metrics(book, result)
        book.properties.title = _text(result.id)
        book.properties.creator = _text(result.tool)
        book.properties.created = _instant(result.ended)
        path = into / "report.xlsx"
        book.properties.created = book.properties.modified = _instant(result.started)
        _write(book, path)
        return [path]


def _write(book: Any, path: Path) -> None:
    """As the library does it, but without the time of writing: the same result gives the same file."""
    from openpyxl.writer.excel import ExcelWriter

    whole = io.BytesIO()
    ExcelWriter(book, zipfile.ZipFile(whole, "w")).save()
    with zipfile.ZipFile(whole) as made, zipfile.ZipFile(path, "w") as kept:
        for name in made.namelist():
            kept.writestr(zipfile.ZipInfo(name), made.read(name), zipfile.ZIP_DEFLATED)


def _instant(text: str) -> dt.datetime:
    try:
        return dt.datetime.fromisoformat(text).replace(tzinfo=None)
    except ValueError:
        return _EPOCH


def _text(value: str) -> str:
    return _NOT_XML.sub("\ufffd", redact(value))[:_LONGEST]


def _sheet(book: Any, title: str, head: Sequence[str], lines: Sequence[Sequence[Any]]) -> Any:
    from openpyxl.styles import Font, PatternFill
    from openpyxl.utils import get_column_letter

    sheet = book.create_sheet(title)
    for at, line in enumerate([head, *lines], 1):
        for column, value in enumerate(line, 1):
            _put(sheet.cell(at, column), value)
    for cell in sheet[1]:
        cell.font, cell.fill = Font(bold=True), PatternFill("solid", fgColor=HEAD)
    sheet.freeze_panes = "B2"
    if lines:
        sheet.auto_filter.ref = sheet.dimensions
    for column, name in enumerate(head, 1):
        longest = max([len(name), *(len(str(line[column - 1])) for line in lines if line[column - 1] is not None)])
        sheet.column_dimensions[get_column_letter(column)].width = min(longest + 2, 60)
    return sheet


def _put(cell: Any, value: Any) -> None:
    if isinstance(value, str):
        cell.value = _text(value)
        cell.data_type = "s"  # a text that begins with = stays a text
    elif isinstance(value, float):
        cell.value = value if math.isfinite(value) else str(value)
    else:
        cell.value = value


def _scenarios(book: Any, result: CampaignResult) -> None:
    lines = []
    for s in result.scenarios:
        clean = None if s.last is None or s.last.clean is None else "yes" if s.last.clean else "no"
        spent = round(sum(t.seconds for t in s.trials), 3)
        lines.append([s.scenario, s.status, s.reason, spent, len(s.trials), clean, s.description, ", ".join(s.tags)])
    head = ["scenario", "status", "reason", "seconds", "attempts", "clean", "description", "tags"]
    _sheet(book, "Scenarios", head, lines)


def _results(book: Any, found: Sequence[Row]) -> None:
    from openpyxl.styles import Font, PatternFill

    def place(row: Row) -> tuple[str, float]:
        batch = row.values.get("batch")
        return row.scenario, batch if isinstance(batch, (int, float)) else 0.0

    ordered = sorted(found, key=place)
    lines = [[_rounded(row.values.get(c)) for c in COLUMNS] for row in ordered]
    sheet = _sheet(book, "Results", COLUMNS, lines)
    names = list(dict.fromkeys(r.scenario for r in ordered))
    best = {
        name: max((n for n, r in enumerate(ordered) if r.scenario == name and r.meets), default=None) for name in names
    }
    for n, row in enumerate(ordered):
        fill = PatternFill("solid", fgColor=TINTS[names.index(row.scenario) % len(TINTS)])
        for cell in sheet[n + 2]:
            cell.fill = fill
            if best[row.scenario] == n:
                cell.font = Font(bold=True)


def _rounded(value: Any) -> Any:
    return round(value, 2) if isinstance(value, float) and math.isfinite(value) else value


def _metrics(book: Any, result: CampaignResult) -> None:
    lines = [
        [s.scenario, t.trial, t.attempt, name, metric.value, metric.unit, metric.samples]
        for s in result.scenarios
        for t in s.trials
        for name, metric in (t.measurement.metrics if t.measurement else {}).items()
    ]
    _sheet(book, "Metrics", ["scenario", "trial", "attempt", "metric", "value", "unit", "samples"], lines)
