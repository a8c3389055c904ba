"""Everything of the model goes to JSON and back unchanged."""

import json
import math
import subprocess
import sys
from pathlib import Path

import attrs
import pytest
from playbook_kernel import model
from playbook_kernel.engine.job import Job
from playbook_kernel.model import (
    EVENTS,
    Artifact,
    CampaignResult,
    Check,
    Deployment,
    DriverRef,
    Edge,
    Endpoint,
    Event,
    Health,
    Instance,
    Load,
    Measurement,
    Metric,
    Node,
    PhaseOutcome,
    Residue,
    Scenario,
    ScenarioResult,
    Service,
    Trial,
    TrialResult,
    Warned,
)
from playbook_kernel.model.codec import decode, encode
from playbook_kernel.redaction import Secret

SCENARIO = Scenario(
    name="pd",
    directory=Path("/s/pd"),
    benchmark=DriverRef("aicp", {"lengths": [[1, 2]], "key": Secret("hunter22"), "deep": {"f": 1.5}}),
    services=(
        Service("prefill", ("n1", "n2"), Path("c.yml"), checks=(Check(DriverRef("http", {"url": "http://x"})),)),
        Service("decode", ("n2",), Path("c.yml"), after=(Edge("prefill", "started"),)),
    ),
    load=Load(concurrency=4, rate=1.0),
    info={"version": "1.0"},
)
TRIAL = TrialResult(
    "t1",
    "pd",
    "failed",
    phases=(PhaseOutcome("deploy", "failed", 1.0, error="no", error_class="image"),),
    facts={"n1": {"cpus": 4}},
    deployment=Deployment(
        (Instance("prefill", "n1", "ready", handle={"id": "abc"}),), {"prefill": Endpoint("http://x")}
    ),
    health=(Health(ok=True, service="prefill"),),
    measurement=Measurement({"ttft": Metric(1.5, "ms", 3)}, 3, 0, "m", {"a": [1, None]}),
    artifacts=(Artifact("log", "a/b.log", size=3),),
    residue=(Residue("n1", "container", "x"),),
    clean=False,
)
RESULT = CampaignResult(
    "r",
    "s",
    "e",
    1.0,
    "failed",
    (ScenarioResult("pd", "failed", trials=(TRIAL,)),),
    command=("run", "pd"),
    plugins={"a": "1"},
)


@pytest.mark.parametrize(
    "obj",
    [SCENARIO, Trial("t", SCENARIO, 2), Node("n", DriverRef("local")), TRIAL, RESULT],
    ids=lambda o: type(o).__name__,
)
def test_round_trip(obj):
    wire = json.loads(json.dumps(encode(obj, reveal=True), allow_nan=False))
    assert decode(wire, type(obj)) == obj


def test_every_model_class_has_a_decoder():
    classes = [c for c in vars(model).values() if isinstance(c, type) and attrs.has(c)]
    assert len(classes) > 40
    for cls in classes:
        with pytest.raises(ValueError, match=r"expected a mapping|not an event"):
            decode([], cls)


def test_secrets_are_masked_unless_revealed():
    assert "hunter22" not in json.dumps(encode(SCENARIO))
    assert decode(encode(SCENARIO, reveal=True), Scenario).benchmark.options["key"].reveal() == "hunter22"


def test_the_secrets_of_a_job_are_known_to_whoever_reads_it(tmp_path):
    job = Job(tmp_path, Trial("t", SCENARIO), tmp_path, {}, secrets=(Secret("hunter23"),))
    code = (
        "import json, sys\nfrom playbook_kernel.engine.job import Job\nfrom playbook_kernel.model.codec import decode\n"
        "from playbook_kernel.redaction import redact\n"
        "decode(json.loads(sys.stdin.read()), Job)\nprint(redact('it is hunter23'))"
    )
    said = json.dumps(encode(job, reveal=True))
    done = subprocess.run([sys.executable, "-c", code], input=said, capture_output=True, text=True, check=True)
    assert done.stdout == "it is ***\n"
    with pytest.raises(ValueError, match="expected a secret"):
        decode({**encode(job, reveal=True), "secrets": ["plain"]}, Job)


def test_events_carry_their_class():
    wire = encode(Warned("careful", "n1", trial="t"))
    assert wire["event"] == "Warned"
    assert decode(wire, Event) == Warned("careful", "n1", trial="t")
    assert set(EVENTS) >= {"Warned", "PhaseEnded"}
    with pytest.raises(ValueError, match="not an event"):
        decode({"event": "Nonsense"}, Event)


def test_numbers_that_json_lacks():
    metric = decode(json.loads(json.dumps(encode(Metric(math.inf, "s")), allow_nan=False)), Metric)
    assert metric.value == math.inf


@pytest.mark.parametrize(
    ("data", "where"),
    [
        ({"value": "1", "unit": "s"}, "Metric.value: expected a number"),
        ({"value": True, "unit": "s"}, "Metric.value: expected a number"),
        ({"unit": "s"}, "Metric.value: required key is missing"),
        ({"value": 1, "unit": "s", "samples": 1.5}, "Metric.samples: expected a whole number"),
    ],
)
def test_a_misfit_says_where(data, where):
    with pytest.raises(ValueError, match=where):
        decode(data, Metric)


def test_a_nested_misfit_says_where():
    data = encode(TRIAL)
    data["phases"][0]["status"] = "splendid"
    with pytest.raises(ValueError, match=r"TrialResult.phases\[0\].status: expected 'ok' or .*, got 'splendid'"):
        decode(data, TrialResult)


def test_unknown_keys_are_ignored_and_foreign_objects_refused():
    assert decode({"value": 1, "unit": "s", "future": 1}, Metric) == Metric(1.0, "s")
    with pytest.raises(TypeError, match="object cannot be written"):
        encode({"x": object()})
