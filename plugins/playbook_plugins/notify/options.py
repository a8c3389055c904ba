"""Where to send what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from playbook_kernel.api import Secret, field, frozen

NAME = "notify"
EventName = Literal["campaign_started", "scenario_ended", "scenario_failed", "campaign_ended"]


@frozen
class Webhook:
    """``url``: kept out of logs, for it often is a password. ``secret``: signs the body (HMAC-SHA256).

    ``template``: the body, with ``{status}``, ``{text}``, ``{run}`` and so on in it; without one, all of it as JSON, with
    a ``text`` that chat programs show. ``retries``: further attempts when there is no answer, a 5xx, 429 or 408.
    ``ca_file``: trust these certificates instead of the system's.
    """

    url: Secret
    events: list[EventName] = field(factory=lambda: ["campaign_ended"])
    secret: Secret | None = None
    headers: Mapping[str, str] = field(factory=dict)
    template: str = ""
    content_type: str = "application/json"
    retries: int = 4
    timeout: float = 10.0
    ca_file: str = ""


@frozen
class Email:
    """``tls``: ``starttls`` (the usual on port 587), ``tls`` (465), ``none``: then no password is ever sent."""

    host: str
    recipients: list[str]
    sender: str = ""
    port: int = 587
    tls: Literal["starttls", "tls", "none"] = "starttls"
    username: str = ""
    password: Secret | None = None
    events: list[EventName] = field(factory=lambda: ["campaign_ended"])
    subject: str = "[playbook] {run}: {text}"
    retries: int = 2
    timeout: float = 20.0
    ca_file: str = ""


Target = Webhook | Email


@frozen
class Options:
    """Every webhook and every mailbox."""

    webhooks: list[Webhook] = field(factory=list)
    emails: list[Email] = field(factory=list)

    def targets(self) -> list[Target]:
        """All of them."""
        return [*self.webhooks, *self.emails]
