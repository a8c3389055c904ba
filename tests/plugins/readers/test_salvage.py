"""What is wrong is left out and the rest is made; what is right is not searched."""

from __future__ import annotations

from pathlib import Path

import pytest
from playbook_kernel.api import Problems
from playbook_plugins.readers import salvage
from playbook_plugins.readers.vocabulary import NodesFile
from playbook_plugins.text import load_document


def test_a_mapping_that_is_right_is_made_without_a_search_for_what_is_wrong(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def search(path: object) -> str:
        raise AssertionError(f"{path} was looked for: with many nodes in a file that takes the square of their number")

    file = tmp_path / "nodes.yaml"
    file.write_text("nodes: {a: {host: 10.0.0.1}, b: {host: 10.0.0.2}}\n")
    problems = Problems()
    document = load_document(file, problems, {})
    monkeypatch.setattr(salvage, "dotted", search)
    made, doubt = salvage.salvage(document, NodesFile, problems)
    assert made is not None
    assert list(made.nodes) == ["a", "b"]
    assert doubt == salvage.Doubt()
    assert problems.items == []
