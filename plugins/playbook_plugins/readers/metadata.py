"""The keys of a scenario's metadata file, one attrs class a mapping."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from attrs import field, frozen

from .vocabulary import Concurrency, DriverEntry, HealthCheck, TestExecution


@frozen
class ServiceEntry:
    """An entry of ``services``: one service of the compose file, and where it runs.

    * ``name``: as in the compose file.
    * ``compose_file``: relative to the scenario's folder; ``docker-compose.yml`` and the other usual names if it is not said.
    * ``nodes``: names of nodes; the same service on each. Where only one node is enabled it may be left out.
    * ``node``: means the same as ``nodes``.
    * ``depends_on``: services that must be healthy before; united with the ``depends_on`` of the compose file.
    * ``health_check``: how its readiness is seen.
    * ``kubectl``: for services on a cluster.
    """

    name: str
    compose_file: str | None = None
    nodes: str | list[str] | None = None
    node: str | list[str] | None = None
    depends_on: list[str] = field(factory=list)
    health_check: HealthCheck = field(factory=HealthCheck)
    kubectl: Mapping[str, Any] = field(factory=dict)


@frozen
class DeploymentSection:
    """``deployment``: the older home of services and test execution; both homes count, in any mix.

    * ``platform``: has no effect; each node's composer is found by looking at the node.
    * ``services``: as at the top level, which wins.
    * ``test_execution``: as at the top level, which wins.
    """

    platform: str | None = None
    services: list[Mapping[str, Any]] | None = field(default=None, metadata={"schema": list[ServiceEntry]})
    test_execution: TestExecution | None = None


@frozen
class LoadEntry:
    """``load``: one level of load; what a field means is the benchmark's business.

    * ``concurrency``: requests in flight.
    * ``rate``: requests per second.
    * ``requests``: how many in all.
    * ``duration``: seconds.
    """

    concurrency: int | None = None
    rate: float | None = None
    requests: int | None = None
    duration: float | None = None


@frozen
class Resources:
    """``resource_requirements``: checked before anything is deployed.

    * ``min_gpu_memory``: of each accelerator: a number of GB (from 1024 on, of MB), or a text such as ``80GiB``.
    * ``min_memory_gb``: of each node: a number of GB, or such a text.
    * ``min_nodes``: enabled nodes.
    """

    min_gpu_memory: int | float | str | None = None
    min_memory_gb: int | float | str | None = None
    min_nodes: int | None = None


@frozen
class FaultEntry:
    """A fault that is made on purpose while the load runs. Keys that are not named here are options of the driver ``type``.

    * ``type``: kill, stop, pause, restart, cut, delay, limit, fill-disk, or one of a plugin.
    * ``at``: ``30s`` after the load began, ``200 requests``, or ``50%`` of them.
    * ``for``: how long; without it until the load has ended.
    """

    OPEN: ClassVar[bool] = True
    type: str
    at: str | int | float
    for_: str | int | float | None = None


@frozen
class MetadataFile:
    """The metadata file of a scenario.

    * ``name``: a title.
    * ``description``: one line for listings.
    * ``version``: of the scenario; kept in the results.
    * ``author``: kept in the results.
    * ``created``: kept in the results.
    * ``enabled``: ``false``: ``--all`` leaves it out, and ``run NAME`` says so.
    * ``tags``: words for ``filters``.
    * ``estimated_duration``: seconds; shown in listings.
    * ``dependencies``: scenarios that must have completed before; by folder.
    * ``resource_requirements``: what nodes must have.
    * ``services``: which services run where; without it the whole compose file goes to the one enabled node.
    * ``test_execution``: the script.
    * ``deployment``: the older home of both.
    * ``collection_mode``: ``basic``: artifacts; ``standard``: and the services' logs; ``comprehensive``: and the nodes' state.
    * ``benchmark``: a benchmark by name or with options; without it the script, or ``aicp`` where there is a test_config.json.
    * ``collectors``: beside those of the collection mode.
    * ``load``: the load, for benchmarks that take it from here.
    * ``faults``: what is broken on purpose while the load runs; docs/faults.md.
    * ``upload``: further files and folders that go to the nodes, relative to the scenario's folder.
    * ``artifacts_collection``: has no effect; ``result_paths`` and ``collection_mode`` say what is collected.
    * ``concurrent_execution``: how much at once.
    """

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
    faults: list[Mapping[str, Any]] = field(factory=list, metadata={"schema": list[FaultEntry]})
    upload: list[str] = field(factory=list)
    artifacts_collection: Mapping[str, Any] = field(factory=dict)
    concurrent_execution: Concurrency = field(factory=Concurrency)
