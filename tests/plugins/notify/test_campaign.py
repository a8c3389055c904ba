"""A whole campaign whose notifications arrive, and one whose do not."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

from tests.cli.calls import spawn, workspace
from tests.plugins.notify.conftest import Receiver

_POLICY = "inter_scenario: {wait_between_scenarios: 0, retry_count: 0}\n"


def test_who_is_told_and_who_cannot_be_changes_nothing(tmp_path: Path, receive: Callable[..., Receiver]):
    receiver = receive()
    wanted = "[campaign_started, scenario_ended, campaign_ended]"
    section = f"""notifications:
  webhook:
    - {{url: "{receiver.url}", events: {wanted}}}
    - {{url: "http://127.0.0.1:9/", retries: 0, events: {wanted}}}
  email: {{smtp_server: 127.0.0.1, smtp_port: 9, to: a@example.org, retries: 0, events: {wanted}}}
"""
    root = workspace(tmp_path, "001_good", files={"config/scenarios.yaml": _POLICY + section})
    done = spawn("run", "--all", cwd=root)
    assert done.code == 0, done.err
    assert [b["event"] for b in receiver.bodies] == ["campaign_started", "scenario_ended", "campaign_ended"]
    [run] = (root / "results").iterdir()
    result = json.loads((run / "campaign.json").read_text())
    assert (result["status"], result["warnings"]) == ("completed", [])
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    told = [line for line in lines if line["event"] == "a notification was not delivered"]
    assert len(told) == 6, "each of three events, to each of two that cannot be told"
    shown = [line for line in done.err.splitlines() if "was not delivered" in line]
    assert len(shown) == 6
    line = r"\d\d:\d\d:\d\d warning: a notification was not delivered: (webhook at|mail over) \S+:\d+: .* \(notification \w+\)"
    assert all(re.fullmatch(line, told) for told in shown), shown
