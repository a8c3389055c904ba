import json

import report
from playbook_kernel.api import DriverRef, Scenario
from playbook_kernel.testing import run_campaign


def test_a_line_for_each_campaign(tmp_path):
    for _ in range(2):
        scenario = Scenario("one", tmp_path, DriverRef("noop"))
        run_campaign(tmp_path / "results", [scenario], hooks={"history": report}, installed=True)
    lines = [json.loads(line) for line in (tmp_path / "results/history.jsonl").read_text().splitlines()]
    assert [(one["completed"], one["failed"]) for one in lines] == [(1, 0), (1, 0)]
    assert lines[0]["run"] != lines[1]["run"]
