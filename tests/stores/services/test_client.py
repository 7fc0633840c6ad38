"""Asking servers that fail: retries, waits, credentials, the cache, and what is said."""

from __future__ import annotations

import gzip
import sys
import time

import pytest

from attachtrans.errors import ArgumentError, ImageError, SourceError
from attachtrans.stores.services import open_service
from attachtrans.stores.services.base import Access
from attachtrans.stores.services.client import MOST_BYTES, Client
from tests.stores.services.loopback import Reply


def text(answer):
    return answer.status, answer.data.decode()


@pytest.fixture
def ask(serve):
    """Starts a server that answers with replies in turn, the last one for ever."""
    opened = []

    def start(*replies, access=None, path="/tile"):
        queue = list(replies)
        server = serve(lambda request: queue.pop(0) if len(queue) > 1 else queue[0])
        client = Client(access or Access(rate=None, retries=3, timeout_s=0.6), (server.url,))
        opened.append(client)
        return server, client, f"{server.url}{path}"

    yield start
    for client in opened:
        client.close()


@pytest.mark.parametrize(
    "fault",
    [
        Reply(b"busy", status=500),
        Reply(b"busy", status=503),
        Reply(b"slow down", status=429),
        Reply(b"cut", cut=100),
        Reply(b"late", delay_s=1.0),
    ],
    ids=["500", "503", "429", "truncated", "slow"],
)
def test_what_may_pass_is_asked_again(ask, fault):
    server, client, url = ask(fault, fault, Reply(b"fine"))
    assert client.get(url, text) == (200, "fine")
    assert len(server.requests) == 3


def test_an_end_of_tries_names_the_address_the_reason_and_the_way_out(ask):
    server, client, url = ask(Reply(b"", status=502), path="/tile?token=geheim")
    with pytest.raises(SourceError, match=r"tile\?token=\*\*\*: .*502.*Asked 4 times.*--rate"):
        client.get(url, text)
    assert len(server.requests) == 4


def test_no_server_is_said_after_the_tries(ask):
    client = Client(Access(rate=None, retries=1), ())
    with pytest.raises(SourceError, match=r"http://127\.0\.0\.1:9/x: no answer .*Asked 2 times"):
        client.get("http://127.0.0.1:9/x", text)
    client.close()


@pytest.mark.parametrize("status", [400, 401, 403, 418])
def test_what_will_not_pass_is_asked_once(ask, status):
    server, client, url = ask(Reply(b"no", status=status))
    with pytest.raises(SourceError, match=rf"answers {status}") as caught:
        client.get(url, text)
    assert len(server.requests) == 1
    assert ("ATTACHTRANS_HEADER" in str(caught.value)) == (status in (401, 403))


@pytest.mark.parametrize(("status", "means"), [(204, 204), (404, 404), (410, 404)])
def test_nothing_there_is_an_answer(ask, status, means):
    _, client, url = ask(Reply(b"", status=status))
    assert client.get(url, text) == (means, "")


def test_retry_after_is_honoured_by_all_threads(ask):
    server, client, url = ask(Reply(status=429, headers={"Retry-After": "1"}), Reply(b"fine"))
    client.get(url, text)
    assert server.times[1] - server.times[0] >= 0.95
    begun = time.monotonic()
    client._pace.hold(0.2)
    client.get(url, text)
    assert time.monotonic() - begun >= 0.2


def test_a_retry_after_that_is_no_time_is_ignored(ask):
    _, client, url = ask(Reply(status=503, headers={"Retry-After": "soon"}), Reply(b"fine"))
    assert client.get(url, text) == (200, "fine")


def test_requests_keep_to_the_rate(ask):
    server, client, url = ask(Reply(b"x"), access=Access(rate=20.0))
    for _ in range(5):
        client.get(url, text)
    gaps = [later - sooner for sooner, later in zip(server.times, server.times[1:], strict=False)]
    assert sum(gaps) >= 4 * 0.05 * 0.9


CREDENTIALS = {"Authorization": "Bearer geheim", "X-Api-Key": "auch"}


def test_credentials_go_to_the_services_own_host_only(serve, ask):
    stranger = serve(lambda request: Reply(b"strange"))
    server, client, url = ask(
        Reply(status=302, headers={"Location": f"{stranger.url}/elsewhere"}),
        access=Access(rate=None, headers=CREDENTIALS),
    )
    assert client.get(url, text) == (200, "strange")
    assert server.requests[0].headers["Authorization"] == "Bearer geheim"
    assert not {"Authorization", "X-Api-Key"} & set(stranger.requests[0].headers)
    client.get(f"{stranger.url}/direct", text)
    assert not {"Authorization", "X-Api-Key"} & set(stranger.requests[1].headers)


def test_credentials_stay_on_a_redirect_within_the_host(ask):
    server, client, url = ask(
        Reply(status=302, headers={"Location": "/there"}),
        Reply(b"fine"),
        access=Access(rate=None, headers=CREDENTIALS),
    )
    assert client.get(url, text) == (200, "fine")
    assert server.requests[1].path == "/there"
    assert server.requests[1].headers["X-Api-Key"] == "auch"


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://x/"])
def test_redirects_lead_to_web_servers_only(ask, target):
    _, client, url = ask(Reply(status=302, headers={"Location": target}))
    with pytest.raises(SourceError, match=r"127\.0\.0\.1"):
        client.get(url, text)


def test_redirects_in_a_circle_end(ask):
    _, client, url = ask(Reply(status=302, headers={"Location": "/tile"}))
    with pytest.raises(SourceError, match="redirects more than 5 times"):
        client.get(url, text)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://host/x", "/etc/passwd"])
def test_only_http_is_asked(url):
    client = Client(Access(), ())
    with pytest.raises(ArgumentError, match="http or https only"):
        client.get(url, text)
    client.close()


def test_compressed_answers_are_unpacked_and_bombs_refused(ask, monkeypatch):
    zipped = {"Content-Encoding": "gzip"}
    _, client, url = ask(Reply(gzip.compress(b"fine"), headers=zipped))
    assert client.get(url, text) == (200, "fine")
    monkeypatch.setattr("attachtrans.stores.services.client.MOST_BYTES", 1024**2)
    _, client, url = ask(Reply(gzip.compress(bytes(8 * 1024**2)), headers=zipped))
    with pytest.raises(SourceError, match="larger than 1 MiB"):
        client.get(url, text)
    assert MOST_BYTES == 256 * 1024**2


def test_answers_come_from_the_cache_and_secrets_are_not_in_it(ask, tmp_path):
    access = Access(rate=None, token="geheim", headers=CREDENTIALS, cache=tmp_path)
    server, client, url = ask(Reply(b"one"), Reply(b"two"), access=access)
    url = f"{url}?x=1&token=geheim&key=abc"
    assert client.get(url, text) == client.get(url, text) == (200, "one")
    assert client.get(url.replace("x=1", "x=2"), text) == (200, "two")
    assert len(server.requests) == 2
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"geheim" not in kept
    assert b"abc" not in kept
    renewed = Client(access.with_(token="neu"), (server.url,))
    assert renewed.get(url.replace("geheim", "neu"), text) == (200, "one")
    anonymous = Client(Access(rate=None, cache=tmp_path), (server.url,))
    assert anonymous.get(url.replace("geheim", ""), text) == (200, "two")
    renewed.close()
    anonymous.close()


def test_an_answer_that_cannot_be_read_is_not_kept(ask, tmp_path):
    def picky(answer):
        if answer.data == b"bad":
            raise ImageError("the picture is cut off")
        return answer.data

    access = Access(rate=None, retries=2, cache=tmp_path)
    server, client, url = ask(Reply(b"bad"), Reply(b"good"), access=access)
    assert client.get(url, picky) == b"good"
    assert client.get(url, picky) == b"good"
    assert len(server.requests) == 2


def test_documents_are_asked_for_anew(ask, tmp_path):
    server, client, url = ask(Reply(b"x"), access=Access(rate=None, cache=tmp_path))
    for _ in range(2):
        client.get(url, text, keep=False)
    assert len(server.requests) == 2


def test_a_proxy_of_the_environment_is_used(serve, monkeypatch):
    proxy = serve(lambda request: Reply(b"by proxy"))
    monkeypatch.delenv("NO_PROXY")
    monkeypatch.delenv("no_proxy")
    monkeypatch.setenv("http_proxy", proxy.url)
    client = Client(Access(rate=None, retries=0), ())
    assert client.get("http://nowhere.invalid/tile", text) == (200, "by proxy")
    client.close()


@pytest.mark.parametrize("library", ["urllib3", "owslib.wms"])
def test_a_missing_library_names_the_extra(serve, monkeypatch, library, fast, whole):
    server = serve(lambda request: Reply(b"<WMS_Capabilities/>"))
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ArgumentError, match=r"pip install 'attachtrans\[services\]'"):
        open_service(f"{server.url}/?SERVICE=WMS", whole, fast)
