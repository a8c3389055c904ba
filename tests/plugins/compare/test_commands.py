from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from playbook_kernel.cli.main import main

from tests.plugins.compare.conftest import Make, around
from tests.plugins.reporters.browser import Browser


@pytest.fixture
def call(results: Path, capsys: pytest.CaptureFixture[str]):
    def run(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(["-r", str(results), *map(str, words)])
        out, err = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, out, err

    return run


@pytest.fixture
def repeats(make: Make) -> None:
    """Five runs of an old and a new state: slower by a fifth, as fast, and one scenario that breaks."""
    for n, (ttft, speed, noisy) in enumerate(
        zip(around(100, 0.01, 5, 1), around(500, 0.002, 5, 2), around(80, 0.2, 5, 3), strict=True)
    ):
        good = {"ttft_p99_ms": ttft, "output_tokens_per_s": speed, "e2el_p99_ms": noisy}
        make(f"old-{n}", pd=good, breaks=good, requests=(1000, 0), facts={"gpu-1": {"driver": "535", "cpus": 8}})
        slow = {"p99_ttft": ttft * 1.2, "output_tokens_per_s": speed, "e2el_p99_ms": noisy * 1.1}
        slow["ttft_p99_ms"] = slow.pop("p99_ttft")
        make(
            f"new-{n}",
            pd=slow,
            breaks="benchmark: it <b>broke</b>",
            requests=(1000, 60),
            facts={"gpu-1": {"driver": "550", "cpus": 8}},
        )


def test_what_differs_comes_first_then_every_verdict(call, repeats):
    code, out, _ = call("compare", "before=old-*", "after=new-*")
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == "after against before"
    assert out.index("gpu-1: driver") < out.index("pd:")
    assert "cpus" not in out
    verdicts = {line.split()[0]: line for line in lines if line.startswith("  ")}
    assert "▼ worse" in verdicts["ttft_p99_ms"]
    assert "+2" in verdicts["ttft_p99_ms"].split()[5]
    assert "= same" in verdicts["output_tokens_per_s"]
    assert "? cannot tell" in verdicts["e2el_p99_ms"]
    assert " a side would tell)" in verdicts["e2el_p99_ms"]
    assert "▼ worse" in verdicts["failed_requests_share"]
    assert "5 trials did not complete: benchmark: it <b>broke</b>" in out


def test_json_has_every_figure(call, repeats):
    _, out, _ = call("compare", "old-0,old-1", "new-0,new-1", "--format", "json", "-m", "p99_ttft")
    [one] = json.loads(out)["comparisons"]
    assert one["runs"] == [["old-0", "old-1"], ["new-0", "new-1"]]
    [pd] = [s for s in one["scenarios"] if s["scenario"] == "pd"]
    found = {d["metric"]: d for d in pd["differences"]}
    assert set(found) == {"failed_requests_share", "ttft_p99_ms"}
    ttft = found["ttft_p99_ms"]
    assert ttft["low"] < ttft["change"] < ttft["high"]
    assert ttft["change"] == pytest.approx(0.2, abs=0.001)
    assert ttft["repeats"] == [2, 2]


def test_markdown_is_a_table_whatever_failed(call, repeats):
    _, out, _ = call("compare", "old-0", "new-0", "--format", "markdown")
    rendered = MarkdownIt("commonmark").enable("table").render(out)
    assert "<b>" not in rendered
    assert rendered.count("<table>") == 2


def test_the_page_opens_without_complaints(call, repeats, browser: Browser, tmp_path: Path):
    path = tmp_path / "c.html"
    assert call("compare", "old-*", "new-*", "--format", "html", "-o", path)[0] == 0
    page = browser.open(path.as_uri())
    assert page.complaints() == []
    assert page.run("document.querySelectorAll('.whisker').length") == 3
    assert "it <b>broke</b>" in page.run("document.querySelector('.reason').textContent")


def test_the_baseline_can_be_any_of_them(call, repeats):
    _, out, _ = call("compare", "new-0", "old-0", "old-1", "--baseline", "old-1")
    assert [line for line in out.splitlines() if " against " in line] == ["new-0 against old-1", "old-0 against old-1"]
    code, _, err = call("compare", "new-0", "old-0", "--baseline", "elsewhere")
    assert (code, "no run is called 'elsewhere'" in err) == (2, True)


def test_the_baseline_can_be_another_run(call, repeats):
    code, out, err = call("compare", "new-0", "--baseline", "before=old-0,old-1")
    assert code == 0, err
    assert [line for line in out.splitlines() if " against " in line] == ["new-0 against before"]


@pytest.mark.parametrize(
    "words, said",
    [
        (["compare", "old-0"], "one run alone cannot be compared"),
        (["compare", "old-*", "newer-*"], "no run matches 'newer-*'"),
        (["gate", "new-0", "-b", "old-0", "--fail-on", "p99_ttft > 5%"], "a change has a sign"),
        (["gate", "new-0", "-b", "old-0", "--fail-on", "ttft; rm"], "is no rule"),
        (["gate", "new-0", "-b", "old-0", "--fail-on", "speed > +5%"], "no scenario has a metric 'speed'"),
        (["gate", "new-0", "-b", "old-0", "--fail-on", "x*: worse"], "no scenario is called 'x*'"),
        (["trend", "nothing", "ttft_p99"], "no run has a scenario 'nothing'"),
        (["trend", "pd", "speed"], "has a metric 'speed'"),
    ],
)
def test_a_wrong_question_is_2_and_says_why(call, repeats, words, said):
    code, _, err = call(*words)
    assert code == 2
    assert said in err


@pytest.mark.parametrize(
    "rule, code",
    [
        ("pd: p99_ttft > +5%", 1), ("pd: p99_ttft > +30%", 0), ("pd: ttft_p99_ms > 110", 1), ("pd: ttft_p99_ms > 0.11 s", 1),
        ("pd: ttft_p99_ms > 500ms", 0), ("pd: output_tokens_per_s < -5%", 0), ("pd: output_tokens_per_s < 600", 1),
        ("pd: failed_requests_share > 1%", 1), ("pd: failed_requests_share > 10%", 0), ("pd: worse", 1),
        ("pd: e2el_p99_ms > +5%", 0),
    ],
)  # fmt: skip
def test_rules_decide(call, make: Make, rule: str, code: int):
    for n, (ttft, noisy) in enumerate(zip(around(100, 0.01, 5, 1), around(80, 0.2, 5, 3), strict=True)):
        make(f"old-{n}", pd={"ttft_p99_ms": ttft, "output_tokens_per_s": 500, "e2el_p99_ms": noisy}, requests=(1000, 0))
        new = {"ttft_p99_ms": ttft * 1.2, "output_tokens_per_s": 500, "e2el_p99_ms": noisy * 1.1}
        make(f"new-{n}", pd=new, requests=(1000, 60))
    assert call("gate", "new-*", "-b", "old-*", "--fail-on", rule)[0] == code
    if rule.startswith("pd: e2el"):  # beyond the limit, and maybe by chance
        assert call("gate", "new-*", "-b", "old-*", "--fail-on", rule, "--strict")[0] == 1


def test_a_scenario_that_broke_fails_the_gate(call, repeats, tmp_path: Path):
    junit = tmp_path / "deep" / "gate.xml"
    code, out, _ = call("gate", "new-*", "-b", "old-*", "--fail-on", "p99_ttft > +50%", "--junit", junit)
    assert code == 1
    assert "FAIL  breaks  [completed]" in out
    suite = ET.parse(junit).getroot()[0]
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    assert [c.get("classname") for c in suite if c.find("failure") is not None] == ["breaks"]


def test_equal_runs_pass_without_a_rule_and_all_repeats_are_named(call, make: Make, tmp_path: Path):
    for n, ttft in enumerate(around(100, 0.005, 6, 5)):
        make(f"r-{n}", pd={"ttft_p99_ms": ttft})
    junit = tmp_path / "gate.xml"
    code, out, _ = call("gate", "r-0,r-1,r-2", "-b", "r-3,r-4,r-5", "--junit", junit)
    assert (code, out.splitlines()[-1]) == (0, "2 checks, 0 failed: r-0, r-1, r-2 against r-3, r-4, r-5")
    assert ET.parse(junit).getroot()[0].get("name") == "r-0, r-1, r-2"
    _, out, _ = call("compare", "r-3,r-4", "r-*", "-f", "html")
    assert "<h1>r-0 and 5 more against r-3, r-4</h1>" in out


def test_what_fails_is_shown_with_value_and_limit_and_one_run_a_side_is_said_to_tell_little(call, make: Make):
    make("old", pd={"ttft_p99_ms": 100, "e2el_p99_ms": 50}, requests=(1000, 0))
    make("new", pd={"ttft_p99_ms": 101.5, "e2el_p99_ms": 51}, requests=(1000, 60))
    rules = ("--fail-on", "p99_ttft > 0.1s", "--fail-on", "failed_requests_share > 1%")
    code, out, _ = call("gate", "new", "-b", "old", *rules)
    assert (code, out.splitlines()) == (1, [
        "FAIL  pd  [p99_ttft > 0.1s]  ttft_p99_ms is 101.5 ms, fails when > 0.1 s (baseline: 100 ms)",
        "FAIL  pd  [failed_requests_share > 1%]  failed_requests_share is 6 %, fails when > 1 % (baseline: 0 %)",
        "2 checks, 2 failed: new against old",
    ])  # fmt: skip
    make("also", pd={"ttft_p99_ms": 101.5, "e2el_p99_ms": 51}, requests=(1000, 0))
    code, out, _ = call("gate", "also", "-b", "old")
    assert (code, len(out.splitlines())) == (0, 3)
    assert "undecided  pd  [worse]  2 metrics differ by no more than chance may make: ttft_p99_ms, e2el_p99_ms" in out
    assert (
        "a change from how runs differ by themselves, for which 5 % is assumed (--assumed-spread; thrice that for tails)"
        in out
    )
    assert len(call("gate", "also", "-b", "old", "--strict")[1].splitlines()) == 4, "each, where each fails"


def test_a_trend_shows_where_it_turned(call, make: Make, browser: Browser, tmp_path: Path):
    for n in range(6):
        make(f"2026010{n}_000000_all", pd={"ttft_p99_ms": 100 if n < 4 else 150})
    make("20260107_000000_all_night", pd="deploy: lost")
    code, out, _ = call("trend", "pd", "p99_ttft")
    assert code == 0
    assert "\n20260104_000000_all           150  +50.0%\n" in out
    assert "\n20260107_000000_all_night  failed\n" in out
    plot = [line.split("┤")[-1].split("│")[-1] for line in out.splitlines() if "┤" in line or "│" in line]
    assert plot[0].count("•") == 2
    assert plot[-1].count("•") == 4
    path = tmp_path / "t.html"
    assert call("trend", "pd", "p99_ttft", "--html", path)[0] == 0
    page = browser.open(path.as_uri())
    assert page.complaints() == []
    assert page.run("document.querySelectorAll('circle').length") == 6


def test_a_scripts_own_metrics_are_compared_and_gated(call, make):
    make("old", a={"my_latency_ms": 5.0, "widgets": 3.0})
    make("new", a={"my_latency_ms": 50.0, "widgets": 3.0})
    _, out, _ = call("compare", "old", "new")
    assert "my_latency_ms" in out
    assert "widgets" in out
    code, out, _ = call("gate", "new", "--baseline", "old")
    assert code == 1, out
    assert "my_latency_ms" in out


def test_a_gate_that_checks_nothing_is_no_gate(call, make):
    make("old", a={"x_ms": 5.0}, requests=(0, 0))
    make("new", a={"y_ms": 50.0}, requests=(0, 0))
    code, _, err = call("gate", "new", "--baseline", "old")
    assert code == 2
    assert "nothing to check" in err


def test_a_run_against_itself_asks_for_no_repeats(call, make):
    make("old", a={"ttft_p99_ms": 5.0})
    for form in ("table", "markdown", "html"):
        _, out, _ = call("compare", "old", "old", "-f", form)
        assert "old is on both sides; no repeats tell a run from itself" in out
        assert "a side would tell" not in out
        assert "Nothing else" not in out
    assert "Nothing is known to differ in what ran and what it ran on." in call("compare", "old", "old")[1]


def test_what_did_not_complete_is_counted_by_its_trials(call, make):
    make("old", a={"ttft_p99_ms": 5.0}, b={"ttft_p99_ms": 5.0})
    folder = make("new", a="deploy: lost", b="Scenario is disabled")
    kept = json.loads((folder / "campaign.json").read_text())
    kept["scenarios"][0]["trials"] *= 2
    kept["scenarios"][1]["trials"] = []
    (folder / "campaign.json").write_text(json.dumps(kept))
    _, out, _ = call("compare", "old", "new")
    assert "the other's 2 trials did not complete: deploy: lost" in out
    assert "the other's runs did not start it: Scenario is disabled" in out


def test_a_change_needs_its_unit(call, make):
    make("old", a={"ttft_p99_ms": 5.0})
    code, _, err = call("gate", "old", "--baseline", "old", "--fail-on", "p99_ttft > +5")
    assert code == 2
    assert "a change: +5%" in err
