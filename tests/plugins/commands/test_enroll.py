"""Host keys of real servers: shown, kept after a yes, refused when they have changed."""

import pytest

from tests.cli.calls import call, spawn, write
from tests.plugins.transports.sshd import Sshd, cannot, make_key

pytestmark = [pytest.mark.ssh, pytest.mark.skipif(bool(cannot()), reason=cannot() or "-")]


@pytest.fixture
def server(tmp_path):
    with Sshd(tmp_path / "sshd") as running:
        running.known_hosts.unlink()
        yield running


def space(root, *servers, more=""):
    nodes = "".join(
        f"  n{number}:\n    host: {s.host}\n    port: {s.port}\n    username: root\n    key_filename: {s.key}\n"
        f"    known_hosts: {servers[0].known_hosts}\n{more}"
        for number, s in enumerate(servers, 1)
    )
    (root / "config" / "scenarios").mkdir(parents=True, exist_ok=True)
    return write(root, {"config/nodes.yaml": f"nodes:\n{nodes}"})


def printed(server):
    import subprocess

    pub = server.host_key.with_suffix(".pub")
    text = subprocess.run(["ssh-keygen", "-lf", str(pub)], capture_output=True, text=True, check=True).stdout
    return text.split()[1]


def test_a_new_key_is_shown_and_kept_only_after_a_yes(tmp_path, server):
    root = space(tmp_path, server)
    seen = spawn("nodes", "--enroll", cwd=root)
    assert seen.code == 4
    assert printed(server) in seen.out
    assert "--accept" in seen.err
    assert not server.known_hosts.exists()

    kept = call("nodes", "--enroll", "--accept", cwd=root)
    assert kept.code == 0, kept.err
    assert server.host_key.with_suffix(".pub").read_text().split()[1] in server.known_hosts.read_text()
    assert call("nodes", "--check", "--json", cwd=root).json[0]["reachable"] == "yes"


def test_json_says_what_was_seen_and_keeps_nothing_by_itself(tmp_path, server):
    root = space(tmp_path, server)
    done = call("nodes", "--enroll", "--json", cwd=root)
    assert [(r["node"], r["state"], r["fingerprint"]) for r in done.json] == [("n1", "new", printed(server))]
    assert not server.known_hosts.exists()
    assert call("nodes", "--enroll", "--json", "--accept", cwd=root).json[0]["state"] == "kept"
    again = call("nodes", "--enroll", "--json", cwd=root)
    assert (again.code, again.json[0]["state"]) == (0, "known")


def test_a_changed_key_is_refused_and_explained(tmp_path, server):
    root = space(tmp_path, server)
    other = make_key(tmp_path / "other").with_suffix(".pub").read_text().split()[1]
    server.known_hosts.write_text(f"[{server.host}]:{server.port} ssh-ed25519 {other}\n")
    done = call("nodes", "--enroll", "--accept", cwd=root)
    assert done.code == 4
    assert "changed" in done.out
    assert "ssh-keygen -R" in done.err
    assert other in server.known_hosts.read_text()
    assert server.host_key.with_suffix(".pub").read_text().split()[1] not in server.known_hosts.read_text()


def test_a_node_that_does_not_answer_hides_no_other(tmp_path, server):
    gone = Sshd(tmp_path / "gone")
    root = space(tmp_path, server, gone)
    done = call("nodes", "--enroll", "--accept", "--json", cwd=root)
    assert done.code == 4
    assert {r["node"]: r["state"] for r in done.json} == {"n1": "kept", "n2": "unreachable"}


def test_a_jump_host_comes_first(tmp_path, server):
    with Sshd(tmp_path / "behind") as behind:
        behind.authorized.write_text(server.authorized.read_text())
        root = space(tmp_path, server, behind)
        jump = f"    proxy_jump: root@{server.host}:{server.port}\n    key_filename: {server.key}\n"
        text = (root / "config/nodes.yaml").read_text().replace(f"    key_filename: {behind.key}\n", jump)
        (root / "config/nodes.yaml").write_text(text.replace("  n1:\n", "  n1:\n    enabled: false\n"))
        first = call("nodes", "--enroll", "--accept", "--json", cwd=root).json
        assert [r["host"] for r in first] == [f"[{server.host}]:{server.port}"]
        second = call("nodes", "--enroll", "--accept", "--json", cwd=root).json
        assert [(r["host"], r["state"]) for r in second] == [
            (f"[{server.host}]:{server.port}", "known"),
            (f"[{behind.host}]:{behind.port}", "kept"),
        ]
