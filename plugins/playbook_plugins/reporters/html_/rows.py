"""Charts of rows below one another: who did what when, and intervals of changes."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from .charts import Axis, figure, short, swatch, ticks
from .markup import Html, Table, el

_RIGHT, _GANTT = 16, 1180


@frozen
class Bar:
    """A stretch of a row: from, for how long, and which phase it shows."""

    start: float
    seconds: float
    kind: str
    title: str
    bad: bool = False


def gantt(title: str, rows: Sequence[tuple[str, Sequence[Bar]]], table: Table, kinds: Sequence[str]) -> Html:
    """Who did what when: a row each, on one scale of seconds."""
    bars = [b for _, row in rows for b in row]
    if not bars:
        return Html("")
    left, line = 210, 22
    height = len(rows) * line + 44
    marks = ticks(0.0, max(b.start + b.seconds for b in bars) or 1.0, 8)
    axis = Axis(0.0, marks[-1], float(left), float(_GANTT - _RIGHT), marks=marks)
    base = len(rows) * line + 6
    parts: list[Html] = [el("path", d="".join(f"M{axis.at(v):.1f},0V{base}" for v in marks), class_="grid")]
    parts += [el("text", short(v), x=f"{axis.at(v):.1f}", y=base + 14, class_="tx") for v in marks]
    parts.append(el("text", "seconds since the campaign began", x=(left + _GANTT) // 2, y=base + 32, class_="tx"))
    for n, (label, row) in enumerate(rows):
        top = n * line + 4
        shown = label if len(label) <= 30 else f"{label[:29]}…"
        parts.append(el("text", el("title", label), shown, x=left - 8, y=top + 12, class_="ty"))
        for bar in row:
            width = max(1.5, axis.at(bar.start + bar.seconds) - axis.at(bar.start))
            kind = f"bar p{kinds.index(bar.kind) if bar.kind in kinds else 0}{' failed' if bar.bad else ''}"
            box = {"x": f"{axis.at(bar.start):.1f}", "y": top, "width": f"{width:.1f}", "height": line - 7}
            parts.append(el("rect", el("title", bar.title), class_=kind, **box))
    svg = el(
        "svg",
        parts,
        viewBox=f"0 0 {_GANTT} {height}",
        role="img",
        aria_label=f"{title}; the numbers are in the table below",
    )
    return figure(title, [_bars_legend(kinds), svg], table)


def _bars_legend(kinds: Sequence[str]) -> Html:
    box = el("rect", width=12, height=12)
    items = [el("li", swatch(box, f"bar p{n}"), kind) for n, kind in enumerate(kinds)]
    return el("ul", items, el("li", swatch(box, "bar failed"), "did not end well"), class_="legend")


@frozen
class Interval:
    """A relative change with its interval; ``word``: the verdict."""

    label: str
    low: float
    middle: float
    high: float
    word: str


def forest(title: str, rows: Sequence[Interval]) -> Html:
    """Intervals below one another, and where zero is; the numbers stand in the table above it."""
    if not rows:
        return Html("")
    left, line = 210, 22
    furthest = max(max(abs(r.low), abs(r.high)) for r in rows) * 100 or 1.0
    reach = min(furthest, 100.0)
    marks = ticks(-reach, reach, 6)
    axis = Axis(marks[0], marks[-1], left + 20.0, 840.0, marks=marks)
    base = len(rows) * line + 6
    parts: list[Html] = [el("path", d="".join(f"M{axis.at(v):.1f},0V{base}" for v in marks), class_="grid")]
    parts.append(el("path", d=f"M{axis.at(0.0):.1f},0V{base}", class_="zero"))
    parts += [el("text", f"{v:+g}%" if v else "0", x=f"{axis.at(v):.1f}", y=base + 14, class_="tx") for v in marks]
    clipped = False
    for n, row in enumerate(rows):
        middle = n * line + 14
        low, at, high = (axis.at(min(max(v * 100, marks[0]), marks[-1])) for v in (row.low, row.middle, row.high))
        beyond = (row.low * 100 < marks[0], row.high * 100 > marks[-1])
        look = {"better": "good", "worse": "bad", "cannot tell": "warn"}.get(row.word, "soft")
        said = el("title", f"{row.label}: {row.middle:+.2%}, {row.low:+.2%} to {row.high:+.2%}, {row.word}")
        shown = row.label if len(row.label) <= 30 else f"{row.label[:29]}…"
        parts.append(el("text", shown, x=left - 8, y=middle + 4, class_="ty"))
        parts.append(el("path", said, d=f"M{low:.1f},{middle}H{high:.1f}", class_=f"whisker {look}"))
        if marks[0] <= row.middle * 100 <= marks[-1]:
            parts.append(el("circle", cx=f"{at:.1f}", cy=middle, r="4", class_=f"point {look}"))
        # What goes on beyond the scale ends in an arrow.
        arrows = ((axis.start, -1), (axis.end, 1))
        for (edge, way), is_cut in zip(arrows, beyond, strict=True):
            if is_cut:
                clipped = True
                tip = f"M{edge:g} {middle - 6}l{way * 12} 6 {-way * 12} 6z"
                parts.append(el("path", d=tip, class_=f"point beyond {look}"))
    svg = el(
        "svg",
        parts,
        viewBox=f"0 0 880 {base + 20}",
        role="img",
        aria_label=f"{title}; the numbers are in the table above",
    )
    note = "An arrow: the interval goes on beyond the scale; the table has its ends." if clipped else None
    return el("figure", el("figcaption", title), svg, el("p", note, class_="soft") if note else None, class_="broad")
