"""`serve`: what it shows, to whom, and what it keeps to itself."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import threading

import pytest
from playbook_plugins.serve import files
from playbook_plugins.serve.access import Access, is_loopback
from playbook_plugins.serve.server import CONNECTIONS, Server
from playbook_plugins.serve.site import Site
from playbook_plugins.serve.state import Runs

from tests.cli.calls import call, workspace
from tests.plugins.reporters.browser import browser

__all__ = ["browser"]
TOKEN = "a-token-that-nobody-guesses"
HOST = {"Host": "localhost:8888"}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    bad = "config/scenarios/001_bad/run_test.sh"
    settings = "inter_scenario: {wait_between_scenarios: 0, retry_count: 0, continue_on_failure: on}\n"
    root = workspace(
        tmp_path_factory.mktemp("served"), "001_bad", "002_good",
        files={bad: "echo '<b>going</b> wrong'\nexit 9\n", "config/scenarios.yaml": settings},
    )  # fmt: skip
    assert call("run", "--all", cwd=root).code == 1
    (root / "results/.hidden").mkdir()
    (root / "secret.txt").write_text("not to be seen")
    return root / "results"


@pytest.fixture(scope="module")
def run(results):
    return next(p for p in results.iterdir() if p.name[0] != ".")


@pytest.fixture(scope="module")
def site(results):
    return Site(Runs(results), Access())


def ask(site, path, method="GET", body=b"", **headers):
    return site.answer(method, path, {**HOST, **headers}, body)


def text(answer):
    if not isinstance(answer.body, bytes):
        with answer.body as file:
            return file.read().decode()
    return answer.body.decode()


def test_the_list_and_the_run_say_how_it_went(site, run):
    assert run.name in text(ask(site, "/"))
    [line] = json.loads(text(ask(site, "/api/runs")))
    assert (line["status"], line["completed"], line["scenarios"]) == ("failed", 1, 2)
    state = json.loads(text(ask(site, f"/api/run/{run.name}")))
    assert [(s["name"], s["status"]) for s in state["scenarios"]] == [("001_bad", "failed"), ("002_good", "completed")]
    assert (state["status"], state["current"]) == ("failed", None)
    page = text(ask(site, f"/run/{run.name}/"))
    assert f"/run/{run.name}/files/report.html" in page
    alone = Site(Runs(run.parent, run.name), Access())
    assert ask(alone, "/").headers["Location"] == f"/run/{run.name}/"
    assert ask(alone, "/run/other/").status == 404


@pytest.mark.parametrize(
    "path",
    [
        "/run/../secret.txt", "/run/%2e%2e/secret.txt", "/run/..%2fsecret.txt", "/run/.hidden/", "/run//etc/passwd",
        "/etc/passwd",
        "/run/RUN/files/../../secret.txt", "/run/RUN/files/..%2f..%2fsecret.txt", "/run/RUN/files/%2e%2e/%2e%2e/secret.txt",
        "/run/RUN/files//etc/passwd", "/run/RUN/files/%2fetc%2fpasswd", "/run/RUN/files/out/passwd", "/run/RUN/files/passwd",
        "/run/RUN/files/lock", "/run/RUN/files/.reserve", "/run/RUN/files/a%00b", "/run/RUN/files/..%5c..%5csecret.txt",
        "/run/RUN/files/%252e%252e/secret.txt", "/run/RUN/files/pipe", "/assets/../site.py", "/assets/%2e%2e/site.py",
    ],
)  # fmt: skip
def test_nothing_outside_of_a_run_is_given_out(results, run, tmp_path, path):
    copy = tmp_path / "results" / run.name
    shutil.copytree(run, copy, symlinks=True)
    (tmp_path / "secret.txt").write_text("not to be seen")
    (copy / "out").symlink_to("/etc")
    (copy / "passwd").symlink_to("/etc/passwd")
    (copy / ".reserve").write_text("x")
    os.mkfifo(copy / "pipe")
    answer = ask(Site(Runs(tmp_path / "results"), Access()), path.replace("RUN", run.name))
    assert answer.status == 404
    assert b"seen" not in answer.body


def test_files_and_folders_of_a_run_are_shown_as_what_they_are(site, run):
    log = ask(site, f"/run/{run.name}/files/001_bad/logs/test_output.log")
    assert (log.type, text(log).strip(), log.policy) == (files.TEXT, "<b>going</b> wrong", files.ASLEEP)
    assert ask(site, f"/run/{run.name}/files/001_bad").headers["Location"].endswith("/001_bad/")
    assert "test_output.log" in text(ask(site, f"/run/{run.name}/files/001_bad/logs/"))
    assert ask(site, f"/run/{run.name}/files/001_bad/trial.json/").status == 404


def test_a_page_that_a_run_brought_home_can_do_nothing(results, run, tmp_path):
    copy = tmp_path / run.name
    shutil.copytree(run, copy, symlinks=True)
    (copy / "evil.html").write_text("<script>fetch('/api/runs')</script>")
    own = '<meta http-equiv="Content-Security-Policy" content="default-src &#39;none&#39;; script-src &#39;unsafe-inline&#39;">'
    (copy / "evil2.html").write_text(f'<meta charset="utf-8">{own}<script>1</script>')
    (copy / "tool.exe").write_text("x")
    site = Site(Runs(tmp_path), Access())
    for name in ("evil.html", "evil2.html"):
        answer = ask(site, f"/run/{run.name}/files/{name}")
        answer.body.close()
        assert answer.policy == files.ASLEEP
    report = ask(site, f"/run/{run.name}/files/report.html")
    report.body.close()
    assert report.policy.startswith("sandbox allow-scripts allow-downloads; default-src 'none'; style-src 'sha256-")
    tool = ask(site, f"/run/{run.name}/files/tool.exe")
    tool.body.close()
    assert tool.headers["Content-Disposition"] == "attachment"


def test_it_can_only_be_read(site):
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
        assert ask(site, "/", method).status == 405


@pytest.mark.parametrize(
    "host, known",
    [
        ("localhost:8888", True), ("127.0.0.1:9", True), ("[::1]:8888", True), ("", False), ("evil.example", False),
        ("127.0.0.1.evil.example", False), ("192.0.2.1:8888", False), ("bench.example", True), ("localhost.evil.example", False),
    ],
)  # fmt: skip
def test_a_name_that_was_made_to_lead_here_is_turned_away(results, host, known):
    site = Site(Runs(results), Access(names=frozenset({"bench.example"})))
    assert (site.answer("GET", "/", {"Host": host}).status == 200) is known


def test_the_token_opens_and_nothing_else_does(results, run):
    site = Site(Runs(results), Access(TOKEN))
    assert ask(site, "/").status == 401
    assert run.name not in text(ask(site, "/"))
    for path in ("/api/runs", f"/api/run/{run.name}", f"/run/{run.name}/files/report.html", f"/part/run/{run.name}"):
        assert ask(site, path).status == 401
        assert ask(site, path, Authorization=f"Bearer {TOKEN}x").status == 401
        assert ask(site, path, Cookie=f"playbook_session={TOKEN}").status == 401
        assert ask(site, f"{path}?token={TOKEN}").status == 401
        found = ask(site, path, Authorization=f"Bearer {TOKEN}")
        assert found.status == 200
        text(found)
    assert ask(site, "/login", "POST", b"token=wrong").status == 401
    entered = ask(site, "/login", "POST", f"token={TOKEN}".encode())
    cookie = entered.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert TOKEN not in cookie
    assert ask(site, "/api/runs", Cookie=cookie.partition(";")[0]).status == 200
    # addresses are no names, and behind a token any is fine
    assert site.answer("GET", "/", {"Host": "192.0.2.1"}).status == 401
    assert TOKEN not in repr(site)


def test_what_is_loopback():
    assert is_loopback("127.0.0.1")
    assert is_loopback("::1")
    assert not is_loopback("0.0.0.0")
    assert not is_loopback("::")


# -- with sockets ---------------------------------------------------------------------------------------------------


@pytest.fixture
def server(site):
    with Server("127.0.0.1", 0, site) as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def get(port, path, **headers):
    asked = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    with contextlib.closing(asked):
        asked.request("GET", path, headers=headers)
        answer = asked.getresponse()
        return answer, answer.read()


def test_every_answer_carries_the_rules(server, run):
    port = server.server_address[1]
    for path in ("/", f"/run/{run.name}/", "/nothing", f"/run/{run.name}/files/report.md", "/assets/serve.js"):
        answer, _ = get(port, path)
        assert "default-src 'none'" in answer.getheader("Content-Security-Policy")
        assert answer.getheader("X-Content-Type-Options") == "nosniff"
        assert answer.getheader("Referrer-Policy") == "no-referrer"
        assert "Python" not in answer.getheader("Server")
    answer, body = get(port, f"/run/{run.name}/files/report.html")
    assert body == (run / "report.html").read_bytes()


def test_silent_clients_cannot_take_every_place(server):
    port = server.server_address[1]
    with contextlib.ExitStack() as stack:
        for _ in range(CONNECTIONS):
            silent = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))
            silent.sendall(b"GET / HT")
        late = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))
        assert b" 503 " in late.recv(1000)
    # those that went away have given their places back
    while True:
        with contextlib.suppress(OSError, http.client.HTTPException):
            if get(port, "/assets/serve.js")[0].status == 200:
                break


def test_a_slow_client_is_given_up(site, monkeypatch):
    monkeypatch.setattr("playbook_plugins.serve.server.HEADERS_SECONDS", 0.3)
    with Server("127.0.0.1", 0, site) as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        with socket.create_connection(made.server_address[:2], timeout=30) as slow:
            slow.sendall(b"GET / HTTP/1.0\r\nHost: localhost\r\n")
            assert slow.recv(1000) in (b"", slow.recv(1) or b"")
        made.shutdown()
        thread.join()


@contextlib.contextmanager
def served(root, *words):
    process = subprocess.Popen(
        [sys.executable, "-m", "playbook_kernel", *words],
        cwd=root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.terminate()
        process.communicate()


def test_elsewhere_it_makes_a_token_and_shows_it_once(results):
    with served(results.parent, "serve", "--host", "0.0.0.0", "--port", "0") as (process, address):
        said = process.stderr.readline()
        token = said.removeprefix("token: ").strip()
        assert len(token) >= 40
        port = int(address.rstrip("/").rpartition(":")[2])
        assert get(port, "/api/runs")[0].status == 401
        assert get(port, "/api/runs", Authorization=f"Bearer {token}")[0].status == 200
    log = results.parent / "logs"
    assert not any(token in p.read_text() for p in log.rglob("*") if p.is_file())


def test_webui_is_the_same_under_its_earlier_name(results):
    with served(results.parent, "webui", "-p", "0", "-h", "127.0.0.1") as (_, address):
        assert get(int(address.rstrip("/").rpartition(":")[2]), "/api/runs")[0].status == 200


def test_what_cannot_be_served_is_said(tmp_path, results):
    (tmp_path / "short").write_text("1234")
    done = call("serve", "--token-file", "short", cwd=tmp_path)
    assert (done.code, "shorter than" in done.err) == (2, True)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = call("serve", "--port", taken.getsockname()[1], cwd=tmp_path)
    assert (done.code, "cannot listen there" in done.err) == (2, True)
    assert call("serve", "nothing", cwd=tmp_path).code == 2
    for words in (["serve", "-r", "nowhere"], ["-r", "nowhere", "serve"]):
        done = call(*words, cwd=tmp_path)
        assert (done.code, "nowhere: there is no such folder" in done.err) == (2, True)
    assert "short: is not a folder" in call("serve", "-r", "short", cwd=tmp_path).err


def test_results_that_are_not_there_yet_are_waited_for(tmp_path):
    with served(tmp_path, "serve", "-p", "0") as (process, address):
        assert "results does not exist yet" in process.stderr.readline()
        assert get(int(address.rstrip("/").rpartition(":")[2]), "/api/runs")[0].status == 200


# -- in a browser -----------------------------------------------------------------------------------------------------


@pytest.fixture
def growing(run, tmp_path):
    """A results folder with a run that has written half of its journal; call it to write the rest."""
    copy = tmp_path / "results" / run.name
    shutil.copytree(run, copy, symlinks=True)
    raw = (run / "journal.jsonl").read_bytes()
    lines = raw.splitlines(keepends=True)
    at = next(n for n, line in enumerate(lines) if b'"phase":"benchmark"' in line and b"002_good" in line) + 1
    (copy / "journal.jsonl").write_bytes(b"".join(lines[:at]))
    kept = json.loads((copy / "campaign.json").read_text())
    final = json.dumps(kept)
    kept.update(status="running", scenarios=kept["scenarios"][:1])
    (copy / "campaign.json").write_text(json.dumps(kept))

    def rest():
        (copy / "campaign.json").write_text(final)
        (copy / "journal.jsonl").write_bytes(raw)

    return tmp_path / "results", rest


def test_the_page_goes_on_with_the_run(browser, growing):
    folder, rest = growing
    site = Site(Runs(folder), Access())
    with Server("127.0.0.1", 0, site) as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        try:
            name = site.runs.names()[0]
            page = browser.open(f"http://127.0.0.1:{made.server_address[1]}/run/{name}/")
            assert page.run("document.querySelector('.phase.running').textContent").strip().startswith("▸ benchmark")
            assert page.run("getComputedStyle(document.querySelector('.phases')).display") == "flex"
            rest()
            ended = (
                "new Promise(done => { const look = () => document.querySelector('main .badge').textContent.includes('failed')"
                " ? done(true) : setTimeout(look, 50); look(); })"
            )
            assert page.run(ended)
            assert page.run("document.querySelector('.phases')") is None
            page.run("document.querySelector('main a[href$=\"report.html\"]').focus()")
            page.press("Enter", 13, "\r")
            browser.wait_for("Page.loadEventFired")
            assert page.run("document.querySelectorAll('th button').length") > 5
            assert page.run(
                "document.querySelector('th button').click(), document.querySelector('th[aria-sort]') !== null"
            )
            assert page.run("self.origin") == "null"
            assert page.complaints() == []
            assert {a.split("/")[2] for a in page.requested()} == {f"127.0.0.1:{made.server_address[1]}"}
        finally:
            made.shutdown()
            thread.join()


def test_the_door_opens_with_the_token(browser, results):
    with Server("127.0.0.1", 0, Site(Runs(results), Access(TOKEN))) as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        try:
            page = browser.open(f"http://127.0.0.1:{made.server_address[1]}/")
            page.run(
                f"document.querySelector('input').value = '{TOKEN}', document.querySelector('button[type=submit]').click()"
            )
            browser.wait_for("Page.loadEventFired")
            assert page.run("document.querySelectorAll('tbody tr').length") == 1
            assert page.run("document.cookie") == ""
            assert TOKEN not in page.run("location.href")
        finally:
            made.shutdown()
            thread.join()
