"""What is run against a scenario's services, and what is brought home."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import evolve
from playbook_kernel.api import DriverRef

from playbook_plugins.jsonc import load_config
from playbook_plugins.text import Document, Key, dotted, is_file, leads_out

from .folders import TEST_CONFIG_NAMES, first
from .ground import Ground, pick
from .vocabulary import TestExecution, named_driver

COLLECTION_MODES: Mapping[str, str] = {
    "basic": "basic",
    "minimal": "basic",
    "standard": "standard",
    "comprehensive": "comprehensive",
    "detailed": "comprehensive",
    "full": "comprehensive",
}


def mode_layers(own: Document, defaults: Document, scenarios: Document) -> tuple[tuple[Document, tuple[Key, ...]], ...]:
    """Where the collection mode may be said, the strongest first."""
    return (
        (own, ("collection_mode",)),
        (own, ("test_execution", "collection_mode")),
        (own, ("deployment", "test_execution", "collection_mode")),
        (defaults, ("test_execution", "collection_mode")),
        (defaults, ("collection_mode",)),
        (scenarios, ("execution_config", "default_collection_mode")),
    )


class Execution:
    """The test of a scenario: both homes of it in the metadata united, then the defaults."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._said, self._place = self._test_execution()

    def _test_execution(self) -> tuple[TestExecution, tuple[Key, ...]]:
        """Both homes united, the top-level one first; then the defaults."""
        meta = self._ground.metadata
        homes = [meta.test_execution, meta.deployment.test_execution if meta.deployment else None]
        given = [h for h in homes if h is not None]
        place: tuple[Key, ...] = ("test_execution",) if meta.test_execution else ("deployment", "test_execution")
        merged = TestExecution()
        for layer in (*given, self._ground.layers.defaults.test_execution):
            gaps = {
                name: value
                for name in ("node", "script", "timeout", "result_paths", "wait_for_all_services", "collection_mode")
                if getattr(merged, name) is None and (value := getattr(layer, name)) is not None
            }
            if "result_paths" in gaps:
                gaps["result_paths"] = self._within(layer, gaps["result_paths"])
            merged = evolve(merged, **gaps)
        return merged, place

    def _within(self, said: TestExecution, paths: list[str]) -> list[str]:
        """The result paths that stay where they begin; others are told."""
        own = said is not self._ground.layers.defaults.test_execution
        document = self._ground.document if own else self._ground.layers.defaults_doc
        home: tuple[Key, ...] = ("deployment",) if own and said is not self._ground.metadata.test_execution else ()
        for number, path in enumerate(paths):
            if leads_out(path):
                where = (*home, "test_execution", "result_paths", number)
                text = f"{path!r} leads out of the folder that the script runs in"
                hint = "let the script write below it, or give an absolute path"
                self._ground.problems.add(document.file, document.line(*where), dotted(where), text, hint)
        return [path for path in paths if not leads_out(path)]

    def benchmark(self) -> tuple[DriverRef, float | None]:
        """What measures, and how many seconds it may take, if that is said."""
        chosen = self._ground.metadata.benchmark
        node = self._node()
        if chosen is not None:
            return named_driver(chosen, self._ground.document, "benchmark"), self._said.timeout
        meta = self._ground.metadata
        own = [meta.test_execution, meta.deployment.test_execution if meta.deployment else None]
        named = next((e.script for e in own if e is not None and e.script), None)
        script = self._said.script or "run_test.sh"
        config = first(self._ground.directory, TEST_CONFIG_NAMES)
        if named or is_file(self._ground.directory / script):
            self._look_at(config)
            options: dict[str, Any] = {"script": script, "node": node}
            if self._said.result_paths is not None:
                options["result_paths"] = self._said.result_paths
            return DriverRef("script", options, self._ground.document.origin(*self._place)), self._said.timeout
        if config is not None:
            given = {"config": str(config.resolve())}
            if self._said.node:
                given["node"] = node
            return DriverRef("aicp", given, str(config)), self._said.timeout
        self._ground.lacks(
            [("benchmark",), ("test_execution",), ("deployment", "test_execution")],
            ("test_execution",),
            f"nothing to run: no benchmark is set, and there is neither {script} nor {TEST_CONFIG_NAMES[0]}",
        )
        return DriverRef("noop"), None

    def _look_at(self, config: Path | None) -> None:
        """Only a warning about a file that the script reads: it may make JSON of it first."""
        try:
            if config is not None:
                load_config(config)
        except (OSError, ValueError) as error:
            file, _, rest = str(error).removeprefix(str(config)).partition(": ")
            line = file.strip(":")
            self._ground.problems.warn(config, int(line) if line.isdigit() else 0, "", f"is not JSON: {rest or error}")

    def _node(self) -> str:
        name = self._said.node or "local"
        if name not in ("local", "auto", "remote"):
            self._ground.is_node(name, (*self._place, "node"), "local", "auto", "remote")
        return name

    def mode(self, services: int) -> str:
        """How much is collected; where nothing is said, by the number of services."""
        config = self._ground.layers.scenarios.execution_config
        own, defaults = self._ground.metadata.collection_mode, self._ground.layers.defaults.collection_mode
        said = pick(own, self._said.collection_mode, defaults, config.default_collection_mode)
        if said is None:
            return "comprehensive" if services >= 3 else "standard"
        mode = COLLECTION_MODES.get(said.lower())
        if mode is None:
            document, where = self._mode_place()
            text = f"unknown mode {said!r}"
            hint = f"known: {', '.join(COLLECTION_MODES)}"
            self._ground.problems.add(document.file, document.line(*where), dotted(where), text, hint)
        return mode or "standard"

    def _mode_place(self) -> tuple[Document, tuple[Key, ...]]:
        """Where the mode that counts was said."""
        layers = self._ground.layers
        return next(
            (document, path)
            for document, path in mode_layers(self._ground.document, layers.defaults_doc, layers.scenarios_doc)
            if document.at(*path) is not None
        )

    def collectors(self, mode: str) -> tuple[DriverRef, ...]:
        """Those of the mode, then those of the defaults and of the scenario."""
        paths = list(self._said.result_paths or ())
        artifacts = DriverRef("artifacts", {"paths": paths, "node": self._said.node or "local"})
        own = (artifacts,) if mode == "basic" else (artifacts, DriverRef("logs", {"mode": mode}))
        defaults, document = self._ground.layers.defaults.collectors, self._ground.layers.defaults_doc
        more = [
            *(named_driver(entry, document, "collectors", n) for n, entry in enumerate(defaults)),
            *(
                named_driver(entry, self._ground.document, "collectors", n)
                for n, entry in enumerate(self._ground.metadata.collectors)
            ),
        ]
        return (*own, *more)
