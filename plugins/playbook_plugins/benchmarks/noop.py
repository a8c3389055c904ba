"""Measures nothing but itself: for trying a layout out, and for tests."""

from __future__ import annotations

import time

from playbook_kernel.api import Benchmark, Deployment, Load, Measurement, Metric, TrialContext, current, frozen


@frozen
class Options:
    """``seconds``: how long to hold the deployment up."""

    seconds: float = 0.0


class NoopBenchmark(Benchmark[Options]):
    """Puts no load on anything; its one metric is how long it took."""

    def run(self, ctx: TrialContext, deployment: Deployment, load: Load) -> Measurement:
        began = time.monotonic()
        current().sleep(self.options.seconds)
        return Measurement({"elapsed": Metric(time.monotonic() - began, "s", 1)}, method="noop")
