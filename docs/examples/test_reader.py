from pathlib import Path

import reader
from playbook_kernel.api import Sources
from playbook_kernel.testing import check_driver, check_reader


def sources(folder: Path, text: str) -> Sources:
    folder.mkdir()
    (folder / "fleet.json").write_text(text)
    return Sources(folder, None, folder, {})


def test_it_reads_and_tells_what_is_wrong(tmp_path: Path) -> None:
    good = sources(tmp_path / "good", '{"nodes": {"gpu1": "10.0.0.5"}, "scenarios": ["night/one"]}')
    bad = sources(tmp_path / "bad", '{"nodes": \n oops}')
    config = check_reader(check_driver(reader.FleetReader), good, broken=[bad])
    assert config.nodes["gpu1"].host == "10.0.0.5"
    assert [s.name for s in config.scenarios] == ["one"]
