"""Reads a fleet and its scenarios from one JSON file, ``fleet.json``.

``PLAYBOOK_READER=fleet`` in the environment puts an installed reader of that name in the place of ``playbook``.
"""

import json

from playbook_kernel.api import Configuration, DriverRef, Node, NoOptions, Problems, Reader, Scenario, Sources


class FleetReader(Reader[NoOptions]):
    """Nodes by name and address, and the folders that are scenarios."""

    def read(self, sources: Sources, problems: Problems) -> Configuration:
        file = sources.config_dir / "fleet.json"
        try:
            fleet = json.loads(file.read_text())
        except (OSError, ValueError) as error:
            problems.add(file, getattr(error, "lineno", 0), "", str(error))
            return Configuration({}, ())
        nodes = {
            name: Node(name, DriverRef("ssh", {"host": host, "username": "ops"}, f"{file}: {name}"), host)
            for name, host in fleet["nodes"].items()
        }
        folders = [sources.working_dir / folder for folder in fleet["scenarios"]]
        scenarios = tuple(Scenario(folder.name, folder, DriverRef("aicp")) for folder in folders)
        return Configuration(nodes, scenarios)
