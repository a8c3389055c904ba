"""The verdicts as JUnit XML, for CI systems."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

from playbook_kernel.api import CampaignResult, NoOptions, Reporter, ScenarioResult, redact

from .words import why

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class JunitReporter(Reporter[NoOptions]):
    """``junit.xml``: a test suite for the campaign, a test case for each scenario, metrics as its properties."""

    def write(self, result: CampaignResult, into: Path) -> Sequence[Path]:
        path = into / "junit.xml"
        suite = ET.Element(
            "testsuite",
            name=xml_text(result.id),
            tests=str(len(result.scenarios)),
            failures=str(result.count("failed")),
            errors=str(sum(s.status not in ("completed", "failed", "skipped") for s in result.scenarios)),
            skipped=str(result.count("skipped")),
            time=f"{result.seconds:.3f}",
            timestamp=xml_text(result.started.removesuffix("Z")),
        )
        for scenario in result.scenarios:
            suite.append(_case(scenario, result.id))
        suites = ET.Element("testsuites", name="playbook-kernel", time=f"{result.seconds:.3f}")
        suites.append(suite)
        write_xml(suites, path)
        return [path]


def _case(scenario: ScenarioResult, run: str) -> ET.Element:
    spent = sum(t.seconds for t in scenario.trials)
    case = ET.Element("testcase", name=xml_text(scenario.scenario), classname=xml_text(run), time=f"{spent:.3f}")
    last = scenario.last
    if last and last.measurement:
        properties = ET.SubElement(case, "properties")
        for name, metric in last.measurement.metrics.items():
            unit = "" if metric.unit == "1" else f" {metric.unit}"
            value = xml_text(f"{metric.value:.9g}{unit}")
            ET.SubElement(properties, "property", name=xml_text(name), value=value)
    failure = last.failure if last else None
    if scenario.status == "skipped":
        ET.SubElement(case, "skipped", message=xml_text(why(scenario)))
    elif scenario.status != "completed":
        tag = "failure" if scenario.status == "failed" else "error"
        kind = (failure.error_class or failure.phase) if failure else scenario.status
        told = ET.SubElement(case, tag, message=xml_text(why(scenario)), type=xml_text(kind))
        if failure:
            said = [f"{failure.phase} {failure.status}: {failure.error}"]
            said += [f"{k}: {v}" for k, v in (("node", failure.node), ("hint", failure.hint)) if v]
            told.text = xml_text("\n".join(said))
    if last and last.warnings:
        ET.SubElement(case, "system-out").text = xml_text("\n".join(last.warnings))
    return case


def xml_text(value: object) -> str:
    """Text without secrets and without the characters that XML cannot hold at all."""
    return _NOT_XML.sub("\ufffd", redact(str(value)))


def write_xml(root: ET.Element, path: Path) -> None:
    """Write a document, indented."""
    ET.indent(root)
    path.write_bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n")
