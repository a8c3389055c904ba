"""``gate``: fail a pipeline when a run is worse than its baseline."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .compare import compared, settings_options

if TYPE_CHECKING:
    from playbook_plugins.compare.rules import Finding


@click.command(name="gate")
@click.argument("run")
@click.option("-b", "--baseline", required=True, metavar="RUN", help="What it is compared with.")
@click.option(
    "--fail-on",
    "rules",
    multiple=True,
    metavar="RULE",
    help="'p99_ttft > +5%', 'ttft_p99_ms > 500', 'SCENARIO: RULE' or 'worse'; may be given again.  [default: worse]",
)
@click.option("--strict", is_flag=True, help="Fail also when a rule cannot be decided.")
@click.option("--junit", type=click.Path(path_type=Path), help="Write the findings here as JUnit XML.")
@settings_options
@click.pass_obj
def command(
    obj: Mapping[str, Any] | None,
    /,
    run: str,
    baseline: str,
    rules: tuple[str, ...],
    junit: Path | None,
    *,
    strict: bool,
    **options: Any,
) -> None:
    """Compare RUN with a baseline, and exit with 1 if a rule says so.

    A rule about a change fails when the change is beyond the limit and chance alone would hardly have made it; when it
    is beyond the limit but may be chance, the rule is undecided. RUN and the baseline may be repeats: A,B,C or 'nightly*'.
    Exit status: 0 good, 1 a rule fails, 2 the question is wrong.
    """  # fmt: skip
    from playbook_kernel.api import ConfigError

    from playbook_plugins.compare.rules import Rule, alone, judge

    made = [Rule.parse(r) for r in rules or ("worse",)]
    [comparison] = compared(obj, [baseline, run], None, options, also=[r.metric for r in made if r.metric])
    findings = judge(comparison, made)
    if not findings:
        raise ConfigError(
            [f"there is nothing to check: {comparison.variant} and {comparison.baseline} have no metric in common"],
            hint=f"`playbook-kernel compare {baseline} {run}` shows what each has",
        )
    bad = [f for f in findings if f.outcome == "fail" or (strict and f.outcome == "undecided")]
    for finding in findings if strict else alone(findings):
        if finding in bad or finding.outcome == "undecided":
            click.echo(
                f"{'FAIL' if finding in bad else 'undecided'}  {finding.scenario}  [{finding.rule}]  {finding.text}"
            )
    checks = f"{len(findings)} check{'' if len(findings) == 1 else 's'}"
    click.echo(f"{checks}, {len(bad)} failed: {comparison.variant} against {comparison.baseline}")
    if any(d.repeats == (1, 1) for s in comparison.scenarios for d in s.differences) and any(
        not r.limits for r in made
    ):
        assumed = f"{options.get('assumed_spread', 5.0):g} % is assumed (--assumed-spread; thrice that for tails)"
        click.echo(
            f"one run a side cannot tell a change from how runs differ by themselves, for which {assumed}: give repeats, "
            "such as A,B,C --baseline D,E,F"
        )
    if junit is not None:
        _write(junit, comparison.variant, findings, bad)
    if bad:
        sys.exit(1)


def _write(path: Path, name: str, findings: Sequence[Finding], bad: Sequence[Finding]) -> None:
    from playbook_plugins.reporters.junit import write_xml, xml_text

    suite = ET.Element("testsuite", name=xml_text(name), tests=str(len(findings)), failures=str(len(bad)), errors="0")
    for finding in findings:
        case = ET.SubElement(
            suite, "testcase", name=xml_text(finding.rule), classname=xml_text(finding.scenario), time="0"
        )
        if finding in bad:
            ET.SubElement(case, "failure", message=xml_text(finding.text), type=finding.outcome)
        else:
            ET.SubElement(case, "system-out").text = xml_text(finding.text)
    root = ET.Element("testsuites", name="playbook-kernel gate")
    root.append(suite)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_xml(root, path)
