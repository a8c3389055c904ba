"""What holds for keys beyond their types: which do nothing here and why, which are newly live, what is too small."""

from __future__ import annotations

from collections.abc import Mapping

NO_EFFECT: Mapping[str, Mapping[tuple[str, ...], str]] = {
    "nodes": {
        ("results_path",): "results are kept on the controller, in the results folder",
        ("env_vars",): "put variables into the scenario's .env",
    },
    "scenarios": {
        ("monitoring",): "the lifecycle is recorded in the journal and the reports",
    },
    "defaults": {
        ("file_operations",): "transfers are verified and bounded by the session",
        ("progress_display",): "the live view adapts to the terminal by itself",
        ("system_resources",): "`playbook-kernel health` has its own limits",
    },
    "metadata": {
        ("artifacts_collection",): "result_paths and collection_mode of test_execution say what is collected",
        ("deployment", "platform"): "each node's composer is found by looking at the node",
    },
}
"""Keys that the earlier templates show and that do nothing here, and why: one warning each."""

OFF_HAS_NO_EFFECT: Mapping[str, Mapping[tuple[str, ...], str]] = {
    "scenarios": {
        ("execution_config", "retry_strategy", "retry_only_failed"): "only what failed is ever tried again",
    },
    "defaults": {
        ("test_execution", "wait_for_all_services"): "the test starts when all services are ready",
    },
    "metadata": {
        ("test_execution", "wait_for_all_services"): "the test starts when all services are ready",
        ("deployment", "test_execution", "wait_for_all_services"): "the test starts when all services are ready",
    },
}
"""Switches that cannot be switched off here."""

NEWLY_LIVE: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "scenarios": (
        ("inter_scenario", "retry_interval"),
        ("execution_config", "retry_strategy", "scenario_level_retries"),
        ("execution_config", "retry_strategy", "smart_timeout"),
        ("execution_config", "smart_timeout"),
        ("notifications",),
    ),
    "defaults": (
        ("service_health_check", "strategy"),
        ("service_health_check", "startup_timeout"),
        ("service_health_check", "check_interval"),
        ("concurrent_execution",),
    ),
    "metadata": (("dependencies",), ("resource_requirements",), ("concurrent_execution",)),
}
"""Keys that the earlier tool read past and that are enforced here: ``validate`` tells them once."""

MINIMA: Mapping[str, int | float] = {
    "wait_between_scenarios": 0, "retry_count": 0, "retry_interval": 0, "service_level_retries": 0, "retry_delay": 0,
    "scenario_level_retries": 0, "max_retries": 0, "startup_grace_period": 0, "estimated_duration": 0, "min_nodes": 0,
    "max_concurrent_services": 1, "max_concurrent_health_checks": 1, "max_workers_health_check": 1,
    "deployment_timeout": 0.0, "health_check_timeout": 0.0, "startup_timeout": 0.0, "check_interval": 0.0,
    "timeout": 0.0,
}  # fmt: skip
"""The smallest value of a key, wherever it stands; a float means that the value must be above it."""

OWN_BUSINESS = frozenset(
    {"options", "ssh", "kubernetes", "file_operations", "progress_display", "system_resources", "checks", "faults"}
)
"""Mappings whose keys are somebody else's: a driver's own options, or what has no effect."""

ERROR_CLASSES: Mapping[str, str] = {
    "network_error": "network", "image_pull_error": "image", "startup_error": "start", "health_check_error": "health",
    "default": "other", "network": "network", "image": "image", "start": "start", "health": "health",
    "timeout": "timeout", "node": "node", "engine": "engine", "command": "command", "other": "other",
}  # fmt: skip
"""Names of error classes in files, the earlier tool's among them, and what they are called here."""
