"""What tests of the checks are made of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from playbook_kernel.api import (
    Benchmark,
    Deployment,
    Load,
    Measurement,
    Metric,
    Secret,
    TrialContext,
)
from playbook_kernel.testing import (
    FakeSession,
    FakeTrial,
    fake_trial,
    node,
)


@frozen
class Options:
    rounds: int = 1
    api_key: Secret | None = None


def runs(body: Callable[[TrialContext], Any]) -> Benchmark[Any]:
    """A benchmark with this body."""

    class Bench(Benchmark[Options]):
        """Measures by a tool."""

        def run(self, ctx: TrialContext, deployment: Deployment, load: Load) -> Measurement:
            return body(ctx)

    return Bench(Options())


def by_tool(ctx: TrialContext) -> Measurement:
    done = ctx.session("n1").run(["bench"], timeout=600)
    return Measurement({"throughput": Metric(float(done.text), "tok/s", 4)})


def trial(tmp_path: Path, reply: Any) -> FakeTrial:
    return fake_trial(tmp_path, {"n1": FakeSession({"*": reply}, node=node("n1"))})


def fails(pattern: str) -> Any:
    return pytest.raises(AssertionError, match=pattern)
