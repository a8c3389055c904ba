"""The keys of the users' files, one attrs class a mapping. What a key does is said where it is read.

``None`` means that the file does not say, so that the next layer decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from attrs import field, frozen
from playbook_kernel.api import DriverRef, Secret, learn

from playbook_plugins.text import Document, Key

Composer = Literal["auto", "v1", "v2", "process"]


@frozen
class NodeEntry:
    """``nodes.<name>`` of the nodes file: one host, and how it is reached.

    * ``host``: name or address; ``local`` is this machine.
    * ``username``: who logs in; required over SSH.
    * ``password``: for the login, and for ``sudo`` where a command needs it; ``${VARIABLE}`` keeps it out of the file.
    * ``key_filename``: private key; ``~`` works. Beside a password, a key that is missing is only warned about.
    * ``passphrase``: of that key.
    * ``port``: of the SSH server.
    * ``tags``: words of your own; shown by ``nodes``.
    * ``role``: a word of your own; shown by ``nodes``.
    * ``enabled``: ``false`` takes the node out; a scenario that names it is told.
    * ``docker_compose_path``: folder on the node where a scenario's files lie while it runs; what was there is put back.
    * ``work_dir``: folder on the node in which a remote test script runs.
    * ``docker_compose_version``: which Compose is used; ``auto`` and ``unknown`` look at the node.
    * ``composer``: any composer by name, such as ``process`` for plain processes; beats ``docker_compose_version``.
    * ``transport``: how the node is reached: ``ssh``, ``local``, or one of a plugin.
    * ``host_keys``: see the options of the transport ``ssh``.
    * ``known_hosts``: see the options of the transport ``ssh``.
    * ``proxy_jump``: see the options of the transport ``ssh``.
    * ``ssh``: further options of the transport ``ssh`` by their own names, such as ``max_sessions``.
    * ``options``: options of any other transport.
    * ``results_path``: has no effect; results are kept on the controller.
    * ``env_vars``: has no effect; put variables into the scenario's ``.env``.
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
class ClusterEntry:
    """``kubernetes.<name>`` of the nodes file: a host with ``kubectl``, and the cluster that this reaches.

    * ``host``: as for a node.
    * ``username``: as for a node.
    * ``password``: as for a node.
    * ``key_filename``: as for a node.
    * ``passphrase``: as for a node.
    * ``port``: as for a node.
    * ``host_keys``: as for a node.
    * ``known_hosts``: as for a node.
    * ``proxy_jump``: as for a node.
    * ``transport``: as for a node.
    * ``ssh``: as for a node.
    * ``tags``: as for a node.
    * ``enabled``: ``false`` takes the cluster out; a scenario that names it is told.
    * ``kubectl_work_dir``: folder on the host in which a test script runs; manifests are never written there.
    * ``kubeconfig``: a file on the host; what ``kubectl`` takes by itself, if it is not said.
    * ``context``: of that file; its current one, if it is not said.
    * ``default_namespace``: for services that do not say ``kubectl.namespace``.
    """

    host: str
    username: str | None = None
    password: Secret | None = None
    key_filename: str | None = None
    passphrase: Secret | None = None
    port: int = 22
    host_keys: str | None = None
    known_hosts: str | None = None
    proxy_jump: str | None = None
    transport: str | None = None
    ssh: Mapping[str, Any] = field(factory=dict)
    tags: list[str] = field(factory=list)
    enabled: bool = True
    kubectl_work_dir: str = "/opt/k8s-manifests"
    kubeconfig: str | None = None
    context: str | None = None
    default_namespace: str = "default"


@frozen
class NodesFile:
    """The nodes file. Without one there is a single node, ``local``, on which services run as plain processes.

    * ``nodes``: a mapping of names to nodes.
    * ``kubernetes``: clusters, driven by the package `playbook-deploy-kubernetes`; a service is placed on one by its name.
    """

    nodes: Mapping[str, Any] = field(factory=dict, metadata={"schema": Mapping[str, NodeEntry]})
    kubernetes: Mapping[str, Any] = field(factory=dict, metadata={"schema": Mapping[str, ClusterEntry]})


@frozen
class OrderEntry:
    """An entry of ``custom_order`` that is a mapping.

    * ``directory``: the scenario's folder.
    * ``name``: another way to say the folder, where both are the same.
    * ``enabled``: ``false`` leaves it out.
    * ``description``: used where the scenario's metadata has none.
    """

    directory: str | None = None
    name: str | None = None
    enabled: bool = True
    description: str = ""


@frozen
class Execution:
    """``execution`` of the scenarios file: which folders, in which order.

    * ``scenarios_root``: the folder of scenarios, relative to where the command is called. Without it
      ``config/scenarios`` if there is one, else ``scenarios``; ``--scenarios-dir`` beats it.
    * ``execution_mode``: ``auto``, ``directory``: by number and name of the folders; ``custom``: by ``custom_order``.
    * ``custom_order``: names of folders, or mappings.
    """

    scenarios_root: str | None = None
    execution_mode: Literal["auto", "directory", "custom"] = "auto"
    custom_order: list[Any] = field(factory=list, metadata={"schema": list[str | OrderEntry]})


@frozen
class Filters:
    """``filters``: they shape what ``--all`` runs, and not what ``run NAME`` runs.

    * ``include_tags``: only scenarios with one of these tags.
    * ``exclude_tags``: no scenario with one of these tags.
    * ``only_scenarios``: only these, by folder.
    * ``skip_scenarios``: not these, by folder.
    """

    include_tags: list[str] = field(factory=list)
    exclude_tags: list[str] = field(factory=list)
    only_scenarios: list[str] = field(factory=list)
    skip_scenarios: list[str] = field(factory=list)


@frozen
class InterScenario:
    """``inter_scenario``: between scenarios.

    * ``wait_between_scenarios``: seconds.
    * ``continue_on_failure``: go on when a scenario has failed; otherwise the rest is marked as skipped.
    * ``retry_count``: further attempts at a scenario that failed; 1 if nothing says otherwise.
    * ``retry_interval``: seconds before each of them; 30 if nothing says otherwise.
    """

    wait_between_scenarios: float = 60.0
    continue_on_failure: bool = False
    retry_count: int | None = None
    retry_interval: float | None = None


@frozen
class Concurrency:
    """``concurrent_deployment`` (scenarios file) and ``concurrent_execution`` (defaults and metadata).

    * ``max_concurrent_services``: services that are brought up at the same time; 5 if nothing says otherwise.
    * ``max_concurrent_health_checks``: checks, and nodes looked at, at the same time; 10 if nothing says otherwise.
    * ``deployment_timeout``: seconds that one service on one node may take to come up; 600 if nothing says otherwise.
    * ``health_check_timeout``: stands for ``startup_timeout`` where that is not said.
    * ``max_workers_health_check``: an older name of ``max_concurrent_health_checks``.
    """

    max_concurrent_services: int | None = None
    max_concurrent_health_checks: int | None = None
    deployment_timeout: float | None = None
    health_check_timeout: float | None = None
    max_workers_health_check: int | None = None


@frozen
class SmartTimeout:
    """``smart_timeout``: how long a service's next try may take after an error of some kind.

    * ``enabled``: ``false`` leaves it out.
    * ``timeout_by_error_type``: seconds by ``network_error``, ``image_pull_error``, ``startup_error``,
      ``health_check_error``, ``default``.
    * ``error_patterns``: texts that make an error one of that kind.
    """

    enabled: bool = True
    timeout_by_error_type: Mapping[str, float] = field(factory=dict)
    error_patterns: Mapping[str, Any] = field(factory=dict)


@frozen
class RetryStrategy:
    """``retry_strategy``: of services; only what failed is tried again.

    * ``service_level_retries``: further attempts at a service that failed to come up.
    * ``retry_delay``: seconds before each of them.
    * ``retry_only_failed``: cannot be switched off.
    * ``scenario_level_retries``: further attempts at the scenario, where ``inter_scenario.retry_count`` does not say.
    * ``by_error_class``: attempts by class of error: ``{image: 0, network: 5}``. Errors of configuration are never tried again.
    * ``smart_timeout``: how long the next try may take.
    """

    service_level_retries: int = 2
    retry_delay: float = 30.0
    retry_only_failed: bool = True
    scenario_level_retries: int | None = None
    by_error_class: Mapping[str, int] = field(factory=dict)
    smart_timeout: SmartTimeout | None = None


@frozen
class ExecutionConfig:
    """``execution_config`` of the scenarios file.

    * ``default_collection_mode``: where neither metadata nor defaults say; without it, by the number of services.
    * ``concurrent_deployment``: how much at once.
    * ``retry_strategy``: how often again.
    * ``smart_timeout``: as below ``retry_strategy``.
    * ``max_node_failures``: a node on which so many trials in a row failed (it could not be reached, or broke) is left out, and
      scenarios that need it are skipped; 0: never.
    """

    default_collection_mode: str | None = None
    concurrent_deployment: Concurrency = field(factory=Concurrency)
    retry_strategy: RetryStrategy = field(factory=RetryStrategy)
    smart_timeout: SmartTimeout | None = None
    max_node_failures: int = 3


@frozen
class DriverEntry:
    """A driver and its own options; the driver's name alone will do.

    * ``use``: the driver's name.
    * ``options``: its options, see ``playbook-kernel plugins show NAME``.
    """

    use: str
    options: Mapping[str, Any] = field(factory=dict)


def named_driver(entry: str | DriverEntry, document: Document, *place: Key) -> DriverRef:
    """The driver that an entry of a file names; in a list its number may be smaller than in the file, that has bad ones."""
    use = entry if isinstance(entry, str) else entry.use
    if place and isinstance(number := place[-1], int):
        said = list(enumerate(document.at(*place[:-1]) or ()))[number:]
        found = (n for n, raw in said if use in (raw, raw.get("use") if isinstance(raw, Mapping) else None))
        place = (*place[:-1], next(found, number))
    if isinstance(entry, str):
        return DriverRef(entry, {}, document.origin(*place))
    learn(entry.options)
    return DriverRef(entry.use, entry.options, document.origin(*place))


@frozen
class ScenariosFile:
    """The scenarios file: how the campaign runs.

    * ``execution``: which scenarios, in which order.
    * ``filters``: which of them.
    * ``inter_scenario``: what happens between them.
    * ``execution_config``: how patiently each is brought up.
    * ``isolation``: ``strict``: whatever is left behind fails the scenario; ``warn``: it is only told.
    * ``reports``: reporters, by name or with options; where the defaults file does not name any.
    * ``monitoring``: has no effect; the lifecycle is recorded in the journal and the reports.
    * ``notifications``: ``webhook`` and ``email``, see docs/results.md.
    """

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

    * ``type``: ``docker_status``, ``docker_health``, ``http_endpoint``, ``custom_script``, or a probe by name: ``docker``,
      ``http``, ``openai``, ``tcp``, ``script``.
    * ``required``: ``false``: a failure is told, and stops nothing.
    * ``timeout``: seconds for one look.
    """

    OPEN: ClassVar[bool] = True
    type: str
    required: bool = True
    timeout: float = 10.0


@frozen
class HealthCheck:
    """``health_check`` of a service, and ``service_health_check`` of the defaults file, which fills in what it leaves open.

    * ``enabled``: ``false``: the service counts as ready when it runs.
    * ``strategy``: presets of grace period, interval and retries: ``quick`` 30 s, 5 s, 2; ``standard`` 90 s, 15 s, 3;
      ``thorough`` 180 s, 15 s, 8. Older names work: ``minimal`` and ``basic`` are quick, ``kubernetes`` is standard,
      ``comprehensive`` is thorough.
    * ``startup_timeout``: seconds; a bound of grace period and retries together; 300 if nothing says otherwise.
    * ``startup_grace_period``: seconds in which failed checks do not count; success always does.
    * ``check_interval``: seconds between counted failures after it.
    * ``max_retries``: how many failures are forgiven after the grace period.
    * ``retry_delay``: an older name of ``check_interval``, and beats it.
    * ``failure_action``: ``retry``: as ``retry_strategy`` says; ``skip``: told, and stops nothing; ``abort``: it has
      failed at the first failure after the grace period.
    * ``checks``: what is asked; without any, the container must run and stay so.
    """

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
    """``test_execution``: the script.

    * ``node``: where it runs: ``local`` (the controller), ``auto`` and ``remote`` (the first node of the services), or a
      node's name.
    * ``script``: relative to the scenario's folder; ``run_test.sh`` if that is there. Shell, Python, or anything executable.
    * ``timeout``: seconds, then it is killed with all that it started; 3600 if nothing says otherwise.
    * ``result_paths``: files and folders to bring home; relative ones lie in the scenario's folder (``local``) or in the
      node's ``work_dir``.
    * ``wait_for_all_services``: cannot be switched off.
    * ``collection_mode``: as at the top level.
    """

    node: str | None = None
    script: str | None = None
    timeout: float | None = None
    result_paths: list[str] | None = None
    wait_for_all_services: bool | None = None
    collection_mode: str | None = None


@frozen
class PluginsSection:
    """``plugins`` of the defaults file.

    * ``disable``: names, ``kind:name`` or distributions to leave out.
    * ``prefer``: ``"benchmark:mine": distribution``, where two distributions offer one name.
    * ``require``: distributions that must be there: ``some-plugin>=1``.
    * ``paths``: plugins of a single file, relative to the working directory.
    * ``import_timeout``: seconds that the import of a plugin may take, before it goes on without it.
    """

    disable: list[str] = field(factory=list)
    prefer: Mapping[str, str] = field(factory=dict)
    require: list[str] = field(factory=list)
    paths: list[str] = field(factory=list)
    import_timeout: float = 20.0


@frozen
class DefaultsFile:
    """The defaults file: what holds for every service and test that does not say otherwise in its metadata.

    * ``service_health_check``: for every service.
    * ``test_execution``: for every script.
    * ``collection_mode``: as in the metadata.
    * ``concurrent_execution``: how much at once.
    * ``plugins``: what is left out, pinned, needed, and found in single files.
    * ``collectors``: in every scenario, beside those of the collection mode.
    * ``reports``: reporters, by name or with options; ``json``, ``csv``, ``markdown``, ``html`` and ``classic``
      if nothing says otherwise.
    * ``file_operations``: has no effect; transfers are verified and bounded by the session.
    * ``progress_display``: has no effect; the live view adapts to the terminal.
    * ``system_resources``: has no effect; ``playbook-kernel health`` has limits of its own.
    """

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
