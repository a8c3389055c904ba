"""The page in a real browser."""

from __future__ import annotations

from pathlib import Path

import pytest
from playbook_plugins.reporters.html_ import HtmlReporter
from playbook_plugins.reporters.html_.charts import Chart, Series, draw
from playbook_plugins.reporters.html_.markup import Table, el
from playbook_plugins.reporters.html_.page import shell
from playbook_plugins.reporters.html_.rows import Interval, forest
from playbook_plugins.reporters.source import Options

from tests.plugins.reporters.browser import Browser, Page
from tests.plugins.reporters.samples import hostile

FIRST = "document.querySelector('table.data')"


def column(page: Page, n: int) -> list[str]:
    return page.run(f"[...{FIRST}.tBodies[0].rows].map(r => r.cells[{n}].textContent)")


def heads(page: Page) -> list[str]:
    return page.run(f"[...{FIRST}.tHead.rows[0].cells].map(c => c.textContent)")


def test_nothing_is_loaded_and_nothing_is_complained_about(page: Page):
    assert page.requested() == [page.run("location.href")]
    assert page.complaints() == []


def test_the_policy_stops_what_got_in(page: Page):
    page.run("document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.evil = 1'}))")
    assert page.run("typeof window.evil") == "undefined"
    assert any("Content Security Policy" in c for c in page.complaints())


def test_tables_sort_by_number_and_say_so(page: Page):
    names = heads(page)
    at = names.index("TTFT p99 ms")
    press = f"{FIRST}.tHead.rows[0].cells[{at}].querySelector('button').click()"
    page.run(press)
    assert [v for v in column(page, at) if v] == ["90.5", "150.2", "150.2"]
    assert page.run(f"{FIRST}.tHead.rows[0].cells[{at}].getAttribute('aria-sort')") == "ascending"
    page.run(press)
    assert column(page, at) == ["150.2", "150.2", "90.5", "", ""]  # what is not known comes last either way
    page.run(f"{FIRST}.tHead.rows[0].cells[0].querySelector('button').click()")
    assert column(page, 0)[0] == "001_pd"
    assert page.run(f"{FIRST}.querySelectorAll('[aria-sort]').length") == 1


def test_a_keyboard_is_enough(page: Page):
    page.press("Tab", 9)
    assert page.run("document.activeElement.textContent") == "Skip to the results"
    for _ in range(30):
        page.press("Tab", 9)
        if page.run("document.activeElement.matches('thead button')"):
            break
    else:
        pytest.fail("no column head was reached")
    name = page.run("document.activeElement.textContent")
    page.press("Enter", 13, "\r")
    assert name in page.run("[...document.querySelectorAll('[aria-sort]')].map(h => h.textContent)")
    assert page.run("getComputedStyle(document.activeElement).outlineStyle") != "none"


def test_a_table_is_copied_as_cells_that_no_spreadsheet_runs(browser: Browser, tmp_path: Path):
    [path] = HtmlReporter(Options()).write(hostile(), tmp_path)
    page = browser.open(path.as_uri())
    page.run("Object.defineProperty(navigator, 'clipboard', {value: {writeText: async t => { window.copied = t; }}})")
    page.run(f"{FIRST}.parentElement.querySelector('button.tool').click()")
    rows = [line.split("\t") for line in page.run("window.copied").split("\n")]
    assert rows[0][:2] == ["scenario", "verdict"]
    assert len({len(r) for r in rows}) == 1
    assert rows[2][0].startswith("'=HYPERLINK")


def test_colours_follow_the_system_until_somebody_chooses(page: Page):
    def background() -> str:
        return page.run("getComputedStyle(document.body).backgroundColor")

    page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "light"}])
    light = background()
    page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    dark = background()
    assert light != dark
    page.run("document.getElementById('theme').click()")
    assert background() == light
    page.run("document.getElementById('theme').click()")
    assert background() == dark
    page.run("localStorage.clear()")


# Contrast as WCAG defines it, of every piece of text against what is behind it.
CONTRAST = """
(() => {
  const rgb = (c) => c.match(/[\\d.]+/g).map(Number);
  const lum = (c) => { const [r, g, b] = c.slice(0, 3).map(v => { v /= 255;
    return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const behind = (e) => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor);
    if (c.length < 4 || c[3] > 0) return c; } return [255, 255, 255]; };
  const bad = [];
  for (const e of document.querySelectorAll('body *')) {
    if (![...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()) || !e.getClientRects().length) continue;
    const style = getComputedStyle(e);
    const a = lum(rgb(e.closest('svg') ? style.fill : style.color)), b = lum(behind(e));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) bad.push(`${e.tagName}.${e.getAttribute('class')} ${ratio.toFixed(2)} ${e.textContent.slice(0, 30)}`);
  }
  return bad;
})()
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_what_is_behind_it(page: Page, scheme: str):
    page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    assert page.run(CONTRAST) == []


def test_it_fits_a_phone(page: Page):
    page.call("Emulation.setDeviceMetricsOverride", width=390, height=800, deviceScaleFactor=1, mobile=True)
    assert page.run("document.documentElement.scrollWidth") <= 390


def test_a_screen_reader_finds_its_way(page: Page):
    tree = page.call("Accessibility.getFullAXTree")["nodes"]
    named = [
        (n["role"]["value"], n.get("name", {}).get("value", "")) for n in tree if not n.get("ignored") and "role" in n
    ]
    for role in ("button", "link", "image", "table", "region", "heading"):
        assert [name for r, name in named if r == role], role
        assert all(name for r, name in named if r == role), role
    assert (
        "image",
        "Distribution of latency: share of requests against ms; the numbers are in the table below",
    ) in named
    assert page.run("[...document.querySelectorAll('h1')].length") == 1
    assert page.run("new Set([...document.querySelectorAll('[id]')].map(e => e.id)).size") == page.run(
        "document.querySelectorAll('[id]').length"
    )


def test_values_are_shown_under_the_pointer(page: Page):
    page.run("document.querySelector('svg.plot path[data-name]').scrollIntoView({block: 'center'})")
    box = page.run(
        "(r => [r.left, r.top, r.width, r.height])"
        "(document.querySelector('svg.plot path[data-name]').closest('svg').getBoundingClientRect())"
    )
    page.call("Input.dispatchMouseEvent", type="mouseMoved", x=box[0] + box[2] * 0.6, y=box[1] + box[3] / 2)
    tip = page.run(
        "document.querySelector('svg.plot path[data-name]').closest('figure').querySelector('.tip').textContent"
    )
    assert tip.startswith("TTFT: ")


def look(page: Page) -> list[str]:
    """The colours of text, of an axis, of a grid line, of a curve and of what is behind them."""
    return page.run(
        "[['body', 'color'], ['svg.plot text', 'fill'], ['.grid', 'stroke'], ['.line', 'stroke'], ['body', 'backgroundColor']]"
        ".map(([e, c]) => getComputedStyle(document.querySelector(e))[c])"
    )


def test_paper_is_light_whatever_was_chosen(page: Page):
    page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "light"}])
    light = look(page)
    page.run("document.getElementById('theme').click()")
    dark = look(page)
    assert not set(light) & set(dark)
    for scheme in ("light", "dark"):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        page.call("Emulation.setEmulatedMedia", media="print", features=features)
        assert look(page) == light
    page.run("localStorage.clear()")


def test_charts_stand_two_in_a_row_on_paper_and_what_is_closed_stays_closed(page: Page):
    closed = page.run("document.querySelectorAll('details:not([open])').length")
    page.call("Emulation.setEmulatedMedia", media="print")
    page.call("Emulation.setDeviceMetricsOverride", width=720, height=1000, deviceScaleFactor=1, mobile=False)
    page.run("dispatchEvent(new Event('beforeprint'))")
    assert page.run("document.querySelectorAll('details:not([open])').length") == closed
    tops = page.run(
        "[...document.querySelectorAll('.pair>figure')].slice(0, 2).map(f => f.getBoundingClientRect().top)"
    )
    assert tops[0] == tops[1]
    assert page.run("getComputedStyle(document.querySelector('figure:has(.beside)')).breakInside") == "auto"


def test_the_button_follows_the_system(page: Page):
    for scheme, words in (("light", "Dark colours"), ("dark", "Light colours"), ("light", "Dark colours")):
        page.run("window.frames_left = 100")
        page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        # The page hears of the change with one of the next frames.
        said = page.run(
            "new Promise(done => { const look = () => { const text = document.getElementById('theme').textContent;"
            f"if (text === '{words}' || !window.frames_left--) done(text); else requestAnimationFrame(look); }}; look(); }})"
        )
        assert said == words


@pytest.mark.parametrize("largest", [0.00075, 0.0061, 97.0, 123_456.0])
def test_numbers_of_an_axis_do_not_stand_on_its_name(browser: Browser, tmp_path: Path, largest: float):
    chart = Chart("Disk read", "s", "MB/s", [Series("n", [(0.0, 0.0), (1.0, largest)])], width=400, height=140)
    path = tmp_path / "page.html"
    path.write_text(shell("x", [], [draw(chart, Table("x", ["x"], []))], []))
    overlap = """(() => {
      const all = [...document.querySelectorAll('svg.plot text')], boxes = all.map(t => t.getBoundingClientRect())
      const meet = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom
      return all.flatMap((t, n) => all.slice(n + 1).filter((u, m) => meet(boxes[n], boxes[n + 1 + m]))
        .map(u => t.textContent + ' | ' + u.textContent))})()"""
    shown = browser.open(path.as_uri())
    assert shown.run("document.querySelectorAll('svg.plot text').length") > 4
    assert shown.run(overlap) == []


OUTSIDE = """[...document.querySelectorAll('figure svg')].flatMap(s => {
  const box = s.getBoundingClientRect()
  return [...s.querySelectorAll('text, path, circle')].map(e => [e, e.getBoundingClientRect()])
    .filter(([, b]) => b.left < box.left || b.right > box.right || b.bottom > box.bottom)
    .map(([e]) => e.textContent || e.outerHTML) })"""


def test_an_interval_beyond_the_scale_ends_in_an_arrow(browser: Browser, tmp_path: Path):
    rows = [
        Interval("up", 0.2, 0.9, 1.4, "worse"), Interval("down", -3.0, -2.0, -1.5, "better"),
        Interval("within", -1.0, 0.1, 1.0, "cannot tell"),
    ]  # fmt: skip
    path = tmp_path / "page.html"
    path.write_text(shell("x", el("header", el("div", class_="bar1")), [forest("Change", rows)]))
    shown = browser.open(path.as_uri())
    assert shown.run("[...document.querySelectorAll('svg .beyond')].map(e => e.getAttribute('class'))") == [
        "point beyond bad",
        "point beyond good",
    ]
    [up, down, scale] = shown.run(
        "['.beyond.bad', '.beyond.good', '.grid'].map(e => document.querySelector(e).getBoundingClientRect().toJSON())"
    )
    assert up["right"] > scale["right"]
    assert down["left"] < scale["left"]
    assert shown.run("document.querySelectorAll('circle').length") == 2, (
        "a middle that is not on the scale has no point"
    )
    assert "An arrow" in shown.run("document.body.textContent")
    assert shown.run(OUTSIDE) == []


def test_percentiles_fit_beside_the_other_chart(page: Page):
    page.run("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    sizes = "[...document.querySelectorAll('.pair .scroll')].filter(b => b.ariaLabel === 'Latency by percentile')"
    [[inner, outer]] = page.run(f"{sizes}.map(b => [b.scrollWidth, b.clientWidth])")
    assert inner <= outer


def test_dots_upon_one_another_have_one_label(browser: Browser, tmp_path: Path):
    dots = Series("", [(1.0, 5.0), (1.0, 5.0), (1.001, 5.01), (9.0, 9.0)], "dots", ["a", "b", "c", "d"])
    path = tmp_path / "page.html"
    path.write_text(shell("x", [], [draw(Chart("x", "x", "y", [dots]), Table("x", ["x"], []))], []))
    texts = browser.open(path.as_uri()).run("[...document.querySelectorAll('svg.plot text')].map(t => t.textContent)")
    assert [t for t in texts if t[0] in "abcd"] == ["a and 2 more", "d"]
