"""`webui`: there is none, and it says what to open."""

import pytest

from tests.cli.calls import call


@pytest.mark.parametrize("words", [[], ["--port", "80", "-h", "127.0.0.1"]])
def test_it_points_to_the_report(tmp_path, words):
    done = call("webui", *words, cwd=tmp_path)
    assert (done.code, done.out) == (2, "")
    assert "report.html" in done.err
    assert done.err.count("\n") == 1
