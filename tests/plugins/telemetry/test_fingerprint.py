from __future__ import annotations

import json
import subprocess
from pathlib import Path

from attrs import evolve
from playbook_kernel.api import Artifact, ScenarioResult, Secret, TrialContext
from playbook_plugins.compare.comparison import changed
from playbook_plugins.compare.observed import Variant
from playbook_plugins.stats.fingerprints import images, provenance
from playbook_plugins.telemetry.fingerprint import folder_hash, parse, playbook_collect

from tests.plugins.reporters.samples import campaign, trial

SAID = """@topology
\tGPU0\tGPU1
GPU0\t X \tNV18
@compose
2.29.1
@containers
aaaa1111 sha256:img1 vllm/vllm-openai:v0.9
bbbb2222 sha256:img2 localhost/router
@images
sha256:img1 vllm/vllm-openai@sha256:d1,mirror/vllm@sha256:d1,
sha256:img2
"""


def test_what_a_node_says():
    found, facts = parse(SAID, {"aaaa1111": "engine", "bbbb2222": "router"}, "gpu-1")
    assert [(i["service"], i["image"], i["digest"]) for i in found] == [
        ("engine", "vllm/vllm-openai:v0.9", "vllm/vllm-openai@sha256:d1,mirror/vllm@sha256:d1"),
        ("router", "localhost/router", "sha256:img2"),
    ]
    assert facts == {"compose": "2.29.1", "topology": "\tGPU0\tGPU1\nGPU0\t X \tNV18"}


def test_the_state_of_the_files_it_was_made_from(ctx: TrialContext, tmp_path: Path):
    folder = tmp_path / "scenario"
    folder.mkdir()
    secret = Secret("hunter2-config")
    config = {"num_prompts": 7, "api_key": "k-123456", "note": secret.reveal(), "nested": {"a": 1}}
    (folder / "test_config.json").write_text(json.dumps(config))
    for words in (
        ["init", "-q"],
        ["add", "."],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "-m", "x"],
    ):
        subprocess.run(["git", "-C", str(folder), *words], check=True)
    ctx.trial = evolve(ctx.trial, scenario=evolve(ctx.trial.scenario, directory=folder))
    [kept] = playbook_collect(ctx, None)
    assert kept.kind == "fingerprint"
    raw = (ctx.directory / kept.path).read_text()
    data = json.loads(raw)
    assert data["scenario"]["test_config num_prompts"] == "7"
    assert "hunter2" not in raw
    assert "k-123456" not in raw
    assert (len(data["provenance"]["git commit"]), data["provenance"]["git state"]) == (40, "clean")
    assert data["provenance"]["package playbook-kernel"]
    (folder / "results").mkdir()
    (folder / "results" / "out.json").write_text("{}")
    before = folder_hash(folder)
    assert before == data["scenario"]["folder"]
    (folder / "new.yml").write_text("a: 1")
    [again] = playbook_collect(ctx, None)
    data = json.loads((ctx.directory / again.path).read_text())
    assert data["provenance"]["git state"] == "changed since"
    assert data["scenario"]["folder"] != before


def variant(tmp_path: Path, name: str, fingerprint: dict) -> Variant:
    run = tmp_path / name
    (run / "pd").mkdir(parents=True)
    (run / "pd" / "fingerprint.json").write_text(json.dumps(fingerprint))
    one = evolve(trial("pd"), artifacts=(Artifact("fingerprint", "fingerprint.json"),))
    return Variant(name, (run,), (campaign(ScenarioResult("pd", "completed", trials=(one,)), name=name),))


def test_a_comparison_names_what_is_not_the_same(tmp_path: Path):
    image = {"service": "engine", "node": "gpu-1", "image": "vllm:1", "digest": "sha256:1"}
    before = variant(
        tmp_path, "a", {"images": [image], "provenance": {"python": "3.11"}, "scenario": {"test_config n": "1"}}
    )
    after = variant(
        tmp_path, "b",
        {"images": [{**image, "digest": "sha256:2"}], "provenance": {"python": "3.11"}, "scenario": {"test_config n": "2"}},
    )  # fmt: skip
    assert [(c.what, c.before, c.after) for c in changed(before, after)] == [
        ("gpu-1: image of engine", "vllm:1 sha256:1", "vllm:1 sha256:2"), ("pd: test_config n", "1", "2"),
    ]  # fmt: skip
    assert provenance(before.results[0], before.folders[0]) == {"python": "3.11"}
    assert [i.digest for i in images(after.results[0], after.folders[0])] == ["sha256:2"]
    (tmp_path / "a" / "pd" / "fingerprint.json").write_text("not json")
    assert images(before.results[0], before.folders[0]) == []
