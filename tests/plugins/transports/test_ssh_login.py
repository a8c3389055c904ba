"""Who we are, who the node is, and the way there."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playbook_kernel.api import AuthenticationFailed, CommandTimeout, HostKeyRejected, Secret, Unreachable
from playbook_plugins.transports.ssh import Options, SshTransport

from .helpers import NODE, OWNER, connect, options
from .sshd import PASSWORD, Sshd, make_key

pytestmark = pytest.mark.ssh
needs_accounts = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a server accounts of its own")
needs_sudo = pytest.mark.skipif(shutil.which("sudo") is None, reason="sudo is not installed")


@needs_accounts
def test_password(server: Sshd) -> None:
    with connect(server, username="plain", key_filename=None, password=Secret(PASSWORD)) as session:
        assert session.run(["id", "-un"]).text == "plain\n"
    with pytest.raises(AuthenticationFailed, match="tried: password"):
        connect(server, username="plain", key_filename=None, password=Secret("wrong"))


@needs_accounts
def test_key_then_password(server: Sshd, tmp_path: Path) -> None:
    stranger = make_key(tmp_path / "stranger")
    with connect(server, username="plain", key_filename=str(stranger), password=Secret(PASSWORD)) as session:
        assert session.run(["true"]).ok
    with pytest.raises(AuthenticationFailed, match=r"was not accepted; tried: .*stranger"):
        connect(server, username="plain", key_filename=str(stranger))


def test_passphrase(server: Sshd, tmp_path: Path) -> None:
    key = make_key(tmp_path / "locked", passphrase="open sesame")
    with server.authorized.open("a") as file:
        file.write(key.with_suffix(".pub").read_text())
    with connect(server, key_filename=str(key), passphrase=Secret("open sesame")) as session:
        assert session.run(["true"]).ok
    other = make_key(tmp_path / "other", passphrase="open sesame")  # keys that once were opened are kept
    with pytest.raises(AuthenticationFailed, match="passphrase is wrong"):
        connect(server, key_filename=str(other), passphrase=Secret("close sesame"))
    with pytest.raises(AuthenticationFailed, match="needs a passphrase"):
        connect(server, key_filename=str(other))
    with pytest.raises(AuthenticationFailed, match="there is no file"):
        connect(server, key_filename=str(tmp_path / "missing"))


@pytest.fixture
def agent(server: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    socket = tmp_path / "agent"
    with subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.DEVNULL) as process:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
        monkeypatch.setenv("HOME", str(tmp_path))
        key = ["ssh-add", "-q", str(server.key)]
        while subprocess.run(key, capture_output=True).returncode:
            assert process.poll() is None
        yield
        process.terminate()


@pytest.mark.usefixtures("agent")
def test_agent(server: Sshd) -> None:
    with connect(server, key_filename=None, use_agent=True) as session:
        assert session.run(["true"]).ok
    with pytest.raises(AuthenticationFailed, match="tried: nothing"):
        connect(server, key_filename=None, use_agent=False)


@needs_accounts
@pytest.mark.usefixtures("agent")
def test_order_of_what_is_tried(folder: Path, tmp_path: Path, server: Sshd) -> None:
    """Key files first, then the agent, and the password last; what is accepted ends it."""
    stranger = make_key(tmp_path / "stranger")
    config = tmp_path / "config"
    config.write_text(f"Host *\n IdentityFile {stranger}\n")
    with Sshd(folder, "LogLevel VERBOSE") as own:
        own.authorized.write_bytes(server.authorized.read_bytes())  # the agent has that one
        given = {"username": "plain", "key_filename": None, "ssh_config": str(config), "password": Secret(PASSWORD)}

        def tried(**more: object) -> list[str]:
            before = len(own.log.read_text())
            connect(own, **{**given, **more}).close()
            rows = own.log.read_text()[before:].splitlines()
            found = [" ".join(row.split()[:2]) for row in rows if row.startswith(("Failed", "Accepted"))]
            return [row for row in found if row != "Accepted key"]  # before it is proven

        assert tried(use_agent=True) == ["Failed publickey", "Accepted publickey"]
        assert tried(use_agent=False) == ["Failed publickey", "Accepted password"]
        own.authorized.write_bytes(stranger.with_suffix(".pub").read_bytes())
        assert tried(use_agent=True) == ["Accepted publickey"]
        own.authorized.write_text("")
        assert tried(use_agent=True) == ["Failed publickey", "Failed publickey", "Accepted password"]
        with pytest.raises(AuthenticationFailed, match=r"tried: .*stranger, agent, password"):
            tried(use_agent=True, password=Secret("wrong"))


# -- sudo ---------------------------------------------------------------------------------------------------------


@needs_accounts
@needs_sudo
@pytest.mark.parametrize(("user", "password"), [("asked", PASSWORD), ("trusted", None), ("trusted", PASSWORD)], ids=str)
def test_sudo(server: Sshd, user: str, password: str | None) -> None:
    with connect(server, username=user, password=Secret(password) if password else None) as session:
        assert session.run(["id", "-u"]).text != "0\n"
        assert session.run(["id", "-u"], sudo=True).text == "0\n"
        # Not a byte of the password, asked for or not, comes to the command.
        assert session.run(["cat"], stdin=b"a\nb", sudo=True).text == "a\nb"
        assert session.run(["cat"], sudo=True).text == ""
        env = session.run(["sh", "-c", 'cat; echo "$A$PLAYBOOK_OWNER"'], env={"A": "a\n"}, stdin=b"in ", sudo=True).text
        assert env == f"in a\n{OWNER}\n"
        assert session.run(["sh", "-c", "exit 7"], sudo=True, check=False).status == 7
        assert session.run(["sh", "-c", "kill -KILL $$"], sudo=True, check=False).status == 137


@needs_accounts
@needs_sudo
def test_root_commands_of_others_end_too(server: Sshd) -> None:
    with connect(server, username="asked", password=Secret(PASSWORD)) as session:
        with session.start(["sh", "-c", "echo $$; exec sleep 1000"], sudo=True, stdin=True, timeout=60) as process:
            pid = next(process.lines())[1]
            assert session.run(["kill", "-0", pid], check=False).status == 1, "it must not be ours to kill"
        assert session.run(["ps", "-o", "stat=", "-p", pid], check=False).text.strip() in ("", "Z")
        with pytest.raises(CommandTimeout):
            session.run(["sh", "-c", "trap '' TERM; sleep 1000 & wait"], sudo=True, timeout=0.5)


@needs_accounts
@needs_sudo
@pytest.mark.parametrize("password", ["wrong", None], ids=str)
def test_sudo_refused(server: Sshd, password: str | None) -> None:
    with (
        connect(server, username="asked", password=Secret(password) if password else None) as session,
        pytest.raises(AuthenticationFailed, match="sudo: "),
    ):
        session.run(["touch", "/must-not-be-there"], sudo=True)


# -- the way ------------------------------------------------------------------------------------------------------


def test_through_jump_hosts(server: Sshd, folder: Path) -> None:
    with Sshd(folder) as jump:
        known = folder / "both"
        known.write_text(server.known_hosts.read_text() + jump.known_hosts.read_text())
        both = folder / "keys"
        both.write_text(jump.authorized.read_text() + server.authorized.read_text())
        jump.authorized.write_bytes(both.read_bytes())
        way = f"{jump.username}@{jump.host}:{jump.port}"
        with connect(server, proxy_jump=f"{way},{way}", known_hosts=str(known)) as session:
            assert session.run(["cat"], stdin=b"x" * 3_000_000).stdout == b"x" * 3_000_000
            session.put_bytes(b"data", f"{folder}/file")
            jump.stop()
            with pytest.raises(Unreachable):
                session.run(["true"])


def test_users_configuration(server: Sshd, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(
        f"Host gpu-*\n HostName {server.host}\n Port {server.port}\n User {server.username}\n"
        f" IdentityFile {server.key}\n UserKnownHostsFile {server.known_hosts}\n"
    )
    given = Options(host="gpu-7", ssh_config=str(config), use_agent=False)
    with SshTransport(given).connect(NODE, owner=OWNER) as session:
        assert session.run(["id", "-un"]).text.strip() == server.username


def test_users_configuration_of_the_way(server: Sshd, folder: Path, tmp_path: Path) -> None:
    """``ProxyJump`` of the configuration is followed, with what it says about the host on the way."""
    with Sshd(folder, "LogLevel VERBOSE") as jump:
        jump.authorized.write_bytes(server.authorized.read_bytes())
        known = tmp_path / "known"
        known.write_text(server.known_hosts.read_text() + jump.known_hosts.read_text())
        config = tmp_path / "config"
        config.write_text(
            f"Host gpu-*\n HostName {server.host}\n Port {server.port}\n ProxyJump door\n"
            f"Host door\n HostName {jump.host}\n Port {jump.port}\n"
            f"Host *\n User {server.username}\n IdentityFile {server.key}\n UserKnownHostsFile {known}\n"
        )
        given = Options(host="gpu-7", ssh_config=str(config), use_agent=False)
        with SshTransport(given).connect(NODE, owner=OWNER) as session:
            assert session.run(["id", "-un"]).text.strip() == server.username
        assert "Accepted publickey" in jump.log.read_text()


# -- whose key ----------------------------------------------------------------------------------------------------


def test_unknown_host_key(server: Sshd, tmp_path: Path) -> None:
    known = tmp_path / "known"
    with pytest.raises(HostKeyRejected, match="is not known: ssh-ed25519 SHA256:"):
        connect(server, known_hosts=str(known))
    connect(server, known_hosts=str(known), host_keys="accept-new").close()
    connect(server, known_hosts=str(known)).close()


def test_changed_host_key(server: Sshd, tmp_path: Path) -> None:
    _, other, *_ = make_key(tmp_path / "other").with_suffix(".pub").read_text().split()
    known = tmp_path / "known"
    known.write_text(f"[{server.host}]:{server.port} ssh-ed25519 {other}\n")
    for policy in ("strict", "accept-new"):
        with pytest.raises(HostKeyRejected, match="has changed"):
            connect(server, known_hosts=str(known), host_keys=policy)
    assert other in known.read_text()
    with connect(server, known_hosts=str(known), host_keys="insecure") as session:
        assert session.run(["true"]).ok


def test_nothing_leaks_a_secret(server: Sshd) -> None:
    given = options(server, password=Secret("planted-secret"), passphrase=Secret("planted-too"))
    assert "planted" not in repr(given)
