"""The example of docs/faults.md: a decode engine of the shipped scenario dies while it is measured, without Docker."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.e2e.helpers import copy, marked_processes, playbook

from .blocks import ROOT, blocks


def test_a_decode_engine_dies_and_comes_back(tmp_path: Path) -> None:
    page = (ROOT / "docs/faults.md").read_text()
    [addition] = re.findall(r"<!-- file: metadata.yaml -->\n```yaml\n(.*?)```", page, re.DOTALL)
    [command] = [s.command for b in blocks(ROOT / "docs/faults.md") for s in b.steps]
    copy("config", tmp_path / "config")
    copy("scenarios", tmp_path / "scenarios")
    with (tmp_path / "scenarios/003_pd_scale/metadata.yaml").open("a") as file:
        file.write(addition.replace("num_prompts: 300", "num_prompts: 150").replace("for: 2s", "for: 1s"))
    done = playbook(*command.split()[1:], "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "⚡ decode-1 on local killed: struck" in done.stderr
    assert "⚡ decode-1 on local killed: healed" in done.stderr
    answer = json.loads(done.stdout)
    [trial] = answer["result"]["scenarios"][0]["trials"]
    assert trial["clean"]
    metrics = trial["measurement"]["metrics"]
    assert {"fault_1_goodput_dip", "fault_1_errors", "fault_1_lost"} <= set(metrics)
    run = Path(answer["run"])
    [fault] = json.loads((run / "003_pd_scale/faults.json").read_text())["faults"]
    assert fault["struck"] <= fault["settled"] < fault["ended"]
    assert fault["healed"]
    assert " on local killed |" in (run / "report.md").read_text()
    assert "⚡1" in (run / "report.html").read_text()
    journal = [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]
    [intent] = [r["data"] for r in journal if r["type"] == "intent" and r["data"]["kind"] == "fault"]
    assert [r for r in journal if r["type"] == "undone" and r["data"]["id"] == intent["id"]]
    assert marked_processes(run) == []
