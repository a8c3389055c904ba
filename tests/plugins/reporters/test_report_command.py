from __future__ import annotations

import json
from pathlib import Path

import pytest
from playbook_kernel.api import NoOptions
from playbook_kernel.cli.main import main
from playbook_plugins.reporters.json_ import JsonReporter

from tests.plugins.reporters.samples import good


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for name in ("20250101_000000_old", "20260101_000000_new"):
        (tmp_path / name).mkdir()
        JsonReporter(NoOptions()).write(good(), tmp_path / name)
    return tmp_path


def call(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(w) for w in words])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_it_writes_reports_of_an_old_run_into_its_folder(results: Path, capsys: pytest.CaptureFixture[str]):
    assert call("report", "2025", "-r", results, "-f", "junit", "-f", "html") == 0
    folder = results / "20250101_000000_old"
    assert capsys.readouterr().out.split() == [str(folder / "junit.xml"), str(folder / "report.html")]
    assert not (results / "20260101_000000_new" / "junit.xml").exists()


def test_elsewhere_with_links_into_the_newest_run(results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert call("-r", results, "report", "--output", tmp_path / "out" / "deep") == 0
    text = (tmp_path / "out" / "deep" / "report.html").read_text()
    assert 'href="../../20260101_000000_new/001_pd/logs/gpu-1/engine.log"' in text


def test_it_says_what_there_is(results: Path, capsys: pytest.CaptureFixture[str]):
    assert call("report", "--list") == 0
    assert {"csv", "github", "html", "json", "junit", "markdown", "openmetrics", "yaml"} <= set(
        capsys.readouterr().out.split()
    )
    assert call("report", "-r", results, "-f", "htlm") == 2
    assert "did you mean 'html'?" in capsys.readouterr().err
    assert call("report", "2027", "-r", results) == 2
    assert "no run is called '2027'" in capsys.readouterr().err
    assert call("report", "20", "-r", results) == 2
    assert "'20' may mean 20250101_000000_old, 20260101_000000_new" in capsys.readouterr().err


def test_a_record_that_is_none_is_an_error_of_the_user(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "campaign.json").write_text(json.dumps({"id": 5}))
    assert call("report", "r", "-r", tmp_path) == 2
    assert "campaign.json: is not a campaign's result" in capsys.readouterr().err


def test_every_installed_reporter_can_write_an_old_run(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    from importlib.metadata import entry_points

    for point in entry_points(group="playbook_kernel.reporter"):
        if point.name == "notify":
            continue
        assert call("report", "-r", results, "-f", point.name, "-o", tmp_path / point.name) == 0
        written = capsys.readouterr().out.split()
        assert written, point.name
        assert all(Path(p).stat().st_size for p in written), point.name


def test_what_writes_no_report_is_not_offered(results: Path, capsys: pytest.CaptureFixture[str]):
    assert call("report", "--list") == 0
    assert "notify" not in capsys.readouterr().out.split()
    assert call("report", "-r", results, "-f", "json", "-f", "notify", "-o", results / "out") == 2
    assert "notify writes no report" in capsys.readouterr().err
    assert not (results / "out").exists(), "nothing is written if one of them cannot be"
