"""The published schema of results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from jsonschema import Draft202012Validator, ValidationError
from playbook_kernel.api import CampaignResult, Measurement, Metric, NoOptions, decode
from playbook_plugins.reporters.json_ import JsonReporter
from playbook_plugins.reporters.result_schema import result_schema

from tests.plugins.reporters.samples import good, hostile, trial

PUBLISHED = Path(__file__).parents[3] / "docs" / "result.schema.json"


def without_words(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {k: without_words(v) for k, v in schema.items() if k != "description"}
    return schema


def taken_away(published: Any, now: Any, at: str = "$") -> list[str]:
    """Where the schema of the classes lacks or changes something that was published."""
    if not isinstance(published, dict) or not isinstance(now, dict):
        return [] if published == now else [at]
    return [
        p for k, v in published.items() for p in (taken_away(v, now[k], f"{at}.{k}") if k in now else [f"{at}.{k}"])
    ]


def test_nothing_that_was_published_is_taken_away():
    """What is added is published with: python -m playbook_plugins.reporters.result_schema > docs/result.schema.json"""
    assert taken_away(without_words(json.loads(PUBLISHED.read_text())), without_words(result_schema())) == []
    assert taken_away({"a": {"b": 1}, "c": [1]}, {"a": {}, "c": [2]}) == ["$.a.b", "$.c"]


def test_what_is_written_fits_and_what_is_wrong_does_not(tmp_path: Path):
    validator = Draft202012Validator(json.loads(PUBLISHED.read_text()))
    odd = evolve(trial("odd"), measurement=Measurement({"x": Metric(float("nan"), "1")}))
    result = good()
    result = evolve(result, scenarios=(*result.scenarios, evolve(result.scenarios[0], trials=(odd,))))
    for one in (result, hostile()):
        [path] = JsonReporter(NoOptions()).write(one, tmp_path)
        validator.validate(json.loads(path.read_text()))
    wrong = json.loads(path.read_text())
    wrong["scenarios"][0]["status"] = "splendid"
    with pytest.raises(ValidationError):
        validator.validate(wrong)


def test_a_kept_result_of_version_1_can_be_read_for_ever():
    """The file is never written anew: it is what version 1 wrote."""
    kept = json.loads((Path(__file__).parent / "result-v1.json").read_text())
    result = decode(kept, CampaignResult)
    assert result == good()
