"""A short report for a comment or a job summary on GitHub."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from playbook_kernel.api import CampaignResult, NoOptions, Reporter, ScenarioResult, redact

from playbook_plugins.stats.metrics import REQUEST_RATE, THROUGHPUT, find

from .words import markdown_text, number, seconds, why

LIMIT = 60_000
_COLUMNS = (
    ("req/s", REQUEST_RATE), ("tok/s", THROUGHPUT), ("TTFT p50", ("ttft_p50_ms",)), ("TTFT p99", ("ttft_p99_ms",)),
    ("E2EL p99", ("e2el_p99_ms",)),
)  # fmt: skip
_SIGNS = {"completed": "✅", "failed": "❌", "skipped": "⏭️", "cancelled": "🛑"}


class GithubReporter(Reporter[NoOptions]):
    """``report.github.md``: verdicts and main figures, at most 60,000 characters; it mentions nobody by accident."""

    def write(self, result: CampaignResult, into: Path) -> Sequence[Path]:
        path = into / "report.github.md"
        lines: list[str] = []
        room = LIMIT
        for line in redact("\n".join(_lines(result))).split("\n"):
            room -= len(line) + 1
            if room < 0:
                lines += ["", "… and more: see the full report."]
                break
            lines.append(line)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return [path]


def github_text(value: object) -> str:
    """Text from outside that becomes neither markup nor a mention nor a reference."""
    return markdown_text(value).replace("@", "@\u200b").replace("#", "#\u200b")


def _lines(result: CampaignResult) -> Iterator[str]:
    total, good = len(result.scenarios), result.count("completed")
    kind = "NOTE" if result.status == "completed" else "CAUTION"
    yield f"### {_SIGNS.get(result.status, '')} Campaign {github_text(result.id)}"
    yield ""
    yield f"> [!{kind}]"
    yield f"> **{good} of {total} scenarios completed** in {seconds(result.seconds)}"
    yield ""
    shown = [c for c in _COLUMNS if any(_value(s, c[1]) for s in result.scenarios)]
    yield f"| scenario | verdict | {''.join(f'{title} | ' for title, _ in shown)}why |"
    yield f"|---|---|{'--:|' * len(shown)}---|"
    for s in result.scenarios:
        figures = "".join(f" {_value(s, names)} |" for _, names in shown)
        yield f"| {github_text(s.scenario)} | {_SIGNS.get(s.status, '')} {s.status} |{figures} {github_text(why(s))[:500]} |"
    if result.warnings:
        yield ""
        yield from (f"- ⚠️ {github_text(w)}" for w in result.warnings[:20])


def _value(scenario: ScenarioResult, names: Sequence[str]) -> str:
    metrics = scenario.last.measurement.metrics if scenario.last and scenario.last.measurement else {}
    name = find(metrics, *names)
    if name is None:
        return ""
    unit = metrics[name].unit
    return number(metrics[name].value) + (f" {unit}" if unit in ("ms", "s") else "")
