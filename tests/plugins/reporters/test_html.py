"""The page as text: escaped, closed to the world, small, and each chart with its numbers."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import random
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from attrs import evolve
from playbook_kernel.api import Artifact, CampaignResult, Metric, ScenarioResult, Secret
from playbook_plugins.reporters.html_ import HtmlReporter
from playbook_plugins.reporters.html_.page import asset
from playbook_plugins.reporters.source import Options

from tests.plugins.reporters.conftest import write_requests
from tests.plugins.reporters.samples import HOSTILE, campaign, good, hostile, retried, trial


def page(result: CampaignResult, into: Path) -> str:
    [path] = HtmlReporter(Options()).write(result, into)
    return path.read_text(encoding="utf-8")


class Elements(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


def drawn(line: str) -> list[tuple[float, float]]:
    """The points of a curve without steps, as a browser reads them: each is told from the one before."""
    points: list[tuple[float, float]] = []
    for kind, numbers in re.findall(r"([Ml])([^Ml]+)", line):
        found = [float(n) for n in re.findall(r"-?(?:\d+(?:\.\d+)?|\.\d+)", numbers)]
        for x, y in zip(found[::2], found[1::2], strict=True):
            points.append((x, y) if kind == "M" else (points[-1][0] + x, points[-1][1] + y))
    return points


def telemetry(path: Path, nodes: int, accelerators: int, seconds: int) -> Artifact:
    """Samples as the collector writes them: each node, the engine on it, and its accelerators, once a second."""
    chance = random.Random(7)

    def some(*most: float) -> list[float]:
        return [chance.uniform(m / 9, m) for m in most]

    node = ("cpu", "mem", "net_rx", "net_tx", "disk_read", "disk_write")
    engine = ("running", "waiting", "kv_usage", "prefix_hit_rate", "generated")
    rows = []
    for t, n in itertools.product(range(seconds), range(nodes)):
        at = {"t": 1_767_225_612.0 + t}
        rows.append({**at, "source": f"gpu-{n}", **dict(zip(node, some(99, 30, 90, 90, 9, 40), strict=True))})
        rows.append({**at, "source": f"gpu-{n}/engine", **dict(zip(engine, some(32, 9, 99, 99, 4000), strict=True))})
        for k in range(accelerators):
            values = dict(zip(("util", "mem_used", "power", "temp"), some(99, 80_000, 700, 80), strict=True))
            rows.append({**at, "source": f"gpu-{n}/gpu{k}", **values})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Artifact("telemetry", path.name)


def test_text_from_outside_stays_text(tmp_path: Path):
    found = Elements(page(hostile(), tmp_path))
    assert len(found.all("script")) == 1
    assert {t for t, _ in found.tags} <= {
        "html", "head", "meta", "title", "style", "body", "a", "header", "div", "h1", "h2", "h3", "p", "span", "strong",
        "main", "section", "table", "caption", "thead", "tbody", "tr", "th", "td", "figure", "figcaption", "svg", "path", "use",
        "text", "rect", "circle", "g", "ul", "li", "b", "small", "details", "summary", "code", "footer", "script",
    }  # fmt: skip
    assert not [a for _, attrs in found.tags for a in attrs if a.startswith("on") or a == "style"]
    links = [str(a["href"]) for a in found.all("a")]
    assert not [link for link in links if ":" in link or link.startswith("/")]
    assert HOSTILE in found.words


@pytest.mark.parametrize("over_time", [False, True])
def test_the_policy_allows_its_own_style_and_script_and_nothing_else(
    run: tuple[CampaignResult, Path], tmp_path: Path, *, over_time: bool
):
    text = page(*run) if over_time else page(good(), tmp_path)
    [policy] = [a["content"] for a in Elements(text).all("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in str(policy).split(";"))
    for tag, rule in (("style", "style-src"), ("script", "script-src")):
        [content] = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"
    assert (rules["default-src"], rules["base-uri"], rules["form-action"]) == ("'none'",) * 3
    assert not re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?(?:https?:)?//""", text)


def test_every_drawing_has_a_title_and_a_table(run: tuple[CampaignResult, Path]):
    text = page(*run)
    figures = re.findall(r"<figure[^>]*>(.*?)</figure>", text, re.DOTALL)
    assert len(figures) == 5  # timeline, trade-off, distribution, load over time, telemetry
    for figure in figures:
        assert "<figcaption>" in figure
        assert figure.count("<table") == 1
        assert not re.findall(r"<svg(?![^>]*(?:role=\"img\" aria-label=|aria-hidden))", figure)


def test_what_looks_closer_is_where_there_is_something_to_look_at(
    run: tuple[CampaignResult, Path], tmp_path_factory: pytest.TempPathFactory
):
    text, without = page(*run), page(good(), tmp_path_factory.mktemp("without"))
    script = text.partition("<script>")[2]
    assert asset("uplot/uPlot.iife.min.js") in script
    assert asset("uplot/LICENSE") in text
    assert not Elements(text).all("button"), "a script makes the buttons that need it"
    assert "<figcaption>" in without
    assert "uPlot" not in without


def test_it_says_what_failed_and_why(tmp_path: Path):
    result = good()
    words = " ".join(Elements(page(result, tmp_path)).words)
    assert "2 of 4 scenarios completed" in words
    assert "benchmark failed: it broke" in " ".join(words.split())
    assert "Attempt 1: failed" in words
    assert "Scenario is disabled" in words


def test_distribution_and_errors_come_from_the_records(run: tuple[CampaignResult, Path]):
    result, folder = run
    text = page(result, folder)
    rows = [json.loads(line) for line in (folder / "001_pd/artifacts/results/requests.jsonl").read_text().splitlines()]
    good_ones = sorted(r["ttft"] * 1000 for r in rows if "error" not in r)
    assert f"<tr><th scope=row>requests<td>{len(good_ones)}<td>" in text
    [median] = re.findall(r"<tr><th scope=row>p50<td>([\d.,]+)<", text)
    assert abs(float(median.replace(",", "")) / good_ones[len(good_ones) // 2] - 1) < 0.01
    failed = sum(r.get("error") == "HTTP 503" for r in rows)
    assert f"<tr><th scope=row>HTTP 503<td>{failed}<td" in text
    assert "&lt;b&gt;timeout&lt;/b&gt;" in text


def test_a_gap_in_telemetry_is_a_gap_in_the_curve(run: tuple[CampaignResult, Path]):
    text = page(*run)
    assert re.search(r"gpu-1/gpu0<td>Accelerator utilisation<td>%<td[^>]*>90<td[^>]*>92<td[^>]*>94<td>55<td>1", text)
    curves = re.findall(r'd="([^"]*)" class="line [^"]*" data-name="gpu-1/gpu0"', text)
    assert [c.count("M") for c in curves] == [2, 2]


def test_what_is_sampled_every_ten_seconds_is_a_curve_too(tmp_path: Path):
    rows = [{"t": 100.0 + n, "source": "n", "cpu": 50.0} for n in range(60)]
    rows += [{"t": 100.3 + 10.5 * n, "source": "n/npu0", "power": 90.0 + n} for n in range(6)]
    (tmp_path / "a").mkdir()
    (tmp_path / "a/telemetry.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    one = evolve(trial("a"), artifacts=(Artifact("telemetry", "telemetry.jsonl"),))
    text = page(campaign(ScenarioResult("a", "completed", trials=(one,))), tmp_path)
    [curve] = re.findall(r'd="([^"]*)" class="line [^"]*" data-name="n/npu0"', text)
    assert len(drawn(curve)) == 6
    assert re.search(r"n/npu0<td>Accelerator power<td>W(<td[^>]*>[\d.]+){3}<td>6<td>0", text)


def test_records_that_lead_out_of_the_run_are_not_read(tmp_path: Path):
    (tmp_path / "run").mkdir()
    write_requests(tmp_path / "requests.jsonl", 50)
    one = evolve(trial("a"), artifacts=(Artifact("artifact", "../../requests.jsonl"),))
    text = page(campaign(ScenarioResult("a", "completed", trials=(one,))), tmp_path / "run")
    assert "Distribution of latency" not in text


def test_broken_records_are_counted_not_shown(tmp_path: Path):
    path = tmp_path / "a" / "requests.jsonl"
    write_requests(path, 50)
    path.write_bytes(path.read_bytes() + b'{"torn": \n[1]\n{"neither": "sent nor latency"}\n\xff\xfe\n')
    one = evolve(trial("a"), artifacts=(Artifact("artifact", "requests.jsonl"),))
    text = page(campaign(ScenarioResult("a", "completed", trials=(one,))), tmp_path)
    assert "4 records could not be read" in text


def test_a_report_elsewhere_links_into_the_run(run: tuple[CampaignResult, Path], tmp_path_factory):
    result, folder = run
    into = tmp_path_factory.mktemp("elsewhere")
    [path] = HtmlReporter(Options(str(folder))).write(result, into)
    links = [str(a["href"]) for a in Elements(path.read_text()).all("a") if "requests.jsonl" in str(a["href"])]
    assert [(into / link).resolve() for link in links] == [folder / "001_pd/artifacts/results/requests.jsonl"]


@pytest.mark.parametrize(("nodes", "accelerators", "seconds"), [(1, 0, 60), (1, 8, 60), (2, 8, 4)])
def test_fifty_scenarios_with_telemetry_fit_into_a_mebibyte(
    tmp_path: Path, nodes: int, accelerators: int, seconds: int
):
    scenarios = []
    write_requests(tmp_path / "requests.jsonl", 1000, failing=0.01)
    samples = telemetry(tmp_path / "telemetry.jsonl", nodes, accelerators, seconds)
    for n in range(50):
        name = f"{n:03d}_a_scenario_with_a_name"
        (tmp_path / name).mkdir()
        for file in ("requests.jsonl", "telemetry.jsonl"):
            (tmp_path / name / file).hardlink_to(tmp_path / file)
        one = trial(name)
        files = (*one.artifacts * 8, Artifact("artifact", "requests.jsonl"), samples)
        scenarios.append(ScenarioResult(name, "completed", trials=(evolve(one, trial=f"pk-1-{n}", artifacts=files),)))
    text = page(campaign(*scenarios), tmp_path)
    for title in ("Distribution of latency", "CPU", "Network: received, sent (dashed)", "KV cache used"):
        assert text.count(f">{title}</") == 50
    assert len(text.encode()) <= 1024 * 1024


def test_telemetry_that_was_zero_all_the_time_is_told_and_not_drawn(tmp_path: Path):
    (tmp_path / "a").mkdir()
    rows = [{"t": 1_767_225_612.0 + n, "source": "gpu-1", "disk_read": 0.0} for n in range(9)]
    (tmp_path / "a" / "telemetry.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    one = evolve(trial("a"), artifacts=(Artifact("telemetry", "telemetry.jsonl"),))
    text = page(campaign(ScenarioResult("a", "completed", trials=(one,))), tmp_path)
    assert "<th scope=row>gpu-1<td>Disk read" in text
    assert "uPlot" not in text, "there is nothing to look at closely"


def one_with_telemetry(folder: Path, nodes: int, accelerators: int, seconds: int) -> str:
    (folder / "a").mkdir()
    samples = telemetry(folder / "a" / "telemetry.jsonl", nodes, accelerators, seconds)
    one = evolve(trial("a"), artifacts=(samples,))
    return page(campaign(ScenarioResult("a", "completed", trials=(one,))), folder)


def test_no_series_is_dropped_without_a_word(tmp_path: Path):
    text = one_with_telemetry(tmp_path, nodes=2, accelerators=8, seconds=5)
    power = text.partition(">Accelerator power</p>")[2].partition("</svg>")[0]
    assert re.findall(r'data-name="([^"]*)"', power) == ["gpu-0 (8)", "gpu-1 (8)"]
    assert "stands for so many series" in text
    for n, k in itertools.product(range(2), range(8)):
        assert f"<th scope=row>gpu-{n}/gpu{k}<td>Accelerator power" in text


def test_a_band_goes_from_the_least_to_the_most(tmp_path: Path):
    text = one_with_telemetry(tmp_path, nodes=9, accelerators=0, seconds=5)
    cpu = text.partition(">CPU</p>")[2].partition("</svg>")[0]
    assert re.findall(r'data-name="([^"]*)"', cpu) == ["all (9)"]
    rows = [json.loads(line) for line in (tmp_path / "a/telemetry.jsonl").read_text().splitlines()]
    [band] = re.findall(r'd="([^"]*)z" class="band', cpu)
    heights = [y for _, y in drawn(band)]
    for n, (most, least) in enumerate(zip(heights[:5], reversed(heights[5:]), strict=True)):
        values = [row["cpu"] for row in rows if "cpu" in row and row["t"] == 1_767_225_612.0 + n]
        assert (round(100 - most / 0.9 + 10 / 0.9), round(100 - least / 0.9 + 10 / 0.9)) == (
            round(max(values)),
            round(min(values)),
        )


def test_a_sample_that_stands_alone_is_a_point_and_time_is_that_of_the_samples(tmp_path: Path):
    text = one_with_telemetry(tmp_path, nodes=1, accelerators=0, seconds=1)
    cpu = text.partition(">CPU</p>")[2].partition("</svg>")[0]
    assert re.search(r'd="M72 [\d.]+h.01" class="alone k0"', cpu)
    assert "seconds since the first sample" in text
    assert "seconds since the first request" not in text


def test_axes_that_are_the_same_are_written_once(run: tuple[CampaignResult, Path]):
    found = Elements(page(*run))
    used = [str(a["href"]).removeprefix("#") for a in found.all("use")]
    known = [a["id"] for a in found.all("g") if "id" in a]
    assert used
    assert set(used) == set(known)
    assert len(known) == len(set(known))


def test_secrets_are_taken_out(tmp_path: Path):
    secret = Secret("hunter2-in-html")
    result = good()
    broken = evolve(result.scenarios[3], reason=f"no {secret.reveal()}")
    assert "hunter2" not in page(evolve(result, scenarios=(broken,)), tmp_path)


def test_load_levels_become_a_curve_below_their_limit(tmp_path: Path):
    points = [
        {
            "concurrency": c, "request_rate": "inf", "records": f"aicp/records/{c}.jsonl",
            "rates": {"output_tokens_per_second": 100.0 * c, "requests_per_second": 1.0 * c},
            "metrics": {"ttft": {"p50": 50.0 * c, "p99": 90.0 * c}},
            "goodput": {"slos": [{"metric": "TTFT_P99", "limit": 300.0, "better": "lower"}]},
        }
        for c in (1, 2, 4)
    ]  # fmt: skip
    one = trial("sweep")
    assert one.measurement is not None
    metrics = {**one.measurement.metrics, "output_throughput": Metric(200.0, "tok/s", 5)}
    one = evolve(one, artifacts=(), measurement=evolve(one.measurement, metrics=metrics, raw={"points": points}))
    for c, count in ((1, 10), (2, 20), (4, 40)):
        write_requests(tmp_path / "sweep" / "aicp" / "records" / f"{c}.jsonl", count)
    text = page(campaign(ScenarioResult("sweep", "completed", trials=(one,))), tmp_path)
    assert "<th scope=row>sweep<td>concurrency 4<td>400" in text
    assert text.count("SLO 300 ms") == 1
    assert 'data-name="sweep"' in text
    assert re.search(r"<tr><th scope=row>requests<td>20<td", text), "the records are those of the point that was chosen"


def test_axes_of_few_decades_have_ticks_and_far_limits_do_not_flatten_a_chart() -> None:
    from playbook_plugins.reporters.html_.charts import log_ticks

    for low, high in ((1, 1.7), (41, 48), (90, 260), (8, 400), (0.3, 90_000)):
        marks = log_ticks(low, high)
        assert 3 <= len(marks) <= 12, (low, high, marks)
        assert all(low <= mark <= high for mark in marks)


@pytest.mark.parametrize(
    "hint", ["its output is in {place}/logs/test_output.log", "its output is in logs/test_output.log", "x"]
)
def test_each_attempt_links_its_own_log(tmp_path: Path, hint: str):
    text = page(retried(tmp_path, hint), tmp_path)
    blamed = re.findall(r'<div class="reason">.*?</div>', text)
    earlier = [b for b in blamed if 'href="006_again/logs/test_output.log">006_again/logs/test_output.log</a>' in b]
    own = "006_again/trials/pk-1-2/logs/test_output.log"
    assert (len(blamed), len(earlier)) == (2, 1)
    assert sum(b.count(f'<a href="{own}">{own}</a>') for b in blamed) == 1
    assert [a["href"] for a in Elements(text).all("a")].count(own) == 2, "it is among the files kept, too"
