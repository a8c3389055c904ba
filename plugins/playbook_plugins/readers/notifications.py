"""``notifications`` of the scenarios file: the earlier templates' keys, as options of the reporter ``notify``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from playbook_kernel.api import DriverRef, Problems, Secret, learn

from playbook_plugins.text import Document, dotted

_WEBHOOK = {
    "url": "url", "webhook_url": "url", "events": "events", "on": "events", "secret": "secret", "headers": "headers",
    "template": "template", "content_type": "content_type", "retries": "retries", "timeout": "timeout",
    "ca_file": "ca_file",
}  # fmt: skip
_EMAIL = {
    "host": "host", "server": "host", "smtp_server": "host", "smtp_host": "host", "port": "port", "smtp_port": "port",
    "username": "username", "user": "username", "password": "password", "sender": "sender", "from": "sender",
    "from_address": "sender", "recipients": "recipients", "to": "recipients", "to_addresses": "recipients",
    "events": "events", "on": "events", "subject": "subject", "tls": "tls", "use_tls": "tls", "retries": "retries",
    "timeout": "timeout", "ca_file": "ca_file",
}  # fmt: skip
_SECRETS = ("url", "secret", "password")
_NEEDED = {"webhook": ("url",), "email": ("host", "recipients")}


def notifications(section: Mapping[str, Any], document: Document, problems: Problems) -> list[DriverRef]:
    """The reporter that sends them; nothing if none is switched on.

    A section without ``enabled`` is on if it is complete; one that is on and lacks something is a problem.
    """
    if section.get("enabled") is False:
        return []
    found: dict[str, list[dict[str, Any]]] = {"webhooks": [], "emails": []}
    for kind, names in (("webhook", _WEBHOOK), ("email", _EMAIL)):
        for at, entry in _entries(section, kind):
            made = _taken(entry, names, ("notifications", *at), document, problems)
            if entry.get("enabled") is False:
                continue
            missing = [n for n in _NEEDED[kind] if not made.get(n)]
            if not missing:
                found[f"{kind}s"].append(made)
            elif entry.get("enabled") is True:
                key = ("notifications", *at)
                problems.add(document.file, document.line(*key), dotted(key), f"lacks {', '.join(missing)}")
    if not any(found.values()):
        return []
    origin = f"{document.file}:{document.line('notifications')}: notifications"
    return [DriverRef("notify", {k: v for k, v in found.items() if v}, origin)]


def _entries(section: Mapping[str, Any], kind: str) -> list[tuple[tuple[str | int, ...], Mapping[str, Any]]]:
    """``webhook: {...}``, ``webhook: [{...}]`` and ``webhooks: [{...}]``, each with its place."""
    found: list[tuple[tuple[str | int, ...], Mapping[str, Any]]] = []
    for key in (kind, f"{kind}s"):
        value = section.get(key)
        if isinstance(value, Mapping):
            found.append(((key,), value))
        elif isinstance(value, Sequence) and not isinstance(value, str):
            found += [((key, n), v) for n, v in enumerate(value) if isinstance(v, Mapping)]
    return found


def _taken(
    entry: Mapping[str, Any],
    names: Mapping[str, str],
    at: tuple[str | int, ...],
    document: Document,
    problems: Problems,
) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, value in entry.items():
        if key in names and value is not None:
            secret = names[key] in _SECRETS and isinstance(value, str)
            made.setdefault(names[key], Secret(value) if secret else value)
            if isinstance(value, Mapping):  # headers
                learn(value)
        elif key not in names and key != "enabled":
            where = (*at, key)
            problems.warn(document.file, document.line(*where), dotted(where), "has no effect: there is no such key")
    if isinstance(made.get("recipients"), str):
        made["recipients"] = [r.strip() for r in made["recipients"].split(",") if r.strip()]
    if isinstance(made.get("tls"), bool):
        made["tls"] = ("tls" if made.get("port") == 465 else "starttls") if made["tls"] else "none"
    elif "tls" not in made and made.get("port") == 465:
        made["tls"] = "tls"
    return made
