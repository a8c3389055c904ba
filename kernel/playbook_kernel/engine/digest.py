"""Whether a configuration is still the same, without writing down what it says.

Each part of it (an attribute of a scenario, a file, a node) becomes a few digits of a salted hash in the journal. Values that
are secrets are left out; the digits of anything else say too little to find it again.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from playbook_kernel.model import Configuration, Scenario
from playbook_kernel.model.codec import encode

_WHOLE = 16 * 1024 * 1024
"""Files up to that size are read; of larger ones (models) the size and the beginning count."""

Digest = Mapping[str, Mapping[str, str]]
"""Of each part (``node n1``, ``scenario 001_x``) the attributes and files, each with its hash."""


def digest(config: Configuration, scenarios: Sequence[Scenario], salt: str) -> dict[str, dict[str, str]]:
    """Digest what the results of these scenarios depend on."""
    used = {n for s in scenarios if s.enabled and not s.skip for n in s.node_names}
    found = {"policy": _attributes(config.policy, salt)}
    for name in sorted(used & config.nodes.keys()):
        found[f"node {name}"] = _attributes(config.nodes[name], salt)
    for scenario in scenarios:
        files = {f"file {name}": _hash(salt, data) for name, data in _files(scenario)}
        found[f"scenario {scenario.name}"] = {**_attributes(scenario, salt, scenario.directory), **files}
    return found


def differences(then: Digest, now: Digest) -> list[str]:
    """What has changed, one sentence for each part. Files that are new are the run's own business: it may have made them."""
    said = []
    for part in dict.fromkeys((*then, *now)):
        if part not in now:
            said.append(f"{part} is gone")
        elif part not in then:
            said.append(f"{part} is new")
        elif changed := sorted(k for k, v in then[part].items() if now[part].get(k) != v):
            said.append(f"{part} has changed: {', '.join(changed)}")
    return said


def _attributes(thing: Any, salt: str, folder: Path | None = None) -> dict[str, str]:
    found = {}
    for name in (a.name for a in attrs.fields(type(thing)) if a.name not in ("name", "directory")):
        # where a driver was named (file and line), and where the folder lies, makes no difference
        text = re.sub(r', "origin": "(?:[^"\\]|\\.)*"', "", json.dumps(encode(getattr(thing, name)), sort_keys=True))
        found[name] = _hash(salt, (text.replace(f"{folder}/", "./") if folder else text).encode())
    return found


def _files(scenario: Scenario) -> Iterator[tuple[str, bytes]]:
    """What a scenario is made of: the files of its folder, and those that it names."""
    folder = scenario.directory
    named = (*(s.definition for s in scenario.services), *scenario.uploads, *filter(None, (scenario.env_file,)))
    below = (p for top in named if top.is_dir() for p in top.rglob("*"))
    for path in sorted({*folder.glob("*"), *named, *below}):
        if path.is_file():
            name = str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)
            size = path.stat().st_size
            with path.open("rb") as file:
                yield name, f"{size} ".encode() + file.read(_WHOLE if size <= _WHOLE else 1024 * 1024)


def _hash(salt: str, data: bytes) -> str:
    return hashlib.blake2b(data, key=salt.encode()[:64], digest_size=4).hexdigest()
