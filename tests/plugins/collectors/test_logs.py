"""Logs of services come home also from a node that is lost meanwhile, and then say so."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from attrs import evolve
from playbook_kernel.api import Service, Unreachable, Warned
from playbook_kernel.testing import FakeSession, check_driver, fake_trial
from playbook_plugins.collectors import logs
from playbook_plugins.collectors.logs import LogsCollector


class Lost:
    """Brings half of a log, then the connection is lost."""

    def logs(self, session: object, share: object, service: str, into: Path, *, limit: int) -> Path:
        (into / f"{service}.log").write_text("half")
        raise Unreachable("n1", "the connection was lost")

    def states(self, session: object, share: object) -> dict[str, object]:
        return {}


def test_a_log_that_broke_off_is_kept_and_marked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trial = fake_trial(tmp_path, {"n1": FakeSession()})
    engine = Service("engine", ("n1",), tmp_path / "docker-compose.yml")
    trial.ctx.trial = evolve(trial.ctx.trial, scenario=evolve(trial.ctx.trial.scenario, services=(engine,)))
    monkeypatch.setattr(logs, "composer_for", lambda ctx, node: Lost())
    monkeypatch.setattr(logs, "share_for", lambda ctx, node: SimpleNamespace(services=(engine,)))
    found = check_driver(LogsCollector).collect(trial.ctx, None, trial.ctx.directory)
    [log] = [a for a in found if a.path.endswith("engine.log")]
    assert (log.partial, log.size) == (True, 4)
    assert log.note.startswith("broke off: ")
    assert any("could not be kept" in w.message for w in trial.events if isinstance(w, Warned))
