"""Real servers on loopback: HTTP and HTTPS that answer as told, SMTP with STARTTLS or TLS and a password."""

from __future__ import annotations

import datetime as dt
import http.server
import ipaddress
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Receiver:
    """What came in, and what is answered: ``answers`` in order, then 204."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, dict[str, str]] | str] = []
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.url = ""

    @property
    def bodies(self) -> list[Any]:
        return [json.loads(body) for _, body in self.got]


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of its own for localhost, with its key in the same file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1)).add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True).sign(key, hashes.SHA256())
    )  # fmt: skip
    path = tmp_path_factory.mktemp("tls") / "localhost.pem"
    plain = serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture
def receive() -> Iterator[Callable[..., Receiver]]:
    """Start a server: ``receive()``, or ``receive(certificate)`` for HTTPS."""
    servers: list[http.server.ThreadingHTTPServer] = []

    def start(certificate: Path | None = None) -> Receiver:
        receiver = Receiver()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.got.append((dict(self.headers), body))
                answer = receiver.answers.pop(0) if receiver.answers else (204, {})
                if isinstance(answer, str):
                    return  # hang up without a word
                self.send_response(answer[0])
                for key, value in {**answer[1], "Content-Length": "0"}.items():
                    self.send_header(key, value)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if certificate is not None:
            server.socket = tls(certificate).wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        servers.append(server)
        receiver.url = f"http{'s' if certificate else ''}://localhost:{server.server_port}/hook/T0K3N-of-the-url"
        return receiver

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


class Mailbox:
    """An SMTP server's memory."""

    def __init__(self) -> None:
        self.mails: list[Any] = []
        self.logins: list[tuple[str, str, bool]] = []
        self.refusals: list[str] = []
        self.port = 0

    async def handle_DATA(self, server: SMTP, session: Any, envelope: Any) -> str:
        if self.refusals:
            return self.refusals.pop(0)
        self.mails.append((envelope.rcpt_tos, envelope.content.decode(), session.ssl is not None))
        return "250 OK"


@pytest.fixture
def mailbox(certificate: Path) -> Iterator[Callable[..., Mailbox]]:
    """Start a mail server: ``mailbox("starttls")``, ``mailbox("tls")`` or ``mailbox("none")``."""
    controllers: list[Controller] = []

    def start(kind: str) -> Mailbox:
        box = Mailbox()

        def check(server: SMTP, session: Any, envelope: Any, mechanism: str, auth: Any) -> AuthResult:
            assert isinstance(auth, LoginPassword)
            box.logins.append((auth.login.decode(), auth.password.decode(), session.ssl is not None or kind == "tls"))
            return AuthResult(success=auth.password == b"hunter2-mail", handled=False)

        options: dict[str, Any] = {"authenticator": check, "auth_required": False}
        if kind == "starttls":
            options |= {"tls_context": tls(certificate), "auth_require_tls": True}
        else:
            options |= {"auth_require_tls": False}
        if kind == "tls":
            options["ssl_context"] = tls(certificate)

        class Free(Controller):
            """Takes a free port and says which; its own start would connect to port 0."""

            def _trigger_server(self) -> None:
                box.port = self.server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
                socket.create_connection(("127.0.0.1", box.port)).close()

        controller = Free(box, hostname="127.0.0.1", port=0, **options)
        controller.start()
        controllers.append(controller)
        return box

    yield start
    for controller in controllers:
        controller.stop()
