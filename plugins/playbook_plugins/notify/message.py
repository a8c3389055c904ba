"""What is told, as plain data; secrets are taken out here, once."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from attrs import field, frozen
from playbook_kernel.api import CampaignResult, CampaignStarted, ScenarioEnded, redact, redacted

_FIELD = re.compile(r"\{(\w+)\}")
_MOST = 200


@frozen
class Message:
    """``id`` is the same for every attempt to deliver it, so that a receiver can tell repeats."""

    id: str
    event: str
    text: str
    data: Mapping[str, Any] = field(factory=dict)
    failed: bool = False

    def body(self) -> dict[str, Any]:
        """Everything, JSON-like."""
        return redacted({"id": self.id, "event": self.event, "text": self.text, **self.data})  # type: ignore[no-any-return]

    def fill(self, template: str, *, as_json: bool = False) -> str:
        """Put the values into a template; with ``as_json`` so that a JSON text in quotes stays one. Unknown names stay."""
        values = self.body()

        def value(match: re.Match[str]) -> str:
            if match[1] not in values:
                return match[0]
            found = values[match[1]]
            text = found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)
            return json.dumps(text, ensure_ascii=False)[1:-1] if as_json and isinstance(found, str) else text

        return _FIELD.sub(value, template)

    def lines(self) -> str:
        """For people."""
        found = [self.text, ""]
        for scenario in self.data.get("scenarios", ()):
            reason = f": {scenario['reason']}" if scenario["reason"] else ""
            found.append(f"{scenario['status']:10} {scenario['name']}{reason}")
        return redact("\n".join(found).rstrip() + "\n")


def of_start(event: CampaignStarted) -> Message:
    """A campaign begins."""
    count = len(event.scenarios)
    data = {"run": event.run, "status": "running", "total": count}
    return Message(
        f"{event.run}/started",
        "campaign_started",
        f"{count} {'scenario begins' if count == 1 else 'scenarios begin'}",
        data,
    )


def of_scenario(event: ScenarioEnded, run: str) -> Message:
    """A verdict."""
    result = event.result
    reason = f": {result.reason}" if result.reason else ""
    data = {"run": run, "status": result.status, "scenario": result.scenario, "reason": result.reason}
    text = f"{result.scenario} {result.status}{reason}"
    return Message(f"{run}/{result.scenario}", "scenario_ended", text, data, failed=result.status == "failed")


def of_result(result: CampaignResult) -> Message:
    """What came of a campaign."""
    counts = {s: result.count(s) for s in ("completed", "failed", "skipped", "cancelled")}  # type: ignore[arg-type,unused-ignore]
    total = len(result.scenarios)
    bad = ", ".join(f"{n} {s}" for s, n in counts.items() if n and s != "completed")
    text = f"{counts['completed']} of {total} scenarios completed" + (f" ({bad})" if bad else "")
    scenarios = [{"name": s.scenario, "status": s.status, "reason": s.reason} for s in result.scenarios[:_MOST]]
    data = {
        "run": result.id, "status": result.status, "total": total, **counts, "seconds": result.seconds, "tool": result.tool,
        "started": result.started, "ended": result.ended, "scenarios": scenarios,
    }  # fmt: skip
    return Message(f"{result.id}/ended", "campaign_ended", text, data, failed=result.status == "failed")
