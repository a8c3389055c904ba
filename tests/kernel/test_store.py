"""The run's folder: names that cannot collide or escape, files that are whole or not there."""

from __future__ import annotations

import json
import os
import resource
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from playbook_kernel.engine import store
from playbook_kernel.engine.store import (
    load_campaign,
    new_run,
    safe_name,
    trial_folder,
    trial_id,
    write_json,
)
from playbook_kernel.errors import ConfigError
from playbook_kernel.model import CampaignResult, ScenarioResult
from playbook_kernel.redaction import Secret


@given(st.lists(st.text(), unique=True, max_size=20))
def test_different_names_become_different_harmless_file_names(names: list[str]) -> None:
    safe = [safe_name(n) for n in names]
    assert len(set(safe)) == len(names)
    for name in safe:
        assert Path(name).name == name
        assert name not in ("", ".", "..")
        assert len(name.encode()) < 128


@pytest.mark.parametrize("name", ["../../etc/passwd", "/", "..", ".hidden", "a/b", "a\0b", "a\nb", "x" * 300, "名前"])
def test_names_from_outside_stay_inside(tmp_path: Path, name: str) -> None:
    path = tmp_path / safe_name(name)
    path.mkdir()
    assert path.resolve().parent == tmp_path
    assert not path.name.startswith(".")


def test_a_made_up_name_cannot_take_the_place_of_another() -> None:
    made = safe_name("../x")
    assert safe_name("x") == "x"
    assert safe_name(made) == made, "a name that is harmless is kept, even this one"
    assert safe_name("..//x") not in (made, "x")


def test_runs_of_the_same_second_get_folders_of_their_own(tmp_path: Path) -> None:
    folders = [new_run(tmp_path / "deep" / "results", "a b") for _ in range(5)]
    assert len(set(folders)) == 5
    assert all(f.is_dir() for f in folders)
    assert folders[0].name.endswith(safe_name("a b"))


def test_a_run_that_cannot_be_kept_is_a_config_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot keep results there: File exists"):
        new_run(tmp_path / "file", "x")

    def taken(self: Path, *_args: object, exist_ok: bool = False, **_words: object) -> None:
        if not exist_ok:
            raise FileExistsError

    monkeypatch.setattr(Path, "mkdir", taken)
    with pytest.raises(ConfigError, match="too many runs named"):
        new_run(tmp_path, "x")


def test_further_attempts_have_folders_within_the_scenarios() -> None:
    run = Path("/r")
    assert trial_folder(run, "s", "pk-1", 1) == run / "s"
    assert trial_folder(run, "s", "pk-2", 2) == run / "s" / "trials" / "pk-2"


@given(st.text(), st.integers(1, 9999))
def test_a_trials_id_is_safe_everywhere(name: str, number: int) -> None:
    made = trial_id(Path("/r/20260101_000000_all"), name, number)
    assert made.isascii()
    assert made.replace("-", "").isalnum()
    assert made == made.lower()
    assert len(made) <= 40
    assert made != trial_id(Path("/r/20260101_000000_all"), name, number + 1)
    assert made != trial_id(Path("/other/20260101_000000_all"), name, number)


def test_a_write_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"a": 1})
    before = path.read_bytes()
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(OSError, match="too large"):
            write_json(path, {"a": "x" * 1000})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["x.json"]  # noqa: PTH208


def test_a_file_is_flushed_before_it_takes_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[bool, int]] = []
    path = tmp_path / "x.json"

    def fsync(descriptor: int) -> None:
        seen.append((path.exists(), os.fstat(descriptor).st_size))

    monkeypatch.setattr(store.os, "fsync", fsync)
    write_json(path, {"a": 1})
    assert seen[0] == (False, len(path.read_bytes()))
    assert seen[1][0], "and the folder afterwards"


def test_secrets_are_not_written(tmp_path: Path) -> None:
    Secret("store-hunter2")
    write_json(tmp_path / "x.json", {"log": "it was store-hunter2", "password": "other"})
    assert json.loads((tmp_path / "x.json").read_text()) == {"log": "it was ***", "password": "***"}


def test_a_campaign_is_read_back_and_what_is_none_is_named(tmp_path: Path) -> None:
    result = CampaignResult(
        "r", "2026", "2026", 1.5, "completed", (ScenarioResult("s", "completed"),), command=("run",)
    )
    write_json(tmp_path / "campaign.json", result)
    assert load_campaign(tmp_path) == result
    (tmp_path / "campaign.json").write_text('{"id": "r"}')
    with pytest.raises(ConfigError, match=r"campaign\.json: is not a campaign's result: .*started.* missing"):
        load_campaign(tmp_path)
    (tmp_path / "campaign.json").write_text("{")
    with pytest.raises(ConfigError, match="is not a campaign's result"):
        load_campaign(tmp_path)
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load_campaign(tmp_path / "nowhere")
