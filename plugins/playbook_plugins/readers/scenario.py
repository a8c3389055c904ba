"""One scenario's folder to one Scenario: metadata, compose files, and the layers below them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from attrs import asdict, evolve
from playbook_kernel.api import Load, Problems, RetryPolicy, Scenario, Timeouts

from playbook_plugins.text import Document

from . import effects, faults
from .execution import Execution
from .folders import Folder
from .ground import Ground, Layers, said
from .placement import Placement
from .rules import ERROR_CLASSES
from .vocabulary import Concurrency

_SAFE_NAME = re.compile(r"[^\x00-\x1f/\\]+")
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?\s*", re.IGNORECASE)


def bytes_of(value: float | str) -> float | None:
    """A size in bytes; numbers without a unit are GB, and MB if there are 1024 or more of them. None if it is none.

    >>> bytes_of("80GiB") == 80 * 2**30, bytes_of(80) == 80e9, bytes_of(81920) == 81920e6
    (True, True, True)
    """
    match = _SIZE.fullmatch(str(value))
    if match is None:
        return None
    number, unit, binary = float(match[1]), match[2].lower(), match[3]
    if not unit:
        return number * (1e6 if number >= 1024 else 1e9)
    power = "kmgt".index(unit) + 1
    return float(number * (1024 if binary else 1000) ** power)


def read_scenario(folder: Folder, layers: Layers, problems: Problems) -> tuple[Scenario, Document]:
    """Read everything of a folder; whatever is wrong goes to ``problems``, but of a disabled one only as a warning."""
    own = Problems()
    reading = _Reading(folder, layers, own)
    scenario = reading.scenario()
    effects.check_bounds(reading.document, own)
    for problem in own.items:
        tell = problems.add if scenario.enabled else problems.warn
        tell(problem.file, problem.line, problem.key, problem.message, problem.hint)
    for warning in own.warnings:
        problems.warn(warning.file, warning.line, warning.key, warning.message, warning.hint)
    effects.tell(reading.document, "metadata", problems)
    return scenario, reading.document


class _Reading:
    def __init__(self, folder: Folder, layers: Layers, problems: Problems) -> None:
        self.folder, self.layers, self.problems = folder, layers, problems
        self._ground = Ground(folder, layers, problems)
        self.document, self.metadata = self._ground.document, self._ground.metadata

    def scenario(self) -> Scenario:
        meta, shared = self.metadata, self.layers.scenarios.execution_config
        if not _SAFE_NAME.fullmatch(self.folder.name) or self.folder.name in (".", ".."):
            self.problems.add(self._ground.directory, 0, "", f"{self.folder.name!r} cannot be the name of a scenario")
        placement = Placement(self._ground)
        services = placement.services()
        concurrency = [
            meta.concurrent_execution,
            shared.concurrent_deployment,
            self.layers.defaults.concurrent_execution,
        ]
        execution = Execution(self._ground)
        mode = execution.mode(len(services))
        benchmark, timeout = execution.benchmark()
        return Scenario(
            name=self.folder.name,
            directory=self._ground.directory,
            benchmark=benchmark,
            services=services,
            load=Load(meta.load.concurrency, meta.load.rate, meta.load.requests, meta.load.duration),
            collectors=execution.collectors(mode),
            env_file=placement.env_file,
            uploads=placement.uploads(),
            description=meta.description or self.folder.description,
            tags=tuple(str(t) for t in meta.tags),
            enabled=self.folder.enabled and meta.enabled is not False,
            depends_on=tuple(meta.dependencies),
            estimated_duration=meta.estimated_duration,
            max_concurrent_services=max(1, said(concurrency, "max_concurrent_services") or 5),
            max_concurrent_checks=max(
                1,
                said(concurrency, "max_concurrent_health_checks")
                or said(concurrency, "max_workers_health_check")
                or 10,
            ),
            retry=self._retry(),
            timeouts=self._timeouts(concurrency, timeout),
            info=self._info(mode),
            faults=faults.plans(meta.faults, self.document, self.problems),
        )

    def _info(self, mode: str) -> dict[str, Any]:
        meta = self.metadata
        info: dict[str, Any] = {
            "version": str(meta.version), "author": meta.author, "collection_mode": mode,
            "created": None if meta.created is None else str(meta.created),
            "title": meta.name, "requirements": self._requirements(),
            "resource_requirements": {k: v for k, v in asdict(meta.resource_requirements).items() if v is not None},
        }  # fmt: skip
        return {k: v for k, v in info.items() if v}

    def _requirements(self) -> dict[str, float]:
        """What discovery checks: sizes in bytes, and a count of nodes."""
        wanted = self.metadata.resource_requirements
        found: dict[str, float] = {}
        for key in ("min_gpu_memory", "min_memory_gb"):
            value = getattr(wanted, key)
            said = f"{value}GB" if key.endswith("_gb") and isinstance(value, (int, float)) else value
            size = None if said is None else bytes_of(said)
            if value is not None and size is None:
                self._ground.wrong(
                    ("resource_requirements", key), f"expected GB or a text such as 80GiB, got {value!r}"
                )
            elif size is not None:
                found[key.removesuffix("_gb")] = size
        if wanted.min_nodes is not None:
            enabled = sum(n.enabled for n in self.layers.nodes.values())
            if wanted.min_nodes > enabled:
                self._ground.wrong(
                    ("resource_requirements", "min_nodes"), f"{wanted.min_nodes} are needed, {enabled} enabled"
                )
            found["min_nodes"] = wanted.min_nodes
        return found

    def _retry(self) -> RetryPolicy:
        config = self.layers.scenarios.execution_config
        strategy = config.retry_strategy
        smart = strategy.smart_timeout or config.smart_timeout
        retry = RetryPolicy(
            max(0, strategy.service_level_retries),
            {ERROR_CLASSES.get(k, k): n for k, n in strategy.by_error_class.items()},
            max(0.0, strategy.retry_delay),
        )
        if smart is None or not smart.enabled:
            return retry
        timeouts = {ERROR_CLASSES.get(k, k): float(v) for k, v in smart.timeout_by_error_type.items() if v > 0}
        patterns = {
            ERROR_CLASSES.get(k, k): tuple(map(str, v if isinstance(v, list) else [v]))
            for k, v in smart.error_patterns.items()
        }
        return evolve(retry, timeouts=timeouts, patterns=patterns)

    def _timeouts(self, concurrency: Sequence[Concurrency], benchmark: float | None) -> Timeouts:
        base = Timeouts()
        service = said(concurrency, "deployment_timeout") or base.service
        return Timeouts(
            deploy=max(base.deploy, service),
            service=service,
            benchmark=benchmark or base.benchmark,
        )
