"""How the sampling is set."""

from __future__ import annotations

from playbook_kernel.api import DriverRef, TrialContext, frozen

NAME, FILE, SUMMARY, KIND = "telemetry", "telemetry.jsonl", "telemetry_summary.json", "telemetry"


@frozen
class Options:
    """``interval``: seconds between samples. ``engines``: read the engines' ``/metrics`` too.

    ``slow_interval``: seconds between calls of npu-smi and rocm-smi, which take far more of a CPU than nvidia-smi.
    """

    interval: float = 1.0
    engines: bool = True
    slow_interval: float = 10.0


def ref_of(ctx: TrialContext) -> DriverRef | None:
    """The scenario's own mention of the collector."""
    return next((ref for ref in ctx.trial.scenario.collectors if ref.use == NAME), None)
