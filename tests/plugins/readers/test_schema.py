"""The JSON Schemas of the files: current, true to the examples, and of use against mistakes."""

import json
import re
from pathlib import Path

import attrs
import pytest
import yaml
from playbook_kernel.api import NoOptions
from playbook_plugins.readers import metadata, vocabulary
from playbook_plugins.readers.playbook import PlaybookReader
from playbook_plugins.readers.schema import described

from .reading import FILES

ROOT = Path(__file__).resolve().parents[3]
SCHEMAS = PlaybookReader(NoOptions()).schemas()
TYPES = {
    "object": dict, "array": list, "string": str, "boolean": bool, "null": type(None), "integer": int,
    "number": (int, float),
}  # fmt: skip


def errors(value, schema, top, path="$"):
    """A validator of the words that these schemas use; fails for a word that it does not know."""
    known = {
        "$schema", "title", "description", "default", "$defs", "type", "pattern", "properties", "required", "items",
        "additionalProperties", "anyOf", "enum", "$ref",
    }  # fmt: skip
    assert set(schema) <= known
    if "$ref" in schema:
        return errors(value, top["$defs"][schema["$ref"].rpartition("/")[2]], top, path)
    if "anyOf" in schema:
        tries = [errors(value, s, top, path) for s in schema["anyOf"]]
        return [] if any(not t for t in tries) else min(tries, key=len)
    if "enum" in schema:
        return [] if value in schema["enum"] else [f"{path}: not one of {schema['enum']}"]
    if "type" in schema:
        kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        fits = any(isinstance(value, TYPES[k]) and (not isinstance(value, bool) or k in ("boolean",)) for k in kinds)
        if not fits:
            return [f"{path}: {value!r} is not {kinds}"]
    if isinstance(value, str) and "pattern" in schema and not re.search(schema["pattern"], value):
        return [f"{path}: {value!r} does not match"]
    found = []
    if isinstance(value, dict):
        found += [f"{path}: {k} is missing" for k in schema.get("required", ()) if k not in value]
        rest = schema.get("additionalProperties", True)
        for key, inner in value.items():
            if key in schema.get("properties", {}):
                found += errors(inner, schema["properties"][key], top, f"{path}.{key}")
            elif rest is False:
                found.append(f"{path}: unknown key {key}")
            elif isinstance(rest, dict):
                found += errors(inner, rest, top, f"{path}.{key}")
    if isinstance(value, list):
        for number, inner in enumerate(value):
            found += errors(inner, schema.get("items", {}), top, f"{path}[{number}]")
    return found


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_committed_schemas_are_current(name):
    committed = json.loads((ROOT / f"config/schema/{name}.schema.json").read_text())
    assert committed == SCHEMAS[name], f"playbook-kernel config schema {name} > config/schema/{name}.schema.json"


def kind(path):
    return "metadata" if path.stem == "metadata" else path.name.partition(".")[0]


@pytest.mark.parametrize(
    "file",
    [
        *sorted(p for p in (ROOT / "config").glob("*.yaml")),
        *sorted((ROOT / "scenarios").glob("*/metadata.yaml")),
        *sorted(FILES.glob("config/*.yaml")),
        *sorted(p for p in FILES.glob("scenarios/*/metadata.y*ml")),
    ],
    ids=lambda p: f"{p.parent.name}/{p.name}",
)
def test_files_that_work_are_valid(file):
    schema = SCHEMAS[kind(file)]
    value = json.loads(json.dumps(yaml.safe_load(file.read_text()), default=str))
    assert errors(value, schema, schema) == []


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("nodes", {"nodes": {"a": {}}}, "host is missing"),
        ("nodes", {"nodes": {"a": {"host": "h", "prot": 1}}}, "unknown key prot"),
        ("nodes", {"nodes": {"a": {"host": "h", "port": "ssh"}}}, "does not match"),
        ("nodes", {"nodes": {"a": {"host": "h", "docker_compose_version": "v3"}}}, "a.docker_compose_version"),
        ("scenarios", {"execution": {"custom_order": [7]}}, "custom_order[0]"),
        ("metadata", {"services": [{"nodes": ["a"]}]}, "name is missing"),
        ("metadata", {"services": [{"name": "a", "health_check": {"checks": [{"url": "x"}]}}]}, "type is missing"),
        ("defaults", {"service_health_check": {"max_retries": 1.5}}, "max_retries"),
    ],
)
def test_mistakes_are_seen(name, value, words):
    assert any(words in e for e in errors(value, SCHEMAS[name], SCHEMAS[name]))


def test_a_variable_may_stand_for_a_number():
    value = {"nodes": {"a": {"host": "${H}", "port": "${PORT:-22}", "enabled": "${ON}"}}}
    assert errors(value, SCHEMAS["nodes"], SCHEMAS["nodes"]) == []


def mappings(schema, path="$"):
    if "properties" in schema:
        yield path, schema
    for name, inner in schema.get("$defs", {}).items():
        yield from mappings(inner, name)


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_key_says_what_it_means(name):
    silent = [
        f"{p}.{k}" for p, s in mappings(SCHEMAS[name]) for k, v in s["properties"].items() if "description" not in v
    ]
    assert silent == []


def test_no_item_speaks_of_a_key_that_is_not_there():
    for cls in [v for v in {**vars(vocabulary), **vars(metadata)}.values() if attrs.has(v) and isinstance(v, type)]:
        assert set(described(cls)[1]) <= {f.name.rstrip("_") for f in attrs.fields(cls)}, cls
