"""What a hook may answer: looked at before anything is made of it, so that a wrong answer is told with its plugin."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from playbook_kernel.errors import PluginError
from playbook_kernel.model import Artifact, Deployment, Health, Measurement, Residue, Scenario
from playbook_kernel.model.codec import decode, encode

_ONE: Mapping[str, type[Any]] = {"playbook_deploy": Deployment, "playbook_benchmark": Measurement}
_MANY: Mapping[str, type[Any]] = {
    "playbook_plan": Scenario,
    "playbook_healthcheck": Health,
    "playbook_collect": Artifact,
    "playbook_cleanup": Residue,
    "playbook_report": Path,
}


LIMIT = 4 * 1024 * 1024
"""How long one answer may be, as JSON, in bytes; what is longer belongs in a file."""


def answer(hook: str, said: Any) -> Any:
    """What an implementation said, used up if it is lazy: one object, a mapping of facts, or a list.

    Raises PluginError if that is not what the hook promises, or if it holds what cannot cross a process.
    """
    if said is None:
        return None
    if hook == "playbook_discover":
        return dict(_fits(hook, said, Mapping))
    if hook == "playbook_preflight":
        return {str(k): str(v) for k, v in _fits(hook, said, Mapping).items()}
    if kind := _ONE.get(hook):
        return _fits(hook, said, kind)
    if kind := _MANY.get(hook):
        if isinstance(said, kind):
            said = [said]
        elif isinstance(said, (str, bytes, Mapping)) or not isinstance(said, Iterable):
            raise PluginError(f"{hook} gave {type(said).__name__}, not {kind.__name__}s")
        return [_fits(hook, item, kind) for item in said]
    return said


def _fits(hook: str, said: Any, kind: type[Any]) -> Any:
    if not isinstance(said, kind):
        raise PluginError(f"{hook} gave {type(said).__name__}, not {kind.__name__}")
    try:
        data = encode(said)
        if (size := len(json.dumps(data))) > LIMIT:
            raise PluginError(f"{hook} gave {size} bytes, more than {LIMIT}", hint="keep it in a file: an artifact")
        if kind not in (Mapping, Path):
            decode(data, kind)
    except (TypeError, ValueError, RecursionError) as error:
        raise PluginError(f"{hook} gave a {kind.__name__} that cannot be kept: {error}") from error
    return said
