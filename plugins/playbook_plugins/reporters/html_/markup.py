"""HTML that cannot be got wrong: text is escaped unless it is already :class:`Html`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from attrs import field, frozen

_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;"}
_SPECIAL = re.compile(r"[&<>\"']")
_VOID = {"meta", "br", "input", "hr"}


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
    opening = f"<{' '.join(words)}>"
    return Html(opening if tag in _VOID else f"{opening}{html(content)}</{tag}>")


@frozen
class Cell:
    """``key``: what the column is sorted by, if that is not what is shown. ``kind``: a class of the style sheet."""

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
        """The table, which the page's script makes sortable and copyable; columns without any content are left out."""
        kept = [n for n in range(len(self.head)) if n == 0 or not self.rows or any(_shown(r[n]) for r in self.rows)]
        right = "".join(f" n{place + 1}" for place, n in enumerate(kept) if n in self.numeric)
        # End tags of rows and cells may be left out in HTML, and a long campaign has very many.
        body = "".join(f"<tr>{''.join(_cell(row[n], first=n == 0) for n in kept)}" for row in self.rows)
        table = el(
            "table",
            el("caption", self.caption, class_="sr" if self.hide_caption else None),
            Html(
                f"<thead><tr>{''.join(el('th', self.head[n], scope='col') for n in kept)}</thead><tbody>{body}</tbody>"
            ),
            class_=f"data{right}",
        )
        return el("div", table, class_="scroll", tabindex="0", role="region", aria_label=self.caption)


def _shown(cell: Cell | Content) -> bool:
    return bool(html(cell.shown if isinstance(cell, Cell) else cell))


def _cell(cell: Cell | Content, *, first: bool) -> Html:
    made = cell if isinstance(cell, Cell) else Cell(cell)
    tag = "th scope=row" if first else "td"
    key = "" if made.key is None else f' data-v="{escape(made.key)}"'
    kind = f' class="{escape(made.kind)}"' if made.kind else ""
    return Html(f"<{tag}{kind}{key}>{html(made.shown)}")
