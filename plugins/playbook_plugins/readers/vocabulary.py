"""The keys of the users' files, one attrs class a mapping. What a key does is said where it is read.

``None`` means that the file does not say, so that the next layer decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from attrs import field, frozen
from playbook_kernel.api import Document, DriverRef, Key, Secret

Composer = Literal["auto", "v1", "v2", "process"]


@frozen
class NodeEntry:
    """``nodes.<name>`` of the nodes file.

    ``ssh`` holds further options of that transport by their own names, ``options`` those of any other.
    """

    host: str
    username: str | None = None
    password: Secret | None = None
    key_filename: str | None = None
    passphrase: Secret | None = None
    port: int = 22
    tags: list[str] = field(factory=list)
    role: str = "worker"
    enabled: bool = True
    docker_compose_path: str = "/opt/inference"
    work_dir: str = "/opt/inference"
    docker_compose_version: Literal["auto", "v1", "v2", "unknown"] = "auto"
    composer: str | None = None
    transport: str | None = None
    host_keys: str | None = None
    known_hosts: str | None = None
    proxy_jump: str | None = None
    ssh: Mapping[str, Any] = field(factory=dict)
    options: Mapping[str, Any] = field(factory=dict)
    results_path: str | None = None
    env_vars: Mapping[str, Any] = field(factory=dict)


@frozen
class NodesFile:
    """The nodes file."""

    nodes: Mapping[str, Any] = field(factory=dict, metadata={"schema": Mapping[str, NodeEntry]})
    kubernetes: Mapping[str, Any] = field(factory=dict)


@frozen
class OrderEntry:
    """An entry of ``custom_order`` that is a mapping: ``directory``, or ``name`` where both are the same."""

    directory: str | None = None
    name: str | None = None
    enabled: bool = True
    description: str = ""


@frozen
class Execution:
    """``execution`` of the scenarios file."""

    scenarios_root: str | None = None
    execution_mode: Literal["auto", "directory", "custom"] = "auto"
    custom_order: list[Any] = field(factory=list, metadata={"schema": list[str | OrderEntry]})


@frozen
class Filters:
    """``filters``: they shape what ``--all`` runs."""

    include_tags: list[str] = field(factory=list)
    exclude_tags: list[str] = field(factory=list)
    only_scenarios: list[str] = field(factory=list)
    skip_scenarios: list[str] = field(factory=list)


@frozen
class InterScenario:
    """``inter_scenario``: between scenarios."""

    wait_between_scenarios: float = 60.0
    continue_on_failure: bool = False
    retry_count: int | None = None
    retry_interval: float | None = None


@frozen
class Concurrency:
    """``concurrent_deployment`` (scenarios file) and ``concurrent_execution`` (defaults file)."""

    max_concurrent_services: int | None = None
    max_concurrent_health_checks: int | None = None
    deployment_timeout: float | None = None
    health_check_timeout: float | None = None
    max_workers_health_check: int | None = None


@frozen
class SmartTimeout:
    """``smart_timeout``: how long a service's next try may take after an error of some kind.

    ``timeout_by_error_type``: seconds by network_error, image_pull_error, startup_error, health_check_error, default.
    ``error_patterns``: texts that make an error one of that kind.
    """

    enabled: bool = True
    timeout_by_error_type: Mapping[str, float] = field(factory=dict)
    error_patterns: Mapping[str, Any] = field(factory=dict)


@frozen
class RetryStrategy:
    """``retry_strategy``: of services, by error class."""

    service_level_retries: int = 2
    retry_delay: float = 30.0
    retry_only_failed: bool = True
    scenario_level_retries: int | None = None
    by_error_class: Mapping[str, int] = field(factory=dict)
    smart_timeout: SmartTimeout | None = None


@frozen
class ExecutionConfig:
    """``execution_config`` of the scenarios file."""

    default_collection_mode: str | None = None
    concurrent_deployment: Concurrency = field(factory=Concurrency)
    retry_strategy: RetryStrategy = field(factory=RetryStrategy)
    smart_timeout: SmartTimeout | None = None


@frozen
class DriverEntry:
    """A driver and its own options; the driver's name alone will do."""

    use: str
    options: Mapping[str, Any] = field(factory=dict)


def named_driver(entry: str | DriverEntry, document: Document, *place: Key) -> DriverRef:
    """The driver that an entry of a file names."""
    if isinstance(entry, str):
        return DriverRef(entry, {}, document.origin(*place))
    return DriverRef(entry.use, entry.options, document.origin(*place))


@frozen
class ScenariosFile:
    """The scenarios file."""

    execution: Execution = field(factory=Execution)
    filters: Filters = field(factory=Filters)
    inter_scenario: InterScenario = field(factory=InterScenario)
    execution_config: ExecutionConfig = field(factory=ExecutionConfig)
    isolation: Literal["strict", "warn"] = "strict"
    reports: list[str | DriverEntry] = field(factory=list)
    monitoring: Mapping[str, Any] = field(factory=dict)
    notifications: Mapping[str, Any] = field(factory=dict)


@frozen
class CheckEntry:
    """One check. Keys that are not named here are options of the probe that ``type`` names.

    ``timeout``: seconds for one look. ``required: false``: a failure is told, and stops nothing.
    """

    OPEN: ClassVar[bool] = True
    type: str
    required: bool = True
    timeout: float = 10.0


@frozen
class HealthCheck:
    """``health_check`` of a service and ``service_health_check`` of the defaults file."""

    enabled: bool | None = None
    strategy: str | None = None
    startup_timeout: float | None = None
    startup_grace_period: float | None = None
    check_interval: float | None = None
    max_retries: int | None = None
    retry_delay: float | None = None
    failure_action: Literal["retry", "skip", "abort"] | None = None
    checks: list[Mapping[str, Any]] | None = field(default=None, metadata={"schema": list[CheckEntry]})


@frozen
class TestExecution:
    """``test_execution``."""

    node: str | None = None
    script: str | None = None
    timeout: float | None = None
    result_paths: list[str] | None = None
    wait_for_all_services: bool | None = None
    collection_mode: str | None = None


@frozen
class PluginsSection:
    """``plugins`` of the defaults file. ``paths``: single-file plugins; relative to the working directory."""

    disable: list[str] = field(factory=list)
    prefer: Mapping[str, str] = field(factory=dict)
    require: list[str] = field(factory=list)
    paths: list[str] = field(factory=list)


@frozen
class DefaultsFile:
    """The defaults file. ``collectors``: in every scenario, beside those of the collection mode."""

    service_health_check: HealthCheck = field(factory=HealthCheck)
    test_execution: TestExecution = field(factory=TestExecution)
    collection_mode: str | None = None
    concurrent_execution: Concurrency = field(factory=Concurrency)
    plugins: PluginsSection = field(factory=PluginsSection)
    collectors: list[str | DriverEntry] = field(factory=list)
    reports: list[str | DriverEntry] = field(factory=list)
    file_operations: Mapping[str, Any] = field(factory=dict)
    progress_display: Mapping[str, Any] = field(factory=dict)
    system_resources: Mapping[str, Any] = field(factory=dict)


@frozen
class ServiceEntry:
    """An entry of ``services``; ``node`` and ``nodes`` mean the same."""

    name: str
    compose_file: str | None = None
    nodes: str | list[str] | None = None
    node: str | list[str] | None = None
    depends_on: list[str] = field(factory=list)
    health_check: HealthCheck = field(factory=HealthCheck)
    kubectl: Mapping[str, Any] = field(factory=dict)


@frozen
class DeploymentSection:
    """``deployment``: the older home of services and test execution."""

    platform: str | None = None
    services: list[Mapping[str, Any]] | None = field(default=None, metadata={"schema": list[ServiceEntry]})
    test_execution: TestExecution | None = None


@frozen
class LoadEntry:
    """``load``: see the Load class of the kernel."""

    concurrency: int | None = None
    rate: float | None = None
    requests: int | None = None
    duration: float | None = None


@frozen
class Resources:
    """``resource_requirements``: checked before anything is deployed.

    ``min_gpu_memory`` is of each accelerator, ``min_memory_gb`` of each node: a number of GB, or a text such as 80GiB.
    ``min_nodes``: enabled nodes.
    """

    min_gpu_memory: int | float | str | None = None
    min_memory_gb: int | float | str | None = None
    min_nodes: int | None = None


@frozen
class MetadataFile:
    """The metadata file of a scenario. ``collectors``: beside those of the collection mode."""

    name: str | None = None
    description: str = ""
    version: str | float | int = "1.0"
    author: str | None = None
    created: Any = None
    enabled: bool | None = None
    tags: list[str | int | float] = field(factory=list)
    estimated_duration: float = 0.0
    dependencies: list[str] = field(factory=list)
    resource_requirements: Resources = field(factory=Resources)
    services: list[Mapping[str, Any]] | None = field(default=None, metadata={"schema": list[ServiceEntry]})
    test_execution: TestExecution | None = None
    deployment: DeploymentSection | None = None
    collection_mode: str | None = None
    benchmark: str | DriverEntry | None = None
    collectors: list[str | DriverEntry] = field(factory=list)
    load: LoadEntry = field(factory=LoadEntry)
    upload: list[str] = field(factory=list)
    artifacts_collection: Mapping[str, Any] = field(factory=dict)
    concurrent_execution: Concurrency = field(factory=Concurrency)


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
    {"options", "ssh", "kubernetes", "file_operations", "progress_display", "system_resources", "checks"}
)
"""Mappings whose keys are somebody else's: a driver's own options, or what has no effect."""

ERROR_CLASSES: Mapping[str, str] = {
    "network_error": "network", "image_pull_error": "image", "startup_error": "start", "health_check_error": "health",
    "default": "other", "network": "network", "image": "image", "start": "start", "health": "health",
    "timeout": "timeout", "node": "node", "engine": "engine", "command": "command", "other": "other",
}  # fmt: skip
"""Names of error classes in files, the earlier tool's among them, and what they are called here."""
