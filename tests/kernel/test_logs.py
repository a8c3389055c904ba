"""The log: JSON lines, text, stderr; no secrets and no locals in any of them."""

from __future__ import annotations

import io
import json
import logging
import warnings
from pathlib import Path
from typing import Any

import pytest
from playbook_kernel import logs
from playbook_kernel.redaction import Secret


@pytest.fixture
def console() -> io.StringIO:
    return io.StringIO()


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_each_place_gets_its_levels(tmp_path: Path, console: io.StringIO) -> None:
    logs.configure("WARNING", run_log=tmp_path / "log.jsonl", text_dir=tmp_path / "logs", console=console)
    log = logs.logger("part")
    log.debug("too fine")
    log.info("for the run", node="n1", count=3)
    log.warning("for everybody", ratio=0.5)
    run = lines(tmp_path / "log.jsonl")
    assert [e["event"] for e in run] == ["for the run", "for everybody"]
    assert run[0] | {"node": "n1", "count": 3, "level": "info", "logger": "part"} == run[0]
    assert run[0]["timestamp"].endswith("Z")
    [file] = (tmp_path / "logs").iterdir()
    for text in (file.read_text(), console.getvalue()):
        assert "for everybody" in text
        assert "for the run" not in text
        assert "\x1b" not in text


def test_debug_is_kept_when_it_is_asked_for(tmp_path: Path, console: io.StringIO) -> None:
    logs.configure("DEBUG", run_log=tmp_path / "log.jsonl", console=console)
    logs.logger("x").debug("fine")
    assert [e["event"] for e in lines(tmp_path / "log.jsonl")] == ["fine"]
    assert console.getvalue() == ""


@pytest.mark.parametrize(("level", "times"), [("INFO", 0), ("DEBUG", 2)])
def test_tracebacks_stand_in_the_files(tmp_path: Path, console: io.StringIO, level: str, times: int) -> None:
    logs.configure(level, run_log=tmp_path / "log.jsonl", text_dir=tmp_path / "logs", console=console)
    try:
        raise OSError("the disk is on fire")
    except OSError as error:
        logs.logger("x").error("a plugin failed", exc_info=error)
        logging.getLogger("somebody.else").exception("so did I")
    [file] = (tmp_path / "logs").iterdir()
    assert file.read_text().count("Traceback") == 2
    assert lines(tmp_path / "log.jsonl")[0]["exception"][0]["exc_type"] == "OSError"
    told = console.getvalue()
    assert told.count("OSError: the disk is on fire") == 2
    assert told.count("Traceback") == times


def test_no_secret_reaches_any_place(tmp_path: Path, console: io.StringIO) -> None:
    secret = Secret("log-hunter2")
    logs.configure("DEBUG", run_log=tmp_path / "log.jsonl", text_dir=tmp_path / "logs", console=console)
    log = logs.logger("x")

    def fails(argument: str) -> None:
        local = f"in a local: {argument}"
        raise ValueError(f"in a message: {argument}", local)

    log.error("event log-hunter2", value=secret, nested=[{"k": "log-hunter2"}], password="never known")
    logging.getLogger("somebody.else").error("with arguments: %s", secret.reveal())
    try:
        fails(secret.reveal())
    except ValueError as error:
        log.error("it failed", exc_info=error)
        logging.getLogger("somebody.else").exception("failed too")
    logging.getLogger("x").error("url %s", "http://a:pass-in-url@h/")
    [file] = (tmp_path / "logs").iterdir()
    for text in ((tmp_path / "log.jsonl").read_text(), file.read_text(), console.getvalue()):
        assert "it failed" in text
        for hidden in ("log-hunter2", "never known", "pass-in-url", "in a local: l"):
            assert hidden not in text
    failed = next(e for e in lines(tmp_path / "log.jsonl") if e["event"] == "it failed")
    assert failed["exception"][0]["exc_type"] == "ValueError"


def test_what_cannot_be_json_or_unicode_is_logged_all_the_same(tmp_path: Path, console: io.StringIO) -> None:
    logs.configure(run_log=tmp_path / "log.jsonl", text_dir=tmp_path / "logs", console=console)
    logs.logger("x").warning("odd \udcff", thing=Path("/x"), data=b"\xff", number=float("nan"))
    [event] = lines(tmp_path / "log.jsonl")
    assert event["event"] == "odd \udcff"
    assert (event["thing"], event["data"]) == ("/x", "\ufffd")
    [file] = (tmp_path / "logs").iterdir()
    assert "odd" in file.read_text()


def test_setting_up_again_replaces_and_closes_what_was_set_up(tmp_path: Path, console: io.StringIO) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        logs.configure(run_log=tmp_path / "one", console=console)
        before = logging.getLogger().handlers[:]
        logs.configure(run_log=tmp_path / "two", console=console)
    assert not set(before) & set(logging.getLogger().handlers)
    logs.logger("x").info("once")
    assert (tmp_path / "one").read_text() == ""
    assert len(lines(tmp_path / "two")) == 1
