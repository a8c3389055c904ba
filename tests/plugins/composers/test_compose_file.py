"""What is known of a compose file before anything runs, where it refers to other files."""

from __future__ import annotations

from pathlib import Path

import pytest
from playbook_kernel.api import Problems
from playbook_plugins import compose_file
from playbook_plugins.compose_file import ComposeFile

FILES = Path(__file__).with_name("files")


def load(path: Path) -> tuple[ComposeFile, list[str]]:
    problems = Problems()
    return compose_file.load(path, {"PASSED_ON": "p"}, problems), [str(p) for p in problems.items]


def test_a_base_in_this_file_and_one_in_another() -> None:
    file, problems = load(FILES / "extends.yml")
    assert problems == []
    near, far = file.services["near"], file.services["far"]
    assert near.environment == {"FROM_BASE": "base", "SHARED": "near", "OWN": "near"}
    assert near.command == ("sleep", "600")
    assert near.files == ("./data",)
    assert far.environment == {"FROM_OTHER_FILE": "yes", "OWN": "far"}
    assert [(p.target, p.published) for p in far.ports] == [(80, 18450), (81, 18451)]
    assert far.env_files == ("./other/common.env",)
    assert set(far.files) == {"other/common.yml", "./other/common.env", "./other/common.txt"}, (
        "all that must be uploaded"
    )


def test_services_of_an_included_file() -> None:
    file, problems = load(FILES / "v2_include.yml")
    assert problems == []
    assert set(file.services) == {"own", "common"}
    common = file.services["common"]
    assert common.env_files == ("./other/common.env",)
    assert set(common.files) == {"other/common.yml", "./other/common.env", "./other/common.txt"}


@pytest.mark.parametrize(
    "text, problem",
    [
        (
            "services:\n  a:\n    extends: {service: b, file: no.yml}\n",
            ":3: services.a.extends: there is no file 'no.yml'",
        ),
        ("services:\n  a:\n    extends: b\n", ":3: services.a.extends: there is no other service 'b' in this file"),
        ("services:\n  a:\n    extends: a\n", ":3: services.a.extends: there is no other service 'a' in this file"),
        ("include: [no.yml]\nservices:\n  a: {image: x}\n", ":1: include[0]: there is no file 'no.yml'"),
        ("include:\n- main.yml\nservices:\n  a: {image: x}\n", ":2: include[0]: includes itself"),
    ],
)
def test_what_is_not_there_is_told_with_its_line(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "main.yml"
    path.write_text(text)
    file, problems = load(path)
    assert problems == [f"{path}{problem}"]
    assert "a" in file.services


WRONG = """\
services:
  a:
    image: [x]
    enviroment: {A: b}
    cap_add: NET_ADMIN
    frobnicate: 1
    healthcheck: {tset: x}
    networks: [frnt, "${NET}", default]
    volumes: ["data:/x", "./y:/y", "/a:/b", "${V}:/c", "/anonymous"]
    secrets: [{source: key}]
    depends_on: [engin]
    x-mine: 1
  engine:
    image: y
networks: {front: {}}
volums: {}
"""


def test_what_reading_alone_can_find(tmp_path: Path) -> None:
    """Every problem of the file at once, each with its line; a key that only a newer Compose may know is a warning."""
    path = tmp_path / "main.yml"
    path.write_text(WRONG)
    problems = Problems()
    compose_file.load(path, {}, problems)
    assert sorted(str(p).removeprefix(f"{path}:") for p in problems.items) == [
        "10: services.a.secrets: 'key' is not defined in this file (define it at the top of the file: secrets: {key: ...})",
        "11: services.a.depends_on: there is no service 'engin' in this file (did you mean 'engine'?)",
        "16: volums: is not a key of compose files (did you mean 'volumes'?)",
        "3: services.a.image: must be a single value",
        "4: services.a.enviroment: is not a key of compose files (did you mean 'environment'?)",
        "5: services.a.cap_add: must be a list",
        "7: services.a.healthcheck.tset: is not a key of compose files (did you mean 'test'?)",
        "8: services.a.networks: 'frnt' is not defined in this file (did you mean 'front'?)",
        "9: services.a.volumes: 'data' is not defined in this file (define it at the top of the file: volumes: {data: ...})",
    ]
    assert [str(p).removeprefix(f"{path}:") for p in problems.warnings] == [
        "6: services.a.frobnicate: is no key of compose files that is known here; Compose may refuse it"
    ]


@pytest.mark.parametrize("file", sorted(FILES.glob("*.yml")), ids=lambda p: p.name)
def test_nothing_is_found_where_compose_finds_nothing(file: Path) -> None:
    """Both generations bring these files up, in test_equivalence."""
    problems = Problems()
    compose_file.load(file, {"PASSED_ON": "p", "NAME": "n"}, problems)
    assert [*map(str, problems.items), *map(str, problems.warnings)] == []
