"""Charts as SVG that is drawn here and needs no script; each comes with its numbers in a table."""

from __future__ import annotations

import math
from collections.abc import Sequence

from attrs import field, frozen

from playbook_plugins.stats.faults import Struck

from .markup import Html, Table, el

Point = tuple[float, float]
_LEFT, _RIGHT, _TOP, _BOTTOM = 72, 16, 10, 40
_GANTT = 1180


@frozen
class Series:
    """A named curve.

    ``shape``: ``line``, ``step`` (holds until the next point) or ``dots`` (with a label each, shown if ``named``).
    """

    name: str
    points: Sequence[Point]
    shape: str = "line"
    labels: Sequence[str] = ()
    colour: int | None = None
    named: bool = True


@frozen
class Limit:
    """A line that is not to be crossed."""

    value: float
    label: str
    axis: str = "y"


def fault_marks(faults: Sequence[Struck], start: float, end: float) -> list[Limit]:
    """Where faults struck and were healed, by number, on an axis of seconds since ``start``; what lies outside is left out."""
    marks = {(f.struck, f"⚡{f.index + 1}") for f in faults}
    marks |= {(f.ended, f"✓{f.index + 1}") for f in faults if f.healed and f.ended is not None}
    return [Limit(at - start, words, "x") for at, words in sorted(marks) if start <= at <= end]


@frozen
class Chart:
    """What to draw. ``span``: the range of x, if not that of the points; ``top``: of y."""

    title: str
    x: str
    y: str
    series: Sequence[Series]
    limits: Sequence[Limit] = ()
    log_x: bool = False
    whole_x: bool = False
    width: int = 570
    height: int = 240
    top: float | None = None
    span: tuple[float, float] | None = None


@frozen
class _Axis:
    low: float
    high: float
    start: float
    end: float
    log: bool = False
    marks: list[float] = field(factory=list)

    def at(self, value: float) -> float:
        """Where a value lies, in units of the drawing."""
        low, high, value = (math.log10(v) if self.log else v for v in (self.low, self.high, value))
        return self.start + (value - low) / ((high - low) or 1.0) * (self.end - self.start)

    def said(self) -> str:
        """For the script that shows the values under the pointer."""
        return f"{self.start} {self.end} {self.low:.9g} {self.high:.9g} {int(self.log)}"


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers that cover a range.

    >>> ticks(0, 97)
    [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]
    """
    raw = (high - low) / max(1, count) or 1.0
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * 0.999)
    first = math.floor(low / step + 1e-9)
    last = math.ceil(high / step - 1e-9)
    return [round(n * step, 12) for n in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 of each decade that the range touches; only the decades if those are many, round numbers if they are few.

    >>> log_ticks(8, 400), log_ticks(410, 480)
    ([10.0, 20.0, 50.0, 100.0, 200.0], [420.0, 440.0, 460.0, 480.0])
    """
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    leads = (1, 2, 5) if len(decades) <= 4 else (1,)
    found = [m * 10.0**d for d in decades for m in leads if low <= m * 10.0**d <= high]
    return found if len(found) > 2 else [t for t in ticks(low, high, 4) if low <= t <= high]


def short(value: float) -> str:
    """A number for an axis.

    >>> short(0.5), short(1500.0), short(2_000_000.0), short(0.0)
    ('0.5', '1.5k', '2M', '0')
    """
    for limit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.4g}{letter}"
    return f"{value:.4g}"


def figure(title: str, drawing: Sequence[Html], table: Table) -> Html:
    """Drawings with their title and the table of their numbers, folded away: for those who do not see, and to copy."""
    return el("figure", el("figcaption", title), drawing, el("details", el("summary", "Table"), table.html()))


def draw(chart: Chart, table: Table) -> Html:
    """A chart with its table; nothing if there is nothing to draw."""
    drawn = drawing(chart)
    return figure(chart.title, drawn, table) if drawn else Html("")


def panels(title: str, charts: Sequence[Chart], table: Table, *, beside: bool = False) -> Html:
    """Charts of the same span, one below the other or ``beside`` one another, with one table for all."""
    parts = [el("div", el("p", c.title, class_="panel"), drawn) for c in charts if (drawn := drawing(c))]
    return figure(title, [el("div", parts, class_="beside")] if beside else parts, table)


def drawing(chart: Chart) -> list[Html]:
    """The legend, if there is more than one curve, and the drawing."""
    points = [p for s in chart.series for p in s.points if p[1] == p[1]]
    if not points:
        return []
    x, y = _x_axis(chart, points), _y_axis(chart, points)
    parts = [*_grid(chart, x, y)]
    for n, series in enumerate(chart.series):
        colour = n if series.colour is None else series.colour
        parts.append(
            _dots(series, x, y, colour) if series.shape == "dots" else _curve(series, x, y, f"k{colour % 8} d{n % 4}")
        )
    parts += [_limit(limit, x, y) for limit in chart.limits]
    svg = el(
        "svg",
        parts,
        viewBox=f"0 0 {chart.width} {chart.height}",
        role="img",
        aria_label=f"{chart.title}: {chart.y} against {chart.x}; the numbers are in the table below",
        class_="plot",
        data_x=x.said(),
        data_y=y.said(),
    )
    return [_legend(chart.series), svg] if sum(bool(s.name) for s in chart.series) > 1 else [svg]


def _x_axis(chart: Chart, points: Sequence[Point]) -> _Axis:
    values = [p[0] for p in points] + [v.value for v in chart.limits if v.axis == "x"]
    low, high = chart.span or (min(values), max(values))
    start, end = float(_LEFT), float(chart.width - _RIGHT)
    if chart.log_x and low > 0:
        if high / low < 1.5:
            low, high = low / 1.3, high * 1.3
        return _Axis(low, high, start, end, log=True, marks=log_ticks(low, high))
    if chart.whole_x:
        marks = [t for t in ticks(low, high, 8) if t == int(t) and low <= t <= high]
        return _Axis(low - 0.5, high + 0.5, start, end, marks=marks)
    if chart.span is None:
        marks = ticks(min(0.0, low), high or 1.0, 8)
        return _Axis(marks[0], marks[-1], start, end, marks=marks)
    return _Axis(low, high, start, end, marks=[t for t in ticks(low, high, 8) if low <= t <= high])


def _y_axis(chart: Chart, points: Sequence[Point]) -> _Axis:
    values = [p[1] for p in points] + [v.value for v in chart.limits if v.axis == "y"]
    high = chart.top if chart.top is not None else max(values)
    marks = ticks(min(0.0, *values), high if high > 0 else 1.0, 4 if chart.height > 160 else 2)
    return _Axis(marks[0], marks[-1], float(chart.height - _BOTTOM), float(_TOP), marks=marks)


def _grid(chart: Chart, x: _Axis, y: _Axis) -> list[Html]:
    left, right, base = x.start, x.end, y.start
    lines = "".join(f"M{left:g},{y.at(v):.1f}H{right:g}" for v in y.marks)
    parts = [el("path", d=lines, class_="grid")]
    parts += [el("text", short(v), x=f"{left - 8:g}", y=f"{y.at(v) + 4:.1f}", class_="ty") for v in y.marks]
    parts += [el("text", short(v), x=f"{x.at(v):.1f}", y=f"{base + 16:g}", class_="tx") for v in x.marks]
    middle = (y.start + y.end) / 2
    parts.append(el("text", chart.x, x=f"{(left + right) / 2:g}", y=f"{base + 34:g}", class_="tx"))
    turned = f"rotate(-90 14 {middle:g})"
    parts.append(el("text", chart.y, x="14", y=f"{middle:g}", class_="tx", transform=turned))
    return parts


def _curve(series: Series, x: _Axis, y: _Axis, look: str) -> Html:
    words: list[str] = []
    before = None
    for value, height in series.points:
        if height != height:  # a gap: nothing is known here
            before = None
            continue
        at = f"{x.at(value):.1f}"
        if before is None:
            words.append(f"M{at},{y.at(height):.1f}")
        elif series.shape == "step":
            words.append(f"H{at}V{y.at(height):.1f}")
        else:
            words.append(f"L{at},{y.at(height):.1f}")
        before = height
    return el("path", d="".join(words), class_=f"line {look}", data_name=series.name)


def _dots(series: Series, x: _Axis, y: _Axis, colour: int) -> Html:
    parts: list[Html] = []
    labels = series.labels or [series.name] * len(series.points)
    for (value, height), label in zip(series.points, labels, strict=True):
        at, up = x.at(value), y.at(height)
        title = el("title", f"{label}: {short(value)}, {short(height)}")
        parts.append(el("circle", title, cx=f"{at:.1f}", cy=f"{up:.1f}", r="5", class_=f"dot k{colour % 8}"))
    if series.named and len(series.points) <= 12:
        parts += _names(series.points, labels, x, y)
    return el("g", parts)


def _names(points: Sequence[Point], labels: Sequence[str], x: _Axis, y: _Axis) -> list[Html]:
    """The labels of dots, each on the side where there is room, none upon another."""
    parts: list[Html] = []
    taken: list[tuple[float, float]] = []
    for (value, height), label in sorted(zip(points, labels, strict=True), key=lambda p: p[0][1]):
        at, up = x.at(value), y.at(height) + 4
        while any(abs(up - other) < 12 and abs(at - beside) < 150 for beside, other in taken):
            up -= 12
        taken.append((at, up))
        left = at > (x.start + x.end) * 0.6
        side = {"x": f"{at + (-9 if left else 9):.1f}", "y": f"{up:.1f}", "class_": "ty" if left else "tl"}
        parts.append(el("text", label if len(label) <= 28 else f"{label[:27]}…", **side))
    return parts


def _limit(limit: Limit, x: _Axis, y: _Axis) -> Html:
    if limit.axis == "x":
        at = f"{x.at(limit.value):.1f}"
        line = el("path", d=f"M{at},{y.start:g}V{y.end:g}", class_="limit")
        return el("g", line, el("text", limit.label, x=at, y=f"{y.end + 10:g}", class_="tl bad"))
    at = f"{y.at(limit.value):.1f}"
    beside = float(at) + (12 if float(at) < y.end + 12 else -4)  # below a line that lies at the top
    line = el("path", d=f"M{x.start:g},{at}H{x.end:g}", class_="limit")
    return el("g", line, el("text", limit.label, x=f"{x.end:g}", y=f"{beside:.1f}", class_="ty bad"))


def _legend(series: Sequence[Series]) -> Html:
    items = []
    for n, s in enumerate(series):
        if not s.name:
            continue
        colour = n if s.colour is None else s.colour
        swatch = el(
            "svg",
            el("path", d="M0,6H18", class_=f"line k{colour % 8} d{n % 4}"),
            viewBox="0 0 18 12",
            class_="swatch",
            aria_hidden="true",
        )
        items.append(el("li", swatch, s.name))
    return el("ul", items, class_="legend")


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
    axis = _Axis(0.0, marks[-1], float(left), float(_GANTT - _RIGHT), marks=marks)
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
    def swatch(kind: str) -> Html:
        return el("svg", el("rect", class_=kind, width=12, height=12), viewBox="0 0 12 12", class_="swatch",
                  aria_hidden="true")  # fmt: skip

    items = [el("li", swatch(f"bar p{n}"), kind) for n, kind in enumerate(kinds)]
    return el("ul", items, el("li", swatch("bar failed"), "did not end well"), class_="legend")


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
    axis = _Axis(marks[0], marks[-1], float(left), 860.0, marks=marks)
    base = len(rows) * line + 6
    parts: list[Html] = [el("path", d="".join(f"M{axis.at(v):.1f},0V{base}" for v in marks), class_="grid")]
    parts.append(el("path", d=f"M{axis.at(0.0):.1f},0V{base}", class_="zero"))
    parts += [el("text", f"{v:+g}%" if v else "0", x=f"{axis.at(v):.1f}", y=base + 14, class_="tx") for v in marks]
    for n, row in enumerate(rows):
        middle = n * line + 14
        low, at, high = (axis.at(min(max(v * 100, marks[0]), marks[-1])) for v in (row.low, row.middle, row.high))
        look = {"better": "good", "worse": "bad", "cannot tell": "warn"}.get(row.word, "soft")
        said = el("title", f"{row.label}: {row.middle:+.2%}, {row.low:+.2%} to {row.high:+.2%}, {row.word}")
        shown = row.label if len(row.label) <= 30 else f"{row.label[:29]}…"
        parts.append(el("text", shown, x=left - 8, y=middle + 4, class_="ty"))
        parts.append(el("path", said, d=f"M{low:.1f},{middle}H{high:.1f}", class_=f"whisker {look}"))
        parts.append(el("circle", cx=f"{at:.1f}", cy=middle, r="4", class_=f"point {look}"))
    svg = el(
        "svg",
        parts,
        viewBox=f"0 0 880 {base + 20}",
        role="img",
        aria_label=f"{title}; the numbers are in the table above",
    )
    return el("figure", el("figcaption", title), svg, class_="broad")
