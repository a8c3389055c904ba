"""One authenticated connection: how it is made, watched, and given up."""

from __future__ import annotations

import contextlib
import logging
import math
import random
import signal
import socket
import threading
import time
from typing import Any, ClassVar

import paramiko
from attrs import evolve, frozen
from paramiko.common import MSG_CHANNEL_REQUEST, cMSG_CHANNEL_REQUEST
from playbook_kernel.api import (
    AuthenticationFailed,
    HostKeyRejected,
    NodeError,
    PlaybookError,
    Unreachable,
    current,
)

from playbook_plugins.home import at_home

from . import hostkeys
from .options import Options
from .warden import Sudo, Warden
from .wire import Wire

_CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes256-ctr")
_KEX = (
    "curve25519-sha256@libssh.org",
    "ecdh-sha2-nistp256",
    "ecdh-sha2-nistp384",
    "ecdh-sha2-nistp521",
    "diffie-hellman-group14-sha256",  # only for servers that have nothing better: it costs 30 ms
)
_FAR = 2**40
"""Bytes and packets before we ask for new keys. OpenSSH itself asks after 64 GiB; paramiko's 512 MiB dead-locks transfers."""

# What goes wrong is told by our own errors; a server that is asked again a moment later is none.
logging.getLogger("paramiko").addHandler(logging.NullHandler())

_SIGNALS = {s.name.removeprefix("SIG"): s.value for s in signal.Signals}

_limiter_lock = threading.Lock()
_limiters: dict[tuple[str, int], threading.Semaphore] = {}
_AT_ONCE = 8
"""Connections that one process opens to one server at the same time: MaxStartups drops more."""


def _channel_request(channel: Any, m: Any) -> None:
    """A command that a signal ended has no status; paramiko ignores what the server says instead."""
    if m.get_text() == "exit-signal":
        m.get_boolean()
        channel.exit_status = 128 + _SIGNALS.get(m.get_text(), 0)
        channel.status_event.set()
        return
    m.rewind()
    m.get_int()
    channel._handle_request(m)  # noqa: SLF001


class Patience(float):
    """Seconds for the opening of a channel, which are over as soon as somebody cancels.

    paramiko adds them to the time of its beginning again and again while it waits, and knows no other way to be stopped.
    """

    def __radd__(self, began: float) -> float:
        return began + float(self) if not current().cancel.requested else -math.inf


class PatientTransport(paramiko.Transport):
    """Answers of the reader thread wait for the end of a key exchange without blocking that very thread.

    paramiko's reader dead-locks when it must answer (a CLOSE, say) while keys are being exchanged: it waits for an
    exchange that only itself could finish. Such answers are kept here and sent right after.
    """

    # Whoever closes a connection wakes its reader (see Wire), which need not look ten times a second whether somebody did.
    _active_check_timeout = 1.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._later: list[Any] = []
        super().__init__(*args, **kwargs)
        self.packetizer.REKEY_BYTES = _FAR
        self.packetizer.REKEY_PACKETS = _FAR

    def _send_user_message(self, data: Any) -> None:
        if threading.current_thread() is self and not self.clear_to_send.is_set():
            self._later.append(data)
            return
        super()._send_user_message(data)  # type: ignore[misc]

    def execute(self, channel: paramiko.Channel, command: bytes) -> None:
        """Ask for a command without waiting for the yes: what comes of it tells. A no closes the channel."""
        message = paramiko.Message()
        message.add_byte(cMSG_CHANNEL_REQUEST)
        message.add_int(channel.remote_chanid)
        message.add_string("exec")
        message.add_boolean(True)  # noqa: FBT003 - a reply, please
        message.add_string(command)
        self._send_user_message(message)

    _channel_handler_table: ClassVar[dict[int, Any]] = {
        **paramiko.Transport._channel_handler_table,  # type: ignore[attr-defined]  # noqa: SLF001
        MSG_CHANNEL_REQUEST: _channel_request,
    }

    def _parse_newkeys(self, m: Any) -> None:
        super()._parse_newkeys(m)  # type: ignore[misc]
        later, self._later = self._later, []
        for data in later:
            super()._send_user_message(data)  # type: ignore[misc]


@frozen
class Target:
    """Where to connect, with everything that ``~/.ssh/config`` adds."""

    host: str
    port: int
    username: str
    keys: tuple[str, ...]
    known_hosts: tuple[str, ...]
    jump: str

    @classmethod
    def of(cls, options: Options) -> Target:
        """Look the host up. A key file that the user named must exist; those of the configuration are tried if they do."""
        found: dict[str, Any] = {}
        file = at_home(options.ssh_config)
        if file.is_file():
            found = dict(paramiko.SSHConfig.from_path(str(file)).lookup(options.host))
        keys: tuple[str, ...] = tuple(k for k in found.get("identityfile", ()) if at_home(k).is_file())
        if options.key_filename:
            keys = (options.key_filename,)
        elif not keys and options.password is None:
            names = ("id_ed25519", "id_ecdsa", "id_rsa")
            keys = tuple(f"~/.ssh/{n}" for n in names if at_home(f"~/.ssh/{n}").is_file())
        known = (options.known_hosts,) if options.known_hosts else tuple(found.get("userknownhostsfile", "").split())
        import getpass

        return cls(
            str(found.get("hostname", options.host)),
            int(found.get("port", options.port)) if options.port == 22 else options.port,
            options.username or found.get("user") or getpass.getuser(),
            keys,
            known or hostkeys.DEFAULT_FILES,
            options.proxy_jump
            if options.proxy_jump is not None
            else str(found.get("proxyjump", "")).replace("none", ""),
        )


class Connection:
    """An open, authenticated transport with its watchdog. ``warnings``: what the user should be told about it."""

    def __init__(
        self, node: str, transport: PatientTransport, wire: Wire, options: Options, below: Connection | None
    ) -> None:
        self.node, self.transport, self.wire, self._below = node, transport, wire, below
        self.warnings: list[str] = []
        self.lost = ""
        self._wardens: dict[bool, Warden] = {}
        self._warden_lock = threading.Lock()
        self._closed = threading.Event()
        self._options = options
        threading.Thread(target=self._watch, daemon=True, name=f"ssh-watch-{node}").start()

    @property
    def alive(self) -> bool:
        return self.transport.is_active() and not self._closed.is_set()

    def why(self) -> str:
        """Why something on it came to nothing."""
        return self.lost or ("what ran it on the node was ended" if self.alive else "the connection was lost")

    def warden(self, sudo: Sudo | None, channel: paramiko.Channel) -> Warden | None:
        """The warden of our commands, or of root's. When there is none, ``channel`` becomes its, and the answer is None.

        Raises what Warden raises.
        """
        key = sudo is not None
        with self._warden_lock:
            found = self._wardens.get(key)
            if found is not None and found.alive:
                return found
            try:
                self._wardens[key] = Warden(self.node, channel, sudo, _left(self._options))
            except (paramiko.SSHException, EOFError, OSError) as error:
                why = self.lost or str(error) or type(error).__name__
                raise Unreachable(self.node, f"its guard cannot be started: {why}") from error
            return None

    def _watch(self) -> None:
        """Ask the peer whether it is there. paramiko's own keepalive never looks at the answer."""
        options = self._options
        while not self._closed.wait(options.keepalive_interval):
            if not self.transport.is_active():
                return
            answered = threading.Event()

            def ask(answered: threading.Event = answered) -> None:
                with contextlib.suppress(Exception):
                    self.transport.global_request("keepalive@openssh.com", wait=True)
                answered.set()

            threading.Thread(target=ask, daemon=True, name=f"ssh-ask-{self.node}").start()
            if not answered.wait(options.keepalive_timeout) and not self._closed.is_set():
                self.lost = f"the node did not answer for {options.keepalive_timeout:g} s"
                self.close()

    def close(self) -> None:
        """Give it up; every call that waits on it is released."""
        self._closed.set()
        with contextlib.suppress(Exception):
            self.wire.close()
        with contextlib.suppress(Exception):
            self.transport.close()
        if self._below is not None:
            self._below.close()


def connect(node: str, options: Options) -> Connection:
    """Open a connection. Raises Unreachable, HostKeyRejected or AuthenticationFailed."""
    target = Target.of(options)
    if target.jump:
        *first, last = [j.strip() for j in target.jump.split(",") if j.strip()]
        below = connect(node, jump_options(options, last, ",".join(first)))
        try:
            channel = below.transport.open_channel(
                "direct-tcpip", (target.host, target.port), ("", 0), timeout=Patience(_left(options))
            )
        except (paramiko.SSHException, EOFError, OSError) as error:
            below.close()
            current().cancel.check()
            raise Unreachable(node, f"{last} cannot reach {target.host}:{target.port}: {error}") from error
        try:
            return _over(node, channel, target, options, below)
        except BaseException:
            below.close()
            raise
    with _limiter(target):
        return _retrying(node, target, options)


def jump_options(options: Options, spec: str, rest: str) -> Options:
    """How to reach a host on the way (``[user@]host[:port]``), itself reached through those in ``rest``."""
    user, _, place = spec.rpartition("@")
    host, colon, port = place.rpartition(":")
    return evolve(
        options,
        host=host if colon else place,
        port=int(port) if colon else 22,
        username=user or options.username,
        proxy_jump=rest,
    )


def _limiter(target: Target) -> threading.Semaphore:
    with _limiter_lock:
        return _limiters.setdefault((target.host, target.port), threading.Semaphore(_AT_ONCE))


def _left(options: Options) -> float:
    return max(current().timeout(options.connect_timeout) or 0.0, 0.001)


def _retrying(node: str, target: Target, options: Options) -> Connection:
    """A server that is asked by many at once drops some before its banner: those try again, a moment later."""
    end = time.monotonic() + _left(options)
    pause = 0.05
    while True:
        try:
            sock = socket.create_connection((target.host, target.port), timeout=max(end - time.monotonic(), 0.001))
        except OSError as error:
            raise Unreachable(node, f"{target.host}:{target.port}: {error.strerror or error}") from error
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            return _over(node, sock, target, options, None)
        except _Dropped as error:
            if time.monotonic() + pause > end:
                raise Unreachable(node, f"{target.host}:{target.port}: {error}", hint=error.hint) from error
        current().sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - spreads retries, protects nothing
        pause = min(pause * 2, 1.0)


class _Dropped(PlaybookError):
    """The server hung up before it said who it is."""


def _over(node: str, sock: Any, target: Target, options: Options, below: Connection | None) -> Connection:
    wire = Wire(sock)
    transport = PatientTransport(wire)
    try:
        with current().cancel.watching(wire.close):
            warning = _handshake(node, transport, target, options)
            _authenticate(node, transport, target, options)
    except BaseException:
        with contextlib.suppress(Exception):
            transport.close()
        current().cancel.check()
        raise
    connection = Connection(node, transport, wire, options, below)
    if warning:
        connection.warnings.append(warning)
    return connection


def _handshake(node: str, transport: PatientTransport, target: Target, options: Options) -> str:
    known = hostkeys.KnownHosts(target.known_hosts)
    name = hostkeys.place(target.host, target.port)
    security = transport.get_security_options()
    security.ciphers = tuple(c for c in _CIPHERS if c in security.ciphers)
    security.kex = tuple(k for k in _KEX if k in security.kex)
    wanted = known.types(name)
    security.key_types = tuple(sorted(security.key_types, key=lambda t: base_type(t) not in wanted))
    left = _left(options)
    transport.banner_timeout = transport.handshake_timeout = left
    try:
        transport.start_client(timeout=left)
        key = transport.get_remote_server_key()  # which says it when the time was not enough: start_client does not
    except (paramiko.SSHException, EOFError, OSError) as error:
        text = str(error) or type(error).__name__
        if "banner" in text or isinstance(error, (EOFError, ConnectionResetError)) or "No existing session" in text:
            raise _Dropped(
                f"no SSH server answered: {text}", hint="is that the right port, and is sshd at work?"
            ) from error
        raise Unreachable(node, f"{name}: {text}") from error
    return hostkeys.check(node, options.host_keys, known, name, key)


def base_type(key_type: str) -> str:
    """The name under which known_hosts has a key that is offered with this signature type."""
    return "ssh-rsa" if key_type.startswith("rsa-sha2") else key_type


def _authenticate(node: str, transport: PatientTransport, target: Target, options: Options) -> None:
    """Key files, then the agent, then the password: whatever is configured, until one is accepted."""
    transport.auth_timeout = max(current().timeout(options.auth_timeout) or 0.0, 0.001)
    tried: list[str] = []
    for file in target.keys:
        tried.append(file)
        if _accepted(node, lambda f=file: transport.auth_publickey(target.username, _load_key(node, f, options))):
            return
    if options.use_agent and not options.key_filename:
        agent = paramiko.Agent()
        try:
            for key in agent.get_keys():
                tried.append("agent")
                if _accepted(node, lambda k=key: transport.auth_publickey(target.username, k)):
                    return
        finally:
            agent.close()
    if options.password is not None:
        tried.append("password")
        secret = options.password.reveal()
        if _accepted(node, lambda: transport.auth_password(target.username, secret, fallback=True)):
            return
    if not transport.is_active():
        raise Unreachable(node, "the connection was lost while logging in")
    raise AuthenticationFailed(
        node,
        f"{target.username}@{target.host} was not accepted; tried: {', '.join(dict.fromkeys(tried)) or 'nothing'}",
        hint="set key_filename or password for the node" if not tried else "",
    )


def _accepted(node: str, attempt: Any) -> bool:
    try:
        return not attempt()  # a list of further methods means that one was not enough
    except paramiko.BadAuthenticationType:
        return False
    except paramiko.AuthenticationException as error:
        if "timeout" in str(error).lower():
            raise AuthenticationFailed(node, "the node did not answer to the login in time") from error
        return False
    except (paramiko.SSHException, EOFError, OSError) as error:
        if isinstance(error, (NodeError, HostKeyRejected)):
            raise
        return False


_key_cache: dict[tuple[str, float], paramiko.PKey] = {}


def _load_key(node: str, file: str, options: Options) -> paramiko.PKey:
    path = at_home(file)
    try:
        stamp = (str(path), path.stat().st_mtime)
        if stamp in _key_cache:
            return _key_cache[stamp]
        secret: Any = options.passphrase.reveal().encode() if options.passphrase else None
        key = paramiko.PKey.from_path(path, secret)
    except FileNotFoundError as error:
        raise AuthenticationFailed(node, f"key_filename: there is no file {path}") from error
    except PermissionError as error:
        raise AuthenticationFailed(node, f"key_filename: {path} cannot be read") from error
    except (paramiko.PasswordRequiredException, TypeError) as error:
        raise AuthenticationFailed(node, f"{path} needs a passphrase", hint="set passphrase for the node") from error
    except (paramiko.SSHException, ValueError, OSError) as error:
        wrong = (
            "the passphrase is wrong, or it is not a private key" if options.passphrase else "it is not a private key"
        )
        raise AuthenticationFailed(node, f"{path} cannot be used: {wrong}") from error
    _key_cache[stamp] = key
    return key
