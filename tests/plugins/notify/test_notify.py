from __future__ import annotations

import email
import hmac
import json
import threading
from collections.abc import Callable
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
import structlog
from attrs import evolve
from playbook_kernel.api import (
    CampaignContext,
    CampaignStarted,
    DriverRef,
    ScenarioEnded,
    Secret,
    redact,
)
from playbook_kernel.loading import Loader
from playbook_plugins import notify
from playbook_plugins.notify.deliver import NotDelivered, address, deliver
from playbook_plugins.notify.message import of_result
from playbook_plugins.notify.options import Email, Webhook
from playbook_plugins.notify.sending import QUEUE

from tests.plugins.notify.conftest import Mailbox, Receiver
from tests.plugins.reporters.samples import good, hostile

Receive = Callable[..., Receiver]


def send(target: Webhook | Email, result=None) -> list[float]:
    """Deliver; returns how long it would have waited between attempts."""
    waits: list[float] = []

    def sleep(seconds: float) -> bool:
        waits.append(seconds)
        return False

    deliver(target, of_result(result or good()), sleep)
    return waits


def hook(receiver: Receiver, **options: Any) -> Webhook:
    return Webhook(Secret(receiver.url), **options)


def test_a_webhook_gets_all_of_it_signed(receive: Receive):
    receiver = receive()
    send(hook(receiver, secret=Secret("signing-key"), headers={"X-Team": "a"}))
    [(headers, body)] = receiver.got
    said = json.loads(body)
    assert (said["event"], said["run"], said["status"]) == ("campaign_ended", good().id, "failed")
    assert said["text"] == "2 of 4 scenarios completed (1 failed, 1 skipped)"
    assert said["scenarios"][2] == {"name": "003_bad", "status": "failed", "reason": "benchmark: it broke"}
    assert headers["X-Team"] == "a"
    stamp = headers["X-Playbook-Timestamp"]
    expected = hmac.new(b"signing-key", stamp.encode() + b"." + body, "sha256").hexdigest()
    assert headers["X-Playbook-Signature"] == f"sha256={expected}"


@pytest.mark.parametrize("answers", [[(500, {}), (429, {"Retry-After": "7"})], ["hang up", (503, {})]])
def test_it_is_tried_again_while_that_may_help(receive: Receive, answers):
    receiver = receive()
    receiver.answers = list(answers)
    waits = send(hook(receiver))
    assert len(receiver.got) == 3
    assert waits == ([1.0, 7.0] if answers[1][0] == 429 else [1.0, 2.0])
    assert len({headers["X-Playbook-Delivery"] for headers, _ in receiver.got}) == 1


def test_no_is_an_answer(receive: Receive):
    receiver = receive()
    receiver.answers = [(403, {}), (302, {"Location": "http://elsewhere.example/"})]
    for status in (403, 302):
        with pytest.raises(NotDelivered, match=f"status {status}"):
            send(hook(receiver))
    assert len(receiver.got) == 2


def test_it_gives_up_and_keeps_the_address_to_itself(receive: Receive):
    receiver = receive()
    receiver.answers = [(500, {})] * 10
    with pytest.raises(NotDelivered) as caught:
        send(hook(receiver, retries=2))
    assert len(receiver.got) == 3
    assert "T0K3N" not in str(caught.value)
    with pytest.raises(NotDelivered, match="refused"):
        send(Webhook(Secret("http://127.0.0.1:9/T0K3N"), retries=1))


def test_https_is_verified(receive: Receive, certificate: Path):
    receiver = receive(certificate)
    with pytest.raises(NotDelivered, match="certificate verify failed"):
        send(hook(receiver))
    assert receiver.got == []
    send(hook(receiver, ca_file=str(certificate)))
    assert len(receiver.got) == 1


def test_a_template_stays_json_whatever_is_put_in(receive: Receive):
    receiver = receive()
    template = '{"title": "{run}", "n": {failed}, "list": {scenarios}, "left": "{nobody}"}'
    send(hook(receiver, template=template), hostile())
    [said] = receiver.bodies
    assert said["title"] == hostile().id
    assert said["n"] == 1
    assert said["left"] == "{nobody}"
    assert said["list"][1]["name"].startswith("=HYPERLINK")


@pytest.mark.parametrize("kind", ["starttls", "tls"])
def test_mail_goes_out_encrypted_with_the_password(mailbox: Callable[[str], Mailbox], certificate: Path, kind):
    box = mailbox(kind)
    target = Email(
        "localhost", ["a@example.org", "b@example.org"], "bench@example.org", box.port, kind, "bench",
        Secret("hunter2-mail"), ca_file=str(certificate),
    )  # fmt: skip
    send(target)
    assert box.logins == [("bench", "hunter2-mail", True)]
    [(recipients, text, _)] = box.mails
    assert recipients == ["a@example.org", "b@example.org"]
    mail = email.message_from_string(text, policy=default)
    assert mail["Subject"] == f"[playbook] {good().id}: 2 of 4 scenarios completed (1 failed, 1 skipped)"
    assert "failed     003_bad: benchmark: it broke" in mail.get_content()


def test_mail_headers_hold_no_lines_of_others(mailbox: Callable[[str], Mailbox]):
    box = mailbox("none")
    result = evolve(good(), id="run\r\nBcc: everyone@example.org\r\n\r\nhello")
    send(Email("localhost", ["a@example.org"], "b@example.org", box.port, "none"), result)
    [(recipients, text, _)] = box.mails
    assert recipients == ["a@example.org"]
    assert email.message_from_string(text)["Bcc"] is None


@pytest.mark.parametrize(
    "change, words",
    [
        ({"password": Secret("wrong-one")}, "535"), ({"tls": "none"}, "not sent without TLS"),
        ({"ca_file": ""}, "certificate verify failed"), ({"ca_file": "/nonexistent"}, "ca_file"),
    ],
)  # fmt: skip
def test_mail_that_cannot_be_sent_says_why_once(mailbox: Callable[[str], Mailbox], certificate: Path, change, words):
    box = mailbox("starttls")
    target = Email(
        "localhost",
        ["a@example.org"],
        "",
        box.port,
        "starttls",
        "bench",
        Secret("hunter2-mail"),
        ca_file=str(certificate),
    )
    with pytest.raises(NotDelivered, match=words):
        send(evolve(target, **change))
    assert box.mails == []
    assert len(set(box.logins)) <= 1


def test_a_server_that_asks_for_later_gets_it_later(mailbox: Callable[[str], Mailbox]):
    box = mailbox("none")
    box.refusals = ["451 try again later"]
    assert send(Email("localhost", ["a@example.org"], "b@example.org", box.port, "none")) == [1.0]
    assert len(box.mails) == 1
    box.refusals = ["554 never"]
    with pytest.raises(NotDelivered, match="554 never"):
        send(Email("localhost", ["a@example.org"], "b@example.org", box.port, "none"))


def test_no_secret_is_told(receive: Receive):
    receiver = receive()
    secret = Secret("hunter2-notify")
    bad = evolve(good().scenarios[2], reason=f"login with {secret.reveal()} failed")
    send(hook(receiver), evolve(good(), scenarios=(bad,)))
    assert b"hunter2" not in receiver.got[0][1]
    assert redact(receiver.url).endswith("***")


def campaign_context(tmp_path: Path, options: dict[str, Any]) -> CampaignContext:
    loader = Loader()
    ref = DriverRef("notify", options)
    return CampaignContext("run-1", tmp_path, {}, structlog.get_logger(), loader.build, (ref,))


def test_events_are_sent_on_the_way_to_those_who_asked(receive: Receive, tmp_path: Path):
    every, some = receive(), receive()
    options = {
        "webhooks": [
            {"url": every.url, "events": ["campaign_started", "scenario_ended", "campaign_ended"]},
            {"url": some.url, "events": ["scenario_failed"]},
        ]
    }
    ctx = campaign_context(tmp_path, options)
    result = good()
    notify.playbook_event(ctx, CampaignStarted("run-1", str(tmp_path), ("a", "b")))
    for scenario in result.scenarios:
        notify.playbook_event(ctx, ScenarioEnded(scenario, scenario=scenario.scenario))
    assert QUEUE.flush(30)
    assert [b["event"] for b in every.bodies] == ["campaign_started", *["scenario_ended"] * 4]
    assert [b["scenario"] for b in some.bodies] == ["003_bad"]


def test_a_dead_receiver_costs_the_campaign_nothing(tmp_path: Path):
    ctx = campaign_context(
        tmp_path, {"webhooks": [{"url": "http://127.0.0.1:9/", "events": ["campaign_started"], "retries": 0}]}
    )
    caller = threading.current_thread()
    notify.playbook_event(ctx, CampaignStarted("run-1", str(tmp_path), ("a",)))
    assert QUEUE.flush(30)
    assert threading.current_thread() is caller


def test_one_that_cannot_be_told_is_named_after_the_others_were(receive: Receive, tmp_path: Path):
    receiver = receive()
    options = {"webhooks": [{"url": "http://127.0.0.1:9/", "retries": 0}, {"url": receiver.url}]}
    ctx = campaign_context(tmp_path, options)
    told: list[tuple[str, dict]] = []

    class Log:
        def warning(self, event: str, **fields: object) -> None:
            told.append((event, fields))

    ctx.log = Log()
    assert notify.playbook_report(ctx, good()) == []
    assert len(receiver.got) == 1
    [(event, fields)] = told
    assert event == "a notification was not delivered"
    assert str(fields["error"]).startswith("webhook at 127.0.0.1:9: ")
    assert fields["notification"] == "campaign_ended"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "url, place",
    [
        ("https://user:hunter2@chat.example/hooks/T0K3N?key=k", "webhook at chat.example:443"),
        ("http://chat.example:8080/x", "webhook at chat.example:8080"), ("http://[::1]/x", "webhook at [::1]:80"),
    ],
)  # fmt: skip
def test_the_address_is_host_and_port_and_no_more(url: str, place: str):
    assert address(Webhook(Secret(url))) == place
