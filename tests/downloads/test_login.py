"""The access token: asked for with patience, and sent to no host but the portal's."""

import importlib.util
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests
from portal_server import SECRET_TOKEN_PART, Portal, Stored

from midrc_ml.downloads.credentials import find_api_key
from midrc_ml.downloads.failures import Patience, TemporaryError, UnobtainableError
from midrc_ml.downloads.login import Login
from midrc_ml.downloads.objects import RemoteObject
from midrc_ml.downloads.portal import Portal as Client
from midrc_ml.errors import InputError

A = "dg.MD1R/aaaa"
with_gen3 = pytest.mark.skipif(
    importlib.util.find_spec("gen3") is None, reason="the gen3 package is not installed: pip install 'midrc_ml[gen3]'"
)


class _Stranger(BaseHTTPRequestHandler):
    """Another host, which keeps the headers and the body of whatever it is asked."""

    heard: list[str]

    def log_message(self, format: str, *arguments: Any) -> None:
        pass

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.heard.append(f"{self.headers} {body!r}")
        self.send_response(401)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_POST = do_GET


@pytest.fixture
def stranger() -> Iterator[tuple[str, list[str]]]:
    heard: list[str] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Stranger,), {"heard": heard}))
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/elsewhere", heard
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def filled(portal: Portal, home: Path) -> None:
    portal.objects = {A: Stored(content=b"a", name="x.zip")}


def client(portal: Portal, timeout_s: float = 2.0, retries: int = 2) -> Client:
    patience = Patience(retries=retries, first_wait_s=0.01)
    return Client(portal.url, find_api_key(None), timeout_s=timeout_s, patience=patience)


def login(portal: Portal, timeout_s: float = 2.0) -> Login:
    return Login(portal.url, find_api_key(None), timeout_s=timeout_s)


@with_gen3
@pytest.mark.parametrize("status", [301, 307])
@pytest.mark.parametrize("kind", ["token", "url", "index", "query", "export"])
def test_neither_key_nor_token_follows_a_redirect_to_another_host(
    kind: str, status: int, portal: Portal, stranger: tuple[str, list[str]]
) -> None:
    address, heard = stranger
    portal.fail(kind, {"url": A, "export": "Open-A1_case"}.get(kind, ""), [(status, {"Location": address})] * 9)
    asking = client(portal)
    calls = {
        "token": asking.sign_in,
        "url": lambda: asking.url_of(A),
        "index": lambda: asking.described([RemoteObject(object_id=A)]),
        "query": lambda: asking.find_files({"AND": [{"IN": {"a": ["b"]}}]}),
        "export": lambda: asking.export_node("Open-A1", "case"),
    }
    with pytest.raises((InputError, UnobtainableError), match=rf"leads to another address .HTTP {status}."):
        calls[kind]()
    assert heard == []


def test_a_request_to_another_host_is_not_signed(portal: Portal, stranger: tuple[str, list[str]]) -> None:
    address, heard = stranger
    signing = login(portal)
    signing.ready()
    with pytest.raises(UnobtainableError, match=r"leads to another address, which the key is not for"):
        requests.get(address, auth=signing, timeout=2.0)
    assert heard == []


def test_a_refused_request_is_not_sent_a_second_time_by_the_login(portal: Portal) -> None:
    signing = login(portal)
    signing.ready()
    portal.tokens.clear()
    with pytest.raises(requests.HTTPError):
        requests.get(f"{portal.url}/user/data/download/{A}", auth=signing, timeout=2.0)
    assert len(portal.of("url")) == 1


@with_gen3
def test_a_token_that_is_not_answered_is_asked_for_again(portal: Portal) -> None:
    class SilentOnce:
        def __init__(self) -> None:
            self.silences = [1.0]

        def __iter__(self) -> "SilentOnce":
            return self

        def __next__(self) -> None:
            if self.silences:
                time.sleep(self.silences.pop())

    portal.faults["token", ""] = SilentOnce()
    start = time.monotonic()
    client(portal, timeout_s=0.3).sign_in()
    assert 0.3 <= time.monotonic() - start < 0.9
    assert len(portal.of("token")) == 2


@pytest.mark.parametrize(
    "answer", ["<html>maintenance</html>", "{}", "[]", '{"access_token": 3}', '{"access_token": "a\\nb"}']
)
def test_an_answer_without_a_token_may_be_another_one_the_next_time(answer: str, portal: Portal) -> None:
    portal.fail("token", "", [answer])
    signing = login(portal)
    with pytest.raises(TemporaryError, match=r"^the portal gave no access token$"):
        signing.ready()
    signing.ready()


def test_a_token_is_kept_for_most_of_its_life(portal: Portal, monkeypatch: pytest.MonkeyPatch) -> None:
    signing = login(portal)
    now = time.monotonic()
    monkeypatch.setattr("midrc_ml.downloads.login.time.monotonic", lambda: now)
    signing.ready()
    now += 0.7 * 1200  # the tokens of this portal live 20 minutes
    signing.ready()
    assert len(portal.of("token")) == 1
    now += 0.1 * 1200
    signing.ready()
    assert len(portal.of("token")) == 2


@with_gen3
def test_a_home_that_cannot_be_written_does_not_matter(
    portal: Portal, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GEN3_API_KEY", portal.api_key)
    (home / "file").write_text("")
    monkeypatch.setenv("HOME", str(home / "file"))
    asking = client(portal)
    asking.sign_in()
    assert asking.url_of(A).startswith(portal.url)


@with_gen3
def test_a_token_is_not_written_anywhere(portal: Portal, home: Path) -> None:
    client(portal).sign_in()
    assert SECRET_TOKEN_PART in next(iter(portal.tokens))
    files = [path for path in home.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if SECRET_TOKEN_PART in path.read_text("latin-1")]


@with_gen3
def test_a_query_that_is_slow_leaves_the_output_alone(portal: Portal, capsys: pytest.CaptureFixture[str]) -> None:
    def slow() -> Iterator[None]:
        time.sleep(0.8)
        yield None

    portal.faults["query", ""] = slow()
    asking = client(portal, retries=0)
    asking.sign_in()
    asking._timeout_s = 0.01  # a query may take thirty times as long
    with pytest.raises(InputError, match=r"refuses the query"):
        asking.find_files({"AND": [{"IN": {"a": ["b"]}}]})
    print("still heard")
    assert capsys.readouterr().out == "still heard\n"
