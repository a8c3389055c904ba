"""A closer look at what happened over time, in a real browser."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from playbook_kernel.api import ScenarioResult
from playbook_plugins.reporters.html_ import HtmlReporter
from playbook_plugins.reporters.source import Options

from tests.plugins.reporters.browser import Browser, Page
from tests.plugins.reporters.samples import campaign, trial
from tests.plugins.reporters.test_html import telemetry

LOAD = "[...document.querySelectorAll('figure.time')].find(f => f.querySelector('svg.plot').ariaLabel.includes('Requests'))"
TELEMETRY = (
    "[...document.querySelectorAll('figure.time')].find(f => f.querySelector('svg.plot').ariaLabel.includes('Accel'))"
)
DRAWN = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"


def opened(page: Page, figure: str = LOAD) -> Page:
    page.run(f"{figure}.querySelector('.tool').click()")
    page.run(DRAWN)
    return page


def shown(page: Page) -> list[float]:
    """The stretch that is looked at, in seconds."""
    low, high = page.run("document.querySelector('dialog output').value").removesuffix(" s").split(" to ")
    return [float(low), float(high)]


def area(page: Page, n: int = 0) -> tuple[float, float, float, float]:
    rect = f"document.querySelectorAll('dialog .u-over')[{n}].getBoundingClientRect()"
    left, top, width, height = page.run(f"(r => [r.left, r.top, r.width, r.height])({rect})")
    return left, top, width, height


def mouse(page: Page, what: str, x: float, y: float, **more: Any) -> None:
    page.call("Input.dispatchMouseEvent", type=f"mouse{what}", x=x, y=y, **more)


def point(page: Page, share: float, n: int = 0) -> None:
    """Move the pointer to that share of the width of a drawing."""
    left, top, width, height = area(page, n)
    mouse(page, "Moved", left + share * width, top + height / 2)
    page.run(DRAWN)


def drag(page: Page, start: float, end: float) -> None:
    left, top, width, height = area(page)
    first, last, y = left + start * width, left + end * width, top + height / 2
    point(page, start)
    mouse(page, "Pressed", first, y, button="left", buttons=1, clickCount=1)
    mouse(page, "Moved", (first + last) / 2, y, button="left", buttons=1)
    mouse(page, "Moved", last, y, button="left", buttons=1)
    mouse(page, "Released", last, y, button="left", clickCount=1)
    page.run(DRAWN)


def legend(page: Page, n: int = 0) -> dict[str, str]:
    """What the legend of the n-th drawing says under the pointer."""
    rows = f"document.querySelectorAll('dialog .uplot')[{n}].querySelectorAll('.u-series:not(.edge)')"
    return dict(page.run(f"[...{rows}].map(r => [...r.cells].map(c => c.textContent))"))


def test_a_keyboard_opens_it_and_escape_closes_it(page: Page):
    assert page.run("document.querySelectorAll('dialog, canvas').length") == 0
    for _ in range(100):
        page.press("Tab", 9)
        if page.run(f"document.activeElement === {LOAD}.querySelector('.tool')"):
            break
    else:
        pytest.fail("the button was not reached")
    assert page.run("document.activeElement.ariaLabel") == "Zoom: 001_pd: The load over time"
    page.press("Enter", 13, "\r")
    page.run(DRAWN)
    assert page.run("document.querySelector('dialog').matches(':modal')")
    assert page.run("document.querySelector('dialog').contains(document.activeElement)")
    panels = page.run(f"[...{LOAD}.querySelectorAll('.panel')].map(p => p.textContent)")
    assert page.run("[...document.querySelectorAll('.closer > p')].map(p => p.textContent)") == panels
    assert page.run("document.querySelectorAll('dialog canvas').length") == len(panels) == 4
    page.press("Escape", 27)
    page.run(DRAWN)
    assert page.run("document.querySelectorAll('dialog, canvas').length") == 0
    assert page.run("document.activeElement.ariaLabel") == "Zoom: 001_pd: The load over time"
    assert page.complaints() == []


def test_a_drag_looks_closer_and_a_double_click_at_all_of_it(page: Page):
    low, high = shown(opened(page))
    drag(page, 0.25, 0.5)
    assert shown(page) == pytest.approx([high / 4, high / 2], rel=0.02)
    left, top, width, height = area(page)
    for count in (1, 2):
        for what in ("Pressed", "Released"):
            mouse(page, what, left + width / 2, top + height / 2, button="left", clickCount=count)
    assert shown(page) == [low, high]
    assert page.complaints() == []


def test_buttons_do_what_a_drag_does(page: Page):
    low, high = shown(opened(page))

    button = "[...document.querySelectorAll('dialog button')].find(b => b.textContent === '{}')"

    def press(words: str) -> list[float]:
        page.run(f"{button.format(words)}.click()")
        return shown(page)

    assert press("+") == pytest.approx([high / 4, high * 3 / 4], rel=0.01)
    assert press("→") == pytest.approx([high * 3 / 8, high * 7 / 8], rel=0.01)
    assert press("→") == press("→") == pytest.approx([high / 2, high], rel=0.01), "there is nothing later"
    assert press("←")[1] < high
    assert press("\N{MINUS SIGN}") == [low, high]
    press("+")
    assert press("Reset") == [low, high]
    page.run(f"{button.format('Close')}.click()")
    page.run(DRAWN)
    assert page.run("document.querySelectorAll('dialog').length") == 0


def test_values_of_the_load_are_those_of_the_table(page: Page):
    page.run(f"{LOAD}.querySelector('thead button').click()")
    page.run(f"{LOAD}.querySelector('thead button').click()")  # in whatever order somebody has sorted it
    head, *rows = page.run(f"[...{LOAD}.querySelector('table').rows].map(r => [...r.cells].map(c => c.textContent))")
    assert head == ["after s", "sent 1/s", "done 1/s", "in flight", "tok/s", "errors"]
    by_time = sorted([float(cell) for cell in row] for row in rows)
    _, high = shown(opened(page))
    row, after = by_time[9], by_time[10]
    point(page, (row[0] + after[0]) / 2 / high)
    found = [legend(page, n) for n in range(4)]
    assert len({said["at"] for said in found}) == 1, "the pointer is at the same time in all of them"
    names = ("sent", "done"), ("in flight",), ("tokens",), ("errors",)
    values = [float(said[name].replace(",", "")) for said, own in zip(found, names, strict=True) for name in own]
    assert values == pytest.approx(row[1:], rel=0.005, abs=0.5)


def test_values_of_telemetry_are_those_of_the_drawing_and_a_gap_has_none(page: Page):
    _, high = shown(opened(page, TELEMETRY))
    point(page, 22.5 / high)
    assert 90 <= float(legend(page)["gpu-1/gpu0"]) <= 94
    assert float(legend(page, 1)["gpu-1/gpu0"]) == pytest.approx(600, rel=0.005)
    for at in (29.8, 32.0, 34.2):
        point(page, at / high)
        assert legend(page)["gpu-1/gpu0"] == "\N{EN DASH}", at


WATCHED = (
    "window.written = []; const canvas = CanvasRenderingContext2D.prototype, draw = canvas.fillText;"
    "canvas.fillText = function (text, ...at) { written.push(text); draw.call(this, text, ...at); }"
)


def test_axes_have_their_units(page: Page):
    page.run(WATCHED)
    written = opened(page).run("window.written")
    assert {"1/s", "requests", "tok/s", "seconds since the first request"} <= set(written)


def test_faults_are_marked_and_a_curve_of_many_series_says_from_where_to_where_they_go(
    browser: Browser, tmp_path: Path
):
    (tmp_path / "a").mkdir()
    samples = telemetry(tmp_path / "a" / "telemetry.jsonl", nodes=1, accelerators=9, seconds=40)
    start = 1_767_225_612.0
    words = dict.fromkeys(("fault", "what", "node", "service", "when"), "x")
    fault = {**words, "index": 0, "struck": start + 10, "settled": start + 11, "ended": start + 20, "healed": True}
    (tmp_path / "a" / "faults.json").write_text(json.dumps({"faults": [fault]}))
    one = evolve(trial("a"), artifacts=(samples,))
    result = campaign(ScenarioResult("a", "completed", trials=(one,)))
    [path] = HtmlReporter(Options()).write(result, tmp_path)
    page = browser.open(path.as_uri())
    page.run(WATCHED)
    opened(page, TELEMETRY)
    assert {"⚡1", "✓1"} <= set(page.run("window.written"))
    rows = [json.loads(line) for line in (tmp_path / "a" / "telemetry.jsonl").read_text().splitlines()]
    values = [row["power"] for row in rows if "power" in row and row["t"] == start + 30]
    point(page, 30 / shown(page)[1])
    said = legend(page, 2)["gpu-0 (9)"]
    numbers = [float(number) for number in re.findall(r"[\d.]+", said)]
    assert numbers == pytest.approx([sum(values) / 9, min(values), max(values)], rel=0.02), said


def test_colours_follow_the_page_while_it_is_open(page: Page):
    page.run("localStorage.clear()")
    page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "light"}])
    opened(page)
    found = []
    for scheme in ("light", "dark"):
        page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        page.run(DRAWN)
        drawing = page.run(f"getComputedStyle({LOAD}.querySelector('.line')).stroke")
        assert page.run("getComputedStyle(document.querySelectorAll('.u-marker')[1]).borderColor") == drawing
        found.append([drawing, page.run("getComputedStyle(document.querySelector('dialog')).backgroundColor")])
    assert found[0][0] != found[1][0]
    assert found[0][1] != found[1][1]
    assert page.complaints() == []


def test_it_fits_the_window_and_a_phone(page: Page):
    wide = area(opened(page))[2]
    page.call("Emulation.setDeviceMetricsOverride", width=390, height=800, deviceScaleFactor=1, mobile=True)
    page.run(DRAWN)
    assert 200 < area(page)[2] < wide
    assert page.run(
        "[document.documentElement, document.querySelector('.closer')].map(e => e.scrollWidth - e.clientWidth)"
    ) == [0, 0]
