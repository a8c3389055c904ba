"""``notifications`` of a scenarios file."""

from __future__ import annotations

from pathlib import Path

import pytest
from playbook_kernel.api import Problems, Reporter, Secret
from playbook_kernel.loading import Loader
from playbook_plugins.notify.options import Options
from playbook_plugins.readers.notifications import notifications
from playbook_plugins.text import load_document


def read(tmp_path: Path, text: str) -> tuple[Options | None, Problems]:
    path = tmp_path / "scenarios.yaml"
    path.write_text(text)
    problems = Problems()
    document = load_document(path, problems, {})
    refs = notifications(document.data.get("notifications") or {}, document, problems)
    return (Loader().build(Reporter, refs[0]).options if refs else None), problems


def test_the_names_that_templates_use(tmp_path: Path):
    options, problems = read(
        tmp_path,
        """
notifications:
  email: {enabled: true, smtp_server: mail.example.org, smtp_port: 465, username: u, password: secret-1,
          from: a@example.org, to: "b@example.org, c@example.org"}
  webhook: {url: http://localhost/x, on: [scenario_failed]}
""",
    )
    assert problems.items == []
    assert options is not None
    [mail], [hook] = options.emails, options.webhooks
    assert (mail.host, mail.port, mail.tls, mail.sender) == ("mail.example.org", 465, "tls", "a@example.org")
    assert mail.recipients == ["b@example.org", "c@example.org"]
    assert mail.password == Secret("secret-1")
    assert (hook.url.reveal(), hook.events) == ("http://localhost/x", ["scenario_failed"])


@pytest.mark.parametrize(
    "section",
    [
        "{email: {enabled: false, smtp_server: x, to: y}}",
        "{enabled: false, webhook: {url: http://x}}",
        "{webhook: {}}",
        "{email: }",
    ],
)
def test_what_is_off_or_unfinished_is_not_there(tmp_path: Path, section: str):
    options, problems = read(tmp_path, f"notifications: {section}\n")
    assert options is None
    assert problems.items == []


def test_what_is_on_and_lacks_something_is_a_problem_with_its_line(tmp_path: Path):
    _, problems = read(tmp_path, "a: 1\nnotifications:\n  email:\n    enabled: true\n    smtp_server: x\n")
    [problem] = problems.items
    assert "lacks recipients" in str(problem)
    assert "scenarios.yaml:3" in str(problem)


def test_unknown_keys_are_told_and_harm_nothing(tmp_path: Path):
    options, problems = read(tmp_path, "notifications: {webhook: {url: http://x/, colour: red}}\n")
    assert options is not None
    assert [w.key for w in problems.warnings] == ["notifications.webhook.colour"]
