"""HTML that cannot be got wrong: text is escaped unless it is already :class:`Html`."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence

from attrs import field, frozen

_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;"}
_AXIS = re.compile(r'<g class="t[xy]".*?</g>')
_SPECIAL = re.compile(r"[&<>\"']")
_VOID = {"meta", "br", "input", "hr"}
_EMPTY = {"path", "rect", "circle", "use"}
"""Elements of a drawing, which may end where they begin if nothing is in them."""


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


Content = str | int | None | Iterable["Content"]


def escape(value: object) -> Html:
    """Any text as text: markup in it is shown, control characters that a page must not have are marked."""
    text = _CONTROLS.sub("\ufffd", str(value))
    return Html(_SPECIAL.sub(lambda m: _ESCAPES[m[0]], text))


def html(content: Content) -> Html:
    """Content as markup; parts of a sequence follow one another."""
    if isinstance(content, Html):
        return content
    if content is None:
        return Html("")
    if isinstance(content, (str, int)):
        return escape(content)
    return Html("".join(html(part) for part in content))


def el(tag: str, *content: Content, **attributes: object) -> Html:
    """An element. ``class_`` and ``data_x`` are the attributes ``class`` and ``data-x``; False and None: left out.

    >>> el("p", "a < b", el("br"), class_="x", hidden=True, id=None)
    '<p class="x" hidden>a &lt; b<br></p>'
    """
    words = [tag]
    for name, value in attributes.items():
        if value is None or value is False:
            continue
        key = name.rstrip("_").replace("_", "-")
        words.append(key if value is True else f'{key}="{escape(value)}"')
    opening, inner = " ".join(words), html(content)
    if tag in _EMPTY and not inner:
        return Html(f"<{opening}/>")
    return Html(f"<{opening}>" if tag in _VOID else f"<{opening}>{inner}</{tag}>")


def shared(page: Html) -> Html:
    """The page with each axis that many drawings have written once, and used by the others."""
    counts = Counter(_AXIS.findall(page))
    names: dict[str, str] = {}

    def again(found: re.Match[str]) -> str:
        axis = found[0]
        if counts[axis] == 1:
            return axis
        if axis in names:
            return f'<use href="#{names[axis]}"/>'
        names[axis] = f"a{len(names)}"
        return f'<g id="{names[axis]}"{axis.removeprefix("<g")}'

    return Html(_AXIS.sub(again, page))


@frozen
class Cell:
    """``key``: what the column is sorted by, if that is not the number that is shown. ``kind``: a class of the style sheet."""

    shown: Content
    key: float | str | None = None
    kind: str = ""


Row = Sequence["Cell | Content"]


@frozen
class Table:
    """``numeric``: the columns whose cells stand to the right. The first column heads its row."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Row] = field(factory=list)
    numeric: frozenset[int] = frozenset()
    hide_caption: bool = False

    def html(self) -> Html:
        """The table, which the page's script makes sortable, copyable and a region with a name.

        Columns without any content are left out.
        """
        kept = [n for n in range(len(self.head)) if n == 0 or not self.rows or any(_shown(r[n]) for r in self.rows)]
        right = "".join(f" n{place + 1}" for place, n in enumerate(kept) if n in self.numeric)
        # These end tags may be left out in HTML, and a long campaign has very many.
        body = "".join(f"<tr>{''.join(_cell(row[n], first=n == 0) for n in kept)}" for row in self.rows)
        table = el(
            "table",
            Html(el("caption", self.caption, class_="sr" if self.hide_caption else None).removesuffix("</caption>")),
            Html(f"<thead><tr>{''.join(f'<th scope=col>{html(self.head[n])}' for n in kept)}<tbody>{body}"),
            class_=f"data{right}",
        )
        return el("div", table, class_="scroll")


def _shown(cell: Cell | Content) -> bool:
    return bool(html(cell.shown if isinstance(cell, Cell) else cell))


def _cell(cell: Cell | Content, *, first: bool) -> Html:
    made = cell if isinstance(cell, Cell) else Cell(cell)
    tag = "th scope=row" if first else "td"
    key = "" if made.key is None or _says(made) else f' data-v="{escape(made.key)}"'
    kind = f' class="{escape(made.kind)}"' if made.kind else ""
    return Html(f"<{tag}{kind}{key}>{html(made.shown)}")


def _says(cell: Cell) -> bool:
    """Whether what is shown is the key, but for digits that nobody needs to sort by."""
    try:
        shown, key = float(str(cell.shown).replace(",", "")), float(cell.key or 0)
    except ValueError:
        return False
    return math.isclose(shown, key, rel_tol=0.0006)
