"""One message to one place: tried again while that may help."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import smtplib
import socket
import ssl
import time
from collections.abc import Callable
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from urllib.parse import urlsplit

from playbook_kernel.api import PlaybookError, redact

from .message import Message
from .options import Email, Target, Webhook

_LONGEST_WAIT = 30.0


class NotDelivered(PlaybookError):
    """It could not be told; ``again``: a later attempt might work, ``wait``: after so many seconds."""

    again = False
    wait: float | None = None


def deliver(target: Target, message: Message, sleep: Callable[[float], bool]) -> None:
    """Send it, with retries. ``sleep`` returns True when there is no time left. Raises NotDelivered."""
    attempt = 0
    while True:
        try:
            if isinstance(target, Webhook):
                _post(target, message)
            else:
                _mail(target, message)
        except NotDelivered as error:
            attempt += 1
            if not error.again or attempt > target.retries:
                raise
            pause = min(2.0 ** (attempt - 1), _LONGEST_WAIT) if error.wait is None else min(error.wait, _LONGEST_WAIT)
            if sleep(pause):
                raise
        else:
            return


def address(target: Target) -> str:
    """Where a target is, without what may be a password: host and port alone."""
    if isinstance(target, Email):
        return f"mail over {target.host}:{target.port}"
    parts = urlsplit(target.url.reveal())
    place = parts.netloc.rpartition("@")[2]
    port = "" if ":" in place.rpartition("]")[2] else f":{443 if parts.scheme == 'https' else 80}"
    return f"webhook at {place}{port}"


def _failed(words: str, *, again: bool, wait: float | None = None) -> NotDelivered:
    error = NotDelivered(redact(words))
    error.again, error.wait = again, wait
    return error


def _context(ca_file: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file or None)
    except OSError as error:
        raise _failed(f"ca_file {ca_file}: {error}", again=False) from None


def signature(secret: str, stamp: str, body: bytes) -> str:
    """What goes into ``X-Playbook-Signature``: the HMAC-SHA256 of the timestamp, a dot, and the body."""
    return "sha256=" + hmac.new(secret.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def _post(target: Webhook, message: Message) -> None:
    parts = urlsplit(target.url.reveal())
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise _failed("the webhook's url is not an http:// or https:// address", again=False)
    if target.template:
        body = message.fill(target.template, as_json="json" in target.content_type).encode()
    else:
        body = json.dumps(message.body(), ensure_ascii=False).encode()
    stamp = str(int(time.time()))
    headers = {
        "Content-Type": target.content_type, "User-Agent": "playbook-kernel", **target.headers,
        "X-Playbook-Event": message.event, "X-Playbook-Delivery": hashlib.sha256(message.id.encode()).hexdigest()[:32],
        "X-Playbook-Timestamp": stamp,
    }  # fmt: skip
    if target.secret is not None:
        headers["X-Playbook-Signature"] = signature(target.secret.reveal(), stamp, body)
    try:
        if parts.scheme == "https":
            context = _context(target.ca_file)
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                parts.hostname, parts.port, timeout=target.timeout, context=context
            )
        else:
            connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=target.timeout)
        try:
            connection.request("POST", f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}", body, headers)
            response = connection.getresponse()
            status, said = response.status, response.read(300)
            after = response.getheader("Retry-After", "")
        finally:
            connection.close()
    except ssl.SSLCertVerificationError as error:
        raise _failed(f"{address(target)}: {error}", again=False) from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        words = str(error) or type(error).__name__
        raise _failed(f"{address(target)}: {words}", again=not isinstance(error, ValueError)) from None
    if 200 <= status < 300:
        return
    wait = float(after) if after.isdigit() else None
    text = " ".join(said.decode("utf-8", "replace").split())[:120]
    raise _failed(
        f"{address(target)}: status {status}{f': {text}' if text else ''}",
        again=status >= 500 or status in (408, 429),
        wait=wait,
    )


def _mail(target: Email, message: Message) -> None:
    if target.password is not None and target.tls == "none":
        raise _failed(f"{address(target)}: a password is not sent without TLS", again=False)
    mail = EmailMessage()
    mail["Subject"] = " ".join(message.fill(target.subject).split())[:200]
    mail["From"] = target.sender or target.username or f"playbook@{socket.gethostname()}"
    mail["To"] = ", ".join(target.recipients)
    mail["Date"] = formatdate()
    mail["Message-ID"] = make_msgid(hashlib.sha256(message.id.encode()).hexdigest()[:16], "playbook-kernel")
    mail.set_content(message.lines())
    try:
        with _smtp(target) as server:
            if target.tls == "starttls":
                server.starttls(context=_context(target.ca_file))
            if target.password is not None:
                server.login(target.username, target.password.reveal())
            refused = server.send_message(mail)
    except smtplib.SMTPResponseException as error:
        said = error.smtp_error.decode("utf-8", "replace") if isinstance(error.smtp_error, bytes) else error.smtp_error
        again = 400 <= error.smtp_code < 500
        raise _failed(f"{address(target)}: {error.smtp_code} {said}", again=again) from None
    except (ssl.SSLCertVerificationError, smtplib.SMTPNotSupportedError) as error:
        raise _failed(f"{address(target)}: {error}", again=False) from None
    except (OSError, smtplib.SMTPException, ValueError) as error:
        words = str(error) or type(error).__name__
        raise _failed(f"{address(target)}: {words}", again=isinstance(error, OSError)) from None
    if refused:
        raise _failed(f"{address(target)}: refused for {', '.join(sorted(refused))}", again=False)


def _smtp(target: Email) -> smtplib.SMTP:
    if target.tls == "tls":
        context = _context(target.ca_file)
        return smtplib.SMTP_SSL(target.host, target.port, timeout=target.timeout, context=context)
    return smtplib.SMTP(target.host, target.port, timeout=target.timeout)
