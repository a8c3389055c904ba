"""Charts as SVG that is drawn here and needs no script; each comes with its numbers in a table."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from attrs import field, frozen

from playbook_plugins.stats.faults import Struck

from .markup import Html, Table, el

Point = tuple[float, float]
_UPON = 6.0
"""How near two dots are to be taken for one, in units of the drawing."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 72, 16, 10, 40
OVER_TIME = "time"
"""The class of a figure that the page's script gives a button for a closer look."""


@frozen
class Series:
    """A named curve.

    ``shape``: ``line``, ``step`` (holds until the next point) or ``dots`` (with a label each, shown if ``named``).
    ``band``: for each point the least and the most of what the curve stands for.
    """

    name: str
    points: Sequence[Point]
    shape: str = "line"
    labels: Sequence[str] = ()
    colour: int | None = None
    named: bool = True
    dash: int | None = None
    band: Sequence[tuple[float, float]] = ()


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
    """What to draw.

    ``span``: the range of x, if not that of the points; ``top``: of y. ``legend``: what it names, if not each curve.
    ``digits``: of a coordinate; without any a curve is as exact as a screen, and half as long.
    """

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
    legend: Sequence[Series] | None = None
    digits: int = 1


@frozen
class Axis:
    """A scale, linear or logarithmic: which values lie where, and which of them are marked."""

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
        """For the scripts that read values back from the drawing."""
        return f"{self.start:g} {self.end:g} {self.low:.5g} {self.high:.5g}{' 1' if self.log else ''}"


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


def figure(title: str, drawing: Sequence[Html], table: Table, **attributes: object) -> Html:
    """Drawings with their title and the table of their numbers, folded away: for those who do not see, and to copy."""
    folded = el("details", el("summary", "Table"), table.html())
    return el("figure", el("figcaption", title), drawing, folded, **attributes)


def draw(chart: Chart, table: Table) -> Html:
    """A chart with its table; nothing if there is nothing to draw."""
    drawn = drawing(chart)
    return figure(chart.title, [legend(chart.series), drawn], table) if drawn else Html("")


def panels(
    title: str, charts: Sequence[Chart], table: Table, *, beside: bool = False, note: str = "", by_row: bool = False
) -> Html:
    """Charts of the same span of time, one below the other or ``beside`` one another, with one table for all.

    Charts that follow one another and have the same curves have one legend, above the first of them. ``by_row``: a row
    of the table is a stretch of that time, and its columns are the curves in their order; a closer look takes its
    values from there then, for a drawing is no more exact than a screen.
    """
    parts: list[Html] = []
    said: Html | None = None
    for chart in charts:
        drawn, words = drawing(chart, f"{chart.title} in {chart.y} over time"), legend_of(chart)
        if drawn:
            parts += [words] if words and words != said else []
            parts.append(el("div", el("p", chart.title, class_="panel"), drawn))
            said = words
    shown = [el("div", parts, class_="beside")] if beside else parts
    parts = [*shown, el("p", note, class_="soft")] if note else shown
    return figure(title, parts, table, class_=OVER_TIME if said is not None else None, data_rows=by_row)


def drawing(chart: Chart, told: str = "") -> Html:
    """The drawing, without its legend; ``told``: what it is, for those who cannot see it."""
    points = [p for s in chart.series for p in s.points if p[1] == p[1]]
    if not points:
        return Html("")
    high = [top for s in chart.series for _, top in s.band if top == top]
    x, y = _x_axis(chart, points), _y_axis(chart, [*(p[1] for p in points), *high])
    parts = [*_grid(chart, x, y)]
    for n, series in enumerate(chart.series):
        colour = (n if series.colour is None else series.colour) % 8
        parts += (
            [_dots(series, x, y, colour)]
            if series.shape == "dots"
            else [
                *_band(series, x, y, f"band k{colour}", chart.digits),
                *_curve(series, x, y, _look(n, series), chart.digits),
            ]
        )
    parts += [_limit(limit, x, y) for limit in chart.limits]
    return el(
        "svg",
        parts,
        viewBox=f"0 0 {chart.width} {chart.height}",
        role="img",
        aria_label=told or f"{chart.title}: {chart.y} against {chart.x}; the numbers are in the table below",
        class_="plot",
    )


def _look(n: int, series: Series) -> str:
    """The classes that tell the n-th curve from others: a colour, and a dash for those who see no colours."""
    colour, dash = n if series.colour is None else series.colour, n if series.dash is None else series.dash
    return f"k{colour % 8}{f' d{dash % 4}' if dash % 4 else ''}"


def _x_axis(chart: Chart, points: Sequence[Point]) -> Axis:
    values = [p[0] for p in points] + [v.value for v in chart.limits if v.axis == "x"]
    low, high = chart.span or (min(values), max(values))
    start, end = float(_LEFT), float(chart.width - _RIGHT)
    if chart.log_x and low > 0:
        if high / low < 1.5:
            low, high = low / 1.3, high * 1.3
        return Axis(low, high, start, end, log=True, marks=log_ticks(low, high))
    if chart.whole_x:
        marks = [t for t in ticks(low, high, 8) if t == int(t) and low <= t <= high]
        return Axis(low - 0.5, high + 0.5, start, end, marks=marks)
    if chart.span is None:
        marks = ticks(min(0.0, low), high or 1.0, 8)
        return Axis(marks[0], marks[-1], start, end, marks=marks)
    return Axis(low, high, start, end, marks=[t for t in ticks(low, high, 8) if low <= t <= high])


def _y_axis(chart: Chart, heights: Sequence[float]) -> Axis:
    values = [*heights] + [v.value for v in chart.limits if v.axis == "y"]
    high = chart.top if chart.top is not None else max(values)
    marks = ticks(min(0.0, *values), high if high > 0 else 1.0, 4 if chart.height > 160 else 2)
    return Axis(marks[0], marks[-1], float(chart.height - _BOTTOM), float(_TOP), marks=marks)


def _grid(chart: Chart, x: Axis, y: Axis) -> list[Html]:
    """Two groups, one for each axis with its scale, which other charts with the same axis share (see :func:`shared`)."""
    left, right, base = x.start, x.end, y.start
    lines = "".join(f"M8 {_n(y.at(v) - 4)}H{_n(right - left + 8)}" for v in y.marks)
    parts = [el("path", d=lines, class_="grid"), *(el("text", short(v), y=_n(y.at(v))) for v in y.marks)]
    middle = _n((y.start + y.end) / 2 - 4)
    turned = {"x": _n(22 - left), "y": middle, "transform": f"rotate(-90 {_n(22 - left)} {middle})"}
    parts.append(el("text", chart.y, class_="tx", **turned))
    up = el("g", parts, class_="ty", data_at=y.said(), transform=f"translate({_n(left - 8)} 4)")
    parts = [el("text", short(v), x=_n(x.at(v))) for v in x.marks]
    parts.append(el("text", chart.x, x=_n((left + right) / 2), y=18))
    return [up, el("g", parts, class_="tx", data_at=x.said(), transform=f"translate(0 {_n(base + 16)})")]


def _n(value: float) -> str:
    """A coordinate: a tenth of a pixel is enough.

    >>> _n(12.04), _n(-0.52), _n(-0.01)
    ('12', '-.5', '0')
    """
    text = f"{abs(round(value, 1)):.1f}".removesuffix(".0")
    sign = "-" if value <= -0.05 else ""
    return sign + (text.removeprefix("0") if text != "0" else text)


def _pair(x: float, y: float) -> str:
    """Two numbers of a path, with a space only where it needs one."""
    first, second = _n(x), _n(y)
    joined = second[0] == "-" or (second[0] == "." and "." in first)
    return f"{first}{'' if joined else ' '}{second}"


def runs(points: Sequence[Point]) -> list[list[Point]]:
    """The stretches between gaps: where nothing is known, no line is drawn.

    >>> runs([(0, 1), (1, math.nan), (2, 3), (3, 4)])
    [[(0, 1)], [(2, 3), (3, 4)]]
    """
    found: list[list[Point]] = [[]]
    for point in points:
        if point[1] == point[1]:
            found[-1].append(point)
        else:
            found.append([])
    return [run for run in found if run]


def path(points: Sequence[Point], shape: str = "line", digits: int = 1) -> str:
    """A curve through points of the drawing, each told from the one before; rounding does not add up.

    >>> path([(10, 20), (15.26, 20.5), (20.52, 11)]), path([(10, 20), (15, 20), (20, 11)], "step")
    ('M10 20l5.3.5 5.2-9.5', 'M10 20h10v-9')
    >>> path([(20, 10), (10, 10), (0, 20)])
    'M20 10l-10 0-10 10'
    """
    exact = [(round(x, digits), round(y, digits)) for x, y in points]
    start = "M" + _pair(*exact[0])
    moves = [(b[0] - a[0], b[1] - a[1]) for a, b in itertools.pairwise(exact)]
    if shape == "step":
        return start + _steps(moves)
    pairs = [_pair(*move) for move in moves]
    return start + "".join(f"{'l' if n == 0 else '' if pair[0] == '-' else ' '}{pair}" for n, pair in enumerate(pairs))


def _steps(moves: Sequence[Point]) -> str:
    """Moves across and then up or down, those of one direction made one."""
    words: list[list[float | str]] = []
    for move in moves:
        for letter, by in zip("hv", move, strict=True):
            if abs(by) < 0.01:
                continue
            if words and words[-1][0] == letter:
                words[-1][1] = float(words[-1][1]) + by
            else:
                words.append([letter, by])
    return "".join(f"{letter}{_n(float(by))}" for letter, by in words)


def _curve(series: Series, x: Axis, y: Axis, look: str, digits: int) -> list[Html]:
    stretches = [[(x.at(at), y.at(up)) for at, up in run] for run in runs(series.points)]
    line = "".join(path(run, series.shape, digits) for run in stretches)
    drawn = [el("path", d=line, class_=f"line {look}", data_name=series.name)] if line else []
    # A value that stands alone has no line; it is a point.
    alone = "".join(f"M{_pair(*run[0])}h.01" for run in stretches if len(run) == 1)
    return [*drawn, el("path", d=alone, class_=f"alone {look.split()[0]}")] if alone else drawn


def _band(series: Series, x: Axis, y: Axis, look: str, digits: int) -> list[Html]:
    """The area between the least and the most of what a curve stands for."""
    if not series.band:
        return []
    low = runs([(p[0], b[0]) for p, b in zip(series.points, series.band, strict=True)])
    high = runs([(p[0], b[1]) for p, b in zip(series.points, series.band, strict=True)])
    around = [[*top, *reversed(under)] for top, under in zip(high, low, strict=True)]
    line = "".join(f"{path([(x.at(at), y.at(up)) for at, up in run], digits=digits)}z" for run in around)
    return [el("path", d=line, class_=look)]


def _dots(series: Series, x: Axis, y: Axis, colour: int) -> Html:
    parts: list[Html] = []
    labels = series.labels or [series.name] * len(series.points)
    for (value, height), label in zip(series.points, labels, strict=True):
        at, up = x.at(value), y.at(height)
        title = el("title", f"{label}: {short(value)}, {short(height)}")
        parts.append(el("circle", title, cx=_n(at), cy=_n(up), r=5, class_=f"dot k{colour % 8}"))
    if series.named and len(series.points) <= 12:
        parts += _names(series.points, labels, x, y)
    return el("g", parts)


def _names(points: Sequence[Point], labels: Sequence[str], x: Axis, y: Axis) -> list[Html]:
    """The labels of dots, each on the side where there is room, none upon another."""
    parts: list[Html] = []
    taken: list[tuple[float, float]] = []
    places = [(x.at(value), y.at(height)) for value, height in points]
    for (at, up), label in sorted(together(places, labels), key=lambda p: -p[0][1]):
        up += 4
        while any(abs(up - other) < 12 and abs(at - beside) < 150 for beside, other in taken):
            up -= 12
        taken.append((at, up))
        left = at > (x.start + x.end) * 0.6
        side = {"x": f"{at + (-9 if left else 9):.1f}", "y": f"{up:.1f}", "class_": "ty" if left else "tl"}
        parts.append(el("text", label if len(label) <= 28 else f"{label[:27]}…", **side))
    return parts


def together(places: Sequence[Point], labels: Sequence[str]) -> list[tuple[Point, str]]:
    """One label for the dots that lie upon one another.

    >>> together([(10, 20), (90, 20), (12, 21), (11, 20)], ["a", "b", "c", "d"])
    [((10, 20), 'a and 2 more'), ((90, 20), 'b')]
    """
    found: list[tuple[Point, list[str]]] = []
    for place, label in zip(places, labels, strict=True):
        near = (own for at, own in found if math.dist(at, place) < _UPON)
        if (names := next(near, None)) is not None:
            names.append(label)
        else:
            found.append((place, [label]))
    return [(at, own[0] if len(own) == 1 else f"{own[0]} and {len(own) - 1} more") for at, own in found]


def _limit(limit: Limit, x: Axis, y: Axis) -> Html:
    if limit.axis == "x":
        at = f"{x.at(limit.value):.1f}"
        line = el("path", d=f"M{at},{y.start:g}V{y.end:g}", class_="limit")
        return el("g", line, el("text", limit.label, x=at, y=f"{y.end + 10:g}", class_="tl bad"))
    at = f"{y.at(limit.value):.1f}"
    beside = float(at) + (12 if float(at) < y.end + 12 else -4)  # below a line that lies at the top
    line = el("path", d=f"M{x.start:g},{at}H{x.end:g}", class_="limit")
    return el("g", line, el("text", limit.label, x=f"{x.end:g}", y=f"{beside:.1f}", class_="ty bad"))


def legend_of(chart: Chart) -> Html:
    """The legend that a chart asks for."""
    return legend(chart.series if chart.legend is None else chart.legend)


def legend(series: Sequence[Series]) -> Html:
    """Which curve is which, if there is more than one."""
    named = [(n, s) for n, s in enumerate(series) if s.name]
    items = [el("li", swatch(el("path", d="M0 6H18"), _look(n, s)), s.name) for n, s in named]
    return el("ul", items, class_="legend") if len(items) > 1 else Html("")


def swatch(sample: Html, look: str) -> Html:
    """A piece of a drawing, beside its name."""
    return el("svg", sample, class_=f"swatch {look}", aria_hidden="true")
