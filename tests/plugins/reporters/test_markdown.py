from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token
from playbook_kernel.api import Secret
from playbook_plugins.reporters.markdown import MarkdownReporter
from playbook_plugins.reporters.source import Options
from playbook_plugins.reporters.words import markdown_text

from tests.plugins.reporters.samples import HOSTILE, good, hostile, retried

RENDERER = MarkdownIt("commonmark", {"html": True}).enable("table").enable("strikethrough")
EVIL = "\\`*_{}[]()<>|#~&;!+-=.1aB \"'$:/@"


def spoken(tokens: list[Token]) -> str:
    """What a reader sees of a run of tokens."""
    return "".join(spoken(t.children) if t.children else t.content for t in tokens)


def report(tmp_path: Path, result) -> str:
    [path] = MarkdownReporter(Options()).write(result, tmp_path)
    return path.read_text(encoding="utf-8")


@given(st.text(alphabet=EVIL) | st.text())
@example("001_pd_disaggregated")
@example("__init__ a__b _c_")
@example("&lt;b&gt; &#60; ![x](y) <b>")
@example("1. one")
@example("    indented\n# head\n---")
def test_text_from_outside_is_read_as_it_was_written(text: str):
    plain = " ".join(text.split())
    if re.search(r"[\x00\ufffd]", plain):
        return  # Markdown itself replaces these

    paragraph = RENDERER.parse(markdown_text(text) + "\n")
    assert [t.type for t in paragraph] == (["paragraph_open", "inline", "paragraph_close"] if plain else [])
    assert spoken(paragraph) == plain

    cells = [
        t for t in RENDERER.parse(f"| a | b |\n|---|---|\n| {markdown_text(text)} | end |\n") if t.type == "inline"
    ]
    assert [spoken([c]) for c in cells] == ["a", "b", plain, "end"]
    assert {c.type for t in cells for c in t.children or ()} <= {"text", "text_special"}


def test_underscores_within_a_word_need_no_escape():
    assert markdown_text("output_tokens_per_s of 001_pd") == "output_tokens_per_s of 001_pd"


def test_the_report_says_what_happened(tmp_path: Path):
    text = report(tmp_path, good())
    assert "**2 of 4 scenarios completed** (1 failed, 1 skipped)" in text
    assert "| [002_retry](#002_retry) | ✅ completed | 2 min 31 s | 2 | yes |  |" in text
    assert "| 004_off | ⊘ skipped |  |  |  | Scenario is disabled |" in text
    assert "**benchmark failed**: it broke (class benchmark)" in text
    assert "| output_tokens_per_s | 12,617 tok/s | 40 |" in text


def test_nothing_in_a_result_becomes_markup(tmp_path: Path):
    text = report(tmp_path, hostile())
    rendered = RENDERER.parse(text)
    raw = [t.content for t in rendered if t.type == "html_block"]
    assert [r.split(">")[0] for r in raw if "script" in r] == []
    inline = [c for t in rendered for c in t.children or ()]
    assert {c.type for c in inline} <= {
        "text",
        "text_special",
        "strong_open",
        "strong_close",
        "link_open",
        "link_close",
    }
    links = [str(c.attrs["href"]) for c in inline if c.type == "link_open"]
    assert links
    assert not [href for href in links if href.startswith("javascript")]
    assert HOSTILE.split("|")[0].strip() in spoken(rendered)


def test_links_lead_to_files_of_the_run(tmp_path: Path):
    result = good()
    again = result.scenarios[1].trials[1]
    (tmp_path / "001_pd").mkdir()
    (tmp_path / "002_retry" / "trials" / again.trial).mkdir(parents=True)
    text = report(tmp_path, result)
    assert "](001_pd/logs/gpu-1/engine.log)" in text
    assert f"](002_retry/trials/{again.trial}/logs/gpu-1/engine.log)" in text


def test_written_elsewhere_its_links_lead_into_the_run(tmp_path: Path):
    run, out = tmp_path / "a run", tmp_path / "out"
    for folder in (run / "001_pd", out):
        folder.mkdir(parents=True)
    [path] = MarkdownReporter(Options(str(run))).write(good(), out)
    assert path.parent == out
    assert "](../a%20run/001_pd/logs/gpu-1/engine.log)" in path.read_text()


@pytest.mark.parametrize("name", ["001_pd", "a_b and c"])
def test_the_contents_link_to_the_headings(tmp_path: Path, name: str):
    from attrs import evolve

    result = good()
    result = evolve(result, scenarios=(evolve(result.scenarios[0], scenario=name),))
    text = report(tmp_path, result)
    assert f"](#{name.replace(' ', '-')})" in text
    assert f"## {name}" in text


def test_secrets_are_taken_out(tmp_path: Path):
    from attrs import evolve

    secret = Secret("hunter2-report")
    text = report(tmp_path, evolve(good(), tool=f"with {secret.reveal()}"))
    assert "hunter2" not in text
    assert "with \\*\\*\\*" in text or "with ***" in text


@pytest.mark.parametrize(
    "hint", ["its output is in {place}/logs/test_output.log", "its output is in logs/test_output.log", "x"]
)
def test_each_attempt_links_its_own_log(tmp_path: Path, hint: str):
    text = report(tmp_path, retried(tmp_path, hint))
    first, _, second = text.partition("### Attempt 2")
    for part, log in (
        (first, "006_again/logs/test_output.log"),
        (second, "006_again/trials/pk-1-2/logs/test_output.log"),
    ):
        assert part.count(f"[{log}]({log})") == 1
        assert f"[logs/test_output.log]({log})" in part
