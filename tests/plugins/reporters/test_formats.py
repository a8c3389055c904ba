"""Reports for other programs, read back by programs."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import yaml
from attrs import evolve
from markdown_it import MarkdownIt
from playbook_kernel.api import CampaignResult, Measurement, Metric, NoOptions, ScenarioResult, Secret
from playbook_plugins.reporters.github import LIMIT, GithubReporter
from playbook_plugins.reporters.json_ import JsonReporter
from playbook_plugins.reporters.junit import JunitReporter
from playbook_plugins.reporters.openmetrics import OpenMetricsReporter
from playbook_plugins.reporters.yaml_ import YamlReporter
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests.plugins.reporters.samples import FORMULA, HOSTILE, campaign, good, hostile, trial

ALL = [GithubReporter, JsonReporter, JunitReporter, OpenMetricsReporter, YamlReporter]


def write(reporter, result: CampaignResult, into: Path) -> Path:
    [path] = reporter(NoOptions()).write(result, into)
    return path


@pytest.mark.parametrize("reporter", ALL)
def test_no_secret_gets_out_and_the_result_alone_decides(reporter, tmp_path: Path):
    secret = Secret("hunter2-formats")
    result = good()
    spoilt = evolve(result.scenarios[2], reason=f"no {secret.reveal()}")
    first = write(reporter, evolve(result, scenarios=(*result.scenarios[:2], spoilt)), tmp_path)
    text = first.read_bytes()
    assert b"hunter2" not in text
    other = tmp_path / "other"
    other.mkdir()
    assert write(reporter, evolve(result, scenarios=(*result.scenarios[:2], spoilt)), other).read_bytes() == text


def test_junit_counts_what_a_ci_counts(tmp_path: Path):
    suite = ET.parse(write(JunitReporter, good(), tmp_path)).getroot()[0]
    assert {k: suite.get(k) for k in ("tests", "failures", "errors", "skipped")} == {
        "tests": "4", "failures": "1", "errors": "0", "skipped": "1",
    }  # fmt: skip
    told = {c.get("name"): [e.tag for e in c if e.tag not in ("properties", "system-out")] for c in suite}
    assert told == {"001_pd": [], "002_retry": [], "003_bad": ["failure"], "004_off": ["skipped"]}
    failure = suite.find("testcase[@name='003_bad']/failure")
    assert failure is not None
    assert (failure.get("message"), failure.get("type")) == ("benchmark: it broke", "benchmark")
    value = suite.find("testcase[@name='001_pd']/properties/property[@name='ttft_p99_ms']")
    assert value is not None
    assert value.get("value") == "150.25 ms"


def test_junit_holds_any_text(tmp_path: Path):
    result = hostile()
    broken = evolve(result.scenarios[1], reason="ctrl \x00\x1b[31m \ud800 end")
    suite = ET.parse(write(JunitReporter, evolve(result, scenarios=(result.scenarios[0], broken)), tmp_path)).getroot()[
        0
    ]
    assert [c.get("name") for c in suite] == [f"x {HOSTILE}", FORMULA]
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert failure.get("message") == "ctrl \ufffd\ufffd[31m \ufffd end"


def test_yaml_says_the_same_as_json(tmp_path: Path):
    for result in (good(), hostile()):
        said = yaml.safe_load(write(YamlReporter, result, tmp_path).read_text())
        assert said == json.loads(write(JsonReporter, result, tmp_path).read_text())


def families(path: Path) -> dict[str, dict[tuple[str, ...], float]]:
    return {
        f.name: {tuple(v for k, v in sorted(s.labels.items()) if k != "run"): s.value for s in f.samples}
        for f in text_string_to_metric_families(path.read_text())
    }


def test_openmetrics_are_in_base_units(tmp_path: Path):
    found = families(write(OpenMetricsReporter, good(), tmp_path))
    assert found["playbook_scenario_completed"] == {
        ("001_pd",): 1, ("002_retry",): 1, ("003_bad",): 0, ("004_off",): 0,
    }  # fmt: skip
    assert found["playbook_measured_ttft_seconds"][("001_pd", "p99")] == pytest.approx(0.15025)
    assert found["playbook_scenario_duration_seconds"][("002_retry",)] == pytest.approx(151.1)


def test_openmetrics_say_a_unit_once(tmp_path: Path):
    names = {
        "output_tokens_per_s": ("tok/s", "output_tokens_per_second"), "requests_per_s": ("req/s", "requests_per_second"),
        "total_tok_per_second": ("tok/s", "total_tokens_per_second"), "preemptions_per_s": ("1/s", "preemptions_per_second"),
        "cache_hit_percent": ("%", "cache_hit_ratio"), "per_s": ("tok/s", "tokens_per_second"),
        "output_throughput": ("tok/s", "output_throughput_tokens_per_second"), "tokens": ("tok/s", "tokens_tokens_per_second"),
    }  # fmt: skip
    measured = Measurement({name: Metric(1.0, unit) for name, (unit, _) in names.items()})
    result = campaign(ScenarioResult("a", "completed", trials=(evolve(trial("a"), measurement=measured),)))
    found = families(write(OpenMetricsReporter, result, tmp_path))
    assert {n for n in found if n.startswith("playbook_measured")} == {
        f"playbook_measured_{name}" for _, name in names.values()
    }


def test_openmetrics_stand_any_name_and_value(tmp_path: Path):
    metrics = {
        "TTFT_P99": Metric(1.0, "ms"), "ttft_p99_ms": Metric(2.0, "ms"), "a b\n{}": Metric(float("nan"), "1"),
        "a_b": Metric(float("inf"), "1"), "x": Metric(1.0, "s"), "x_ms": Metric(1.0, "ms"), "9": Metric(-0.5, "%"),
    }  # fmt: skip
    odd = evolve(trial(HOSTILE), measurement=Measurement(metrics))
    result = campaign(ScenarioResult(f'{HOSTILE}\\"\n', "completed", trials=(odd,)), name=HOSTILE)
    found = families(write(OpenMetricsReporter, result, tmp_path))
    name = f'{HOSTILE}\\"\n'
    assert found["playbook_measured_ttft_seconds"] == {(name, "p99"): 0.001}
    assert found["playbook_measured_9_ratio"] == {(name,): -0.005}


def test_a_github_comment_mentions_nobody_and_is_short_enough(tmp_path: Path):
    result = hostile()
    many = evolve(result, scenarios=result.scenarios * 500)
    text = write(GithubReporter, many, tmp_path).read_text()
    assert "@someone" not in text
    assert len(text) <= LIMIT + 100
    assert "… and more" in text
    rendered = MarkdownIt("commonmark").enable("table").render(write(GithubReporter, result, tmp_path).read_text())
    assert "<script" not in rendered
    assert rendered.count("<tr>") == 3
