"""Who is answered: hosts, origins, tokens, cookies and sessions, asked as a browser and as an attacker would ask."""

import json
import re
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.client import HTTPConnection, HTTPResponse
from types import SimpleNamespace

import pytest
from bokeh.server.views.doc_handler import DocHandler
from bokeh.server.views.ws import WSHandler
from bokeh.util.token import generate_jwt_token, generate_session_id
from tornado.websocket import WebSocketClosedError

from dashboard import gate
from dashboard.access import N_FREE, Access, Patience, cookie_name, install_secret
from dashboard.doors import open_doors
from engine.errors import SettingsError
from tests.browsers import cookie_of, served

UPGRADE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "x3JJHMbDL1EzLkh9GBhXDw==",
}
MOST_SESSIONS = 6


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator:
    """A server of a store without runs, whose page is made in no time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dashboard.server._LOOK_EVERY_MS", 50)
        with served(tmp_path_factory.mktemp("store"), most_sessions=MOST_SESSIONS) as server:
            yield server


@pytest.fixture
def ask(server) -> Iterator:
    """Ask for something; connections stay open to the end of the test, and no session outlives it."""
    opened = []

    def asked(path: str = "/", method: str = "GET", **headers: str) -> tuple[HTTPResponse, str]:
        connection = HTTPConnection("127.0.0.1", server.port, timeout=30)
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        opened.extend((answer, connection))
        return answer, "" if answer.status == 101 else answer.read().decode()

    yield asked
    for connection in opened:
        connection.close()
    end = time.monotonic() + 20
    while (left := server.get_sessions()) and time.monotonic() < end:
        for session in left:
            session.request_expiration()
        time.sleep(0.02)
    assert server.get_sessions() == []


@pytest.fixture
def cookie(server) -> str:
    return cookie_of(server)


def token_of(page: str) -> str:
    """Return what a page gives its websocket."""
    found = re.search(r'"token":"([^"]+)"', page)
    assert found is not None
    return found.group(1)


def websocket(ask, token: str, **headers: str) -> int:
    return ask("/ws", Sec_WebSocket_Protocol=f"bokeh, {token}", **UPGRADE, **headers)[0].status


@pytest.mark.parametrize(
    ("origin", "is_ours"),
    [
        ("http://127.0.0.1:{port}", True),
        ("HTTP://127.0.0.1:{port}", True),
        ("https://127.0.0.1:{port}", False),
        ("http://127.0.0.1", False),
        ("http://127.0.0.1:1{port}", False),
        ("http://localhost:{port}", False),
        ("http://evil.example:{port}", False),
        ("http://127.0.0.1.evil.example:{port}", False),
        ("http://127.0.0.1:{port}@evil.example", False),
        ("http://evil.example/127.0.0.1:{port}", False),
        ("null", False),
        ("*", False),
    ],
)
def test_a_websocket_and_a_page_are_given_to_our_own_origin_only(server, ask, cookie, origin, is_ours):
    origin = origin.format(port=server.port)
    token = token_of(ask(Cookie=cookie)[1])
    assert websocket(ask, token, Cookie=cookie, Origin=origin) == (101 if is_ours else 403)
    answer, page = ask("/metadata", Cookie=cookie, Origin=origin)
    assert answer.status == (200 if is_ours else 403)
    assert is_ours or "Only the page of this server itself may ask it." in page


@pytest.mark.parametrize(
    ("host", "is_ours"),
    [
        ("127.0.0.1:{port}", True),
        ("localhost:{port}", True),
        ("localhost:8080", True),
        ("evil.example:{port}", False),
        ("evil.example", False),
        ("127.0.0.1.evil.example:{port}", False),
    ],
)
def test_only_names_of_this_machine_are_answered_whatever_the_origin_says(server, ask, host, is_ours):
    """A page of another name whose address was turned to this machine has equal host and origin."""
    host = host.format(port=server.port)
    answer, page = ask(f"/?token={server.access.token}", Host=host, Origin=f"http://{host}")
    assert answer.status == (303 if is_ours else 403)
    if not is_ours:
        assert "This server is not reached under this name." in page
        return
    cookie = answer.headers["Set-Cookie"].partition(";")[0]
    token = token_of(ask(Cookie=cookie, Host=host)[1])
    assert websocket(ask, token, Cookie=cookie, Host=host, Origin=f"http://{host}") == 101


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/ws",
        "/autoload.js?bokeh-autoload-element=x",
        "/metadata",
        "/static/js/bokeh.min.js",
        "/img/00000000/a.jpg",
    ],
)
def test_nothing_is_answered_without_the_cookie(ask, cookie, path):
    answer, page = ask(path)
    assert answer.status == 403
    assert "unitscope serve</code> printed when it was started" in page
    assert "<script" not in page
    assert ask(path, Cookie="unitscope-1=made-up")[0].status == 403
    assert path in ("/ws", "/img/00000000/a.jpg") or ask(path, Cookie=cookie)[0].status == 200


def test_the_token_is_exchanged_for_a_cookie_and_leaves_the_address(server, ask):
    answer, _ = ask(f"/?page=site&token={server.access.token}&site=%C3%A9%261")
    assert (answer.status, answer.headers["Location"]) == (303, "/?page=site&site=%C3%A9%261")
    cookie, *attributes = answer.headers["Set-Cookie"].split("; ")
    assert cookie.startswith(f"unitscope-{server.port}=")
    assert attributes == ["Path=/", "HttpOnly", "SameSite=Strict"]
    assert server.access.token not in str(answer.headers)
    page = ask("/?page=site", Cookie=cookie)[1]
    assert server.access.token not in page
    assert cookie.partition("=")[2] not in page


def test_an_exchange_leads_nowhere_else(server, ask):
    for path in ("//evil.example/", "/%2F%2Fevil.example", "/x/..//evil.example"):
        answer, _ = ask(f"{path}?token={server.access.token}")
        assert (answer.status, answer.headers["Location"]) == (303, "/")


def test_a_browser_that_was_let_in_keeps_its_cookie(server, ask, cookie):
    answer, _ = ask(f"/?token={server.access.token}", Cookie=cookie)
    assert answer.status == 303
    assert "Set-Cookie" not in answer.headers


def test_a_cookie_of_an_earlier_start_says_so(server, ask):
    earlier = Access(secret=server.access.secret)
    name = cookie_name(f"127.0.0.1:{server.port}")
    answer, page = ask(Cookie=f"{name}={earlier.new_cookie(name)}")
    assert answer.status == 403
    assert "The server has been started anew since this browser was let in." in page
    assert ask(Cookie=f"{name}={Access(secret=secrets.token_bytes(32)).new_cookie(name)}")[0].status == 403
    assert cookie_name("localhost:5006") != cookie_name("localhost:5007")


def test_a_link_from_elsewhere_is_opened_again_by_the_page_itself(ask, cookie):
    """The browser keeps a strict cookie back when another site leads here; from our own page it sends it."""
    elsewhere = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"}
    answer, page = ask("/?page=site", **elsewhere)
    assert answer.status == 403
    assert '<meta http-equiv="refresh" content="0">' in page
    assert "refresh" not in ask("/?page=site")[1]
    assert ask("/?page=site", Cookie=cookie, **elsewhere)[0].status == 200


def test_wrong_tokens_make_whoever_tries_wait(server, ask, monkeypatch):
    monkeypatch.setattr(server.access, "patience", Patience())
    for _ in range(N_FREE):
        answer, page = ask("/?token=wrong&page=site")
        assert answer.status == 403
        assert "That is not the token of this start." in page
        assert '<input type="hidden" name="page" value="site">' in page
    answer, page = ask(f"/?token={server.access.token}")
    assert answer.status == 429
    assert re.search(r"There were too many wrong tokens. Try again in \d s.", page)
    assert answer.headers["Retry-After"] == "1"
    time.sleep(1.1)
    assert ask(f"/?token={server.access.token}")[0].status == 303


def test_the_wait_doubles_up_to_a_minute_for_each_address_alone():
    now = [0.0]
    patience, waits = Patience(lambda: now[0]), []
    for _ in range(15):
        patience.wrong("a")
        waits.append(patience.left_s("a"))
    assert waits == [0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60]
    assert patience.left_s("b") == 0
    patience.right("a")
    assert patience.left_s("a") == 0
    for k in range(3000):
        patience.wrong(str(k))
    assert len(patience._wrong) == 1000


def test_a_session_is_never_chosen_by_who_asks(server, ask, cookie):
    """Fixed: someone else's session under a link. Even an id that is signed is refused."""
    signed = generate_session_id(secret_key=server.access.secret, signed=True)
    token = generate_jwt_token(signed, secret_key=server.access.secret, signed=True, expiration=300)
    for query in (f"?bokeh-session-id={signed}", "?bokeh-session-id=attacker_fixed", f"?bokeh-token={token}"):
        for path in ("/", "/autoload.js"):
            answer, page = ask(path + query + "&bokeh-autoload-element=x", Cookie=cookie)
            assert answer.status == 403
            assert "The server itself chooses the name of a session." in page
    assert ask(Cookie=cookie, Bokeh_Session_Id=signed)[0].status == 403
    assert websocket(ask, token, Cookie=cookie) == 403
    assert server.get_sessions() == []


def test_a_forged_token_of_a_session_is_refused(server, ask, cookie):
    token = token_of(ask(Cookie=cookie)[1])
    (session,) = server.get_sessions()
    forged = [
        generate_jwt_token(session.id, signed=False, expiration=300),
        generate_jwt_token(session.id, secret_key=b"another", signed=True, expiration=300),
        token.partition(".")[0],
        token[:-1] + ("A" if token[-1] != "A" else "B"),
        "nonsense",
        "",
    ]
    assert [websocket(ask, one, Cookie=cookie) for one in forged] == [403] * len(forged)
    assert websocket(ask, token, Cookie=cookie) == 101


def test_a_token_of_a_session_opens_it_once_and_for_its_visitor_only(server, ask, cookie):
    """Replayed: without the cookie, with another visitor's, beside the page that is open."""
    token = token_of(ask(Cookie=cookie)[1])
    assert websocket(ask, token) == 403
    assert websocket(ask, token, Cookie=cookie_of(server)) == 403
    assert websocket(ask, token, Cookie=cookie) == 101
    assert websocket(ask, token, Cookie=cookie) == 403


def test_a_page_waits_for_a_slow_browser_and_not_for_one_that_left(server, ask, cookie, monkeypatch):
    monkeypatch.setattr(gate, "LEFT_AFTER_S", 0.2)
    slow, left = (token_of(ask(Cookie=cookie)[1]) for _ in range(2))
    connection = HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.request("GET", "/ws", headers={**UPGRADE, "Sec-WebSocket-Protocol": f"bokeh, {left}", "Cookie": cookie})
    assert connection.getresponse().status == 101
    connection.close()
    end = time.monotonic() + 20
    while len(server.get_sessions()) > 1 and time.monotonic() < end:
        time.sleep(0.05)
    assert len(server.get_sessions()) == 1
    assert websocket(ask, left, Cookie=cookie) == 403
    assert websocket(ask, slow, Cookie=cookie) == 101


def test_what_a_browser_sends_is_not_in_the_page(ask, cookie):
    """Bokeh writes headers and cookies of the request into the token, which a script of the page could read."""
    from bokeh.util.token import get_token_payload

    payload = get_token_payload(token_of(ask("/?page=site", Cookie=cookie, User_Agent="seen")[1]))
    assert (payload["headers"], payload["cookies"]) == ({}, {})
    assert payload["arguments"] == {"page": [b"site"]}


def test_every_answer_carries_our_headers(ask, cookie):
    autoload = "/autoload.js?bokeh-autoload-element=x"
    for path in ("/", autoload, "/static/js/bokeh.min.js", "/metadata", "/img/00000000/a.jpg", "/nothing"):
        for carried in ({"Cookie": cookie}, {}):
            headers = ask(path, **carried)[0].headers
            told = {name: headers[name] for name in ("X-Frame-Options", "X-Content-Type-Options", "Referrer-Policy")}
            assert told == {
                "X-Frame-Options": "DENY",
                "X-Content-Type-Options": "nosniff",
                "Referrer-Policy": "no-referrer",
            }
            assert "default-src 'none'" in headers["Content-Security-Policy"]
            assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
            assert not [name for name in headers if name.lower().startswith("access-control")]


def test_the_page_runs_scripts_of_its_own_only(server, ask, cookie):
    answer, page = ask(Cookie=cookie)
    policy = dict(part.split(" ", 1) for part in answer.headers["Content-Security-Policy"].split("; "))
    assert "'unsafe-inline'" not in policy["script-src"]
    assert policy["connect-src"] == f"'self' blob: ws://127.0.0.1:{server.port}"
    nonce = re.search("'nonce-([^']+)'", policy["script-src"]).group(1)
    held = re.search("<template.*</template>", page, re.DOTALL).group()  # run later, by one that has the nonce
    assert held.count("<script") > 4
    scripts = re.findall("<script[^>]*>", page.replace(held, ""))
    assert len(scripts) == 2
    assert all(f'nonce="{nonce}"' in script for script in scripts)
    assert nonce not in ask(Cookie=cookie)[1]


def test_a_page_too_many_is_refused_in_a_sentence(server, ask, cookie):
    pages = [ask(Cookie=cookie) for _ in range(MOST_SESSIONS + 1)]
    assert [answer.status for answer, _ in pages] == [200] * MOST_SESSIONS + [503]
    assert f"{MOST_SESSIONS} pages of this server are open, and that is all it takes." in pages[-1][1]
    assert pages[-1][0].headers["Retry-After"] == "30"


def test_pages_that_nobody_opens_are_few(server, ask, cookie, monkeypatch):
    monkeypatch.setattr(gate, "MOST_OPENING", 2)
    pages = [ask(Cookie=cookie) for _ in range(3)]
    assert [answer.status for answer, _ in pages] == [200, 200, 503]
    assert "2 pages of this browser are being opened. Try again when they are there." in pages[-1][1]
    assert ask(Cookie=cookie_of(server))[0].status == 200
    assert websocket(ask, token_of(pages[0][1]), Cookie=cookie) == 101
    assert ask(Cookie=cookie)[0].status == 200


def test_nothing_but_reading_is_possible(ask, cookie):
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
        answer, page = ask(method=method, Cookie=cookie)
        assert answer.status == 405
        assert "it takes no other requests" in page


def test_modules_cannot_be_imported_by_their_address(ask, cookie):
    """Panel serves files of components by importing whatever module an address names."""
    import sys

    assert ask("/components/this/Thing/_css/x.css", Cookie=cookie)[0].status == 404
    assert "this" not in sys.modules


def test_a_message_that_is_too_long_ends_the_connection(server, cookie):
    import asyncio

    from tornado.httpclient import HTTPRequest
    from tornado.websocket import WebSocketClosedError, websocket_connect

    async def is_ended_by(n_bytes: int) -> bool:
        from urllib.request import Request, urlopen

        page = urlopen(Request(f"http://127.0.0.1:{server.port}/", headers={"Cookie": cookie})).read().decode()
        asked = HTTPRequest(f"ws://127.0.0.1:{server.port}/ws", headers={"Cookie": cookie})
        connection = await websocket_connect(asked, subprotocols=["bokeh", token_of(page)])
        try:
            assert "ACK" in str(await connection.read_message())
            with suppress(WebSocketClosedError):  # while it is still sent
                await connection.write_message("x" * n_bytes)
            with suppress(TimeoutError):
                while await asyncio.wait_for(connection.read_message(), 3) is not None:
                    pass
                return True
            return False
        finally:
            connection.close()

    assert asyncio.run(is_ended_by(gate.MOST_MESSAGE_BYTES + 1))
    assert not asyncio.run(is_ended_by(1000))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, "--allow-remote"),
        ({"allow_remote": True}, "--certfile CERT.pem --keyfile KEY.pem"),
        ({"allow_remote": True, "behind_proxy": ["*"]}, "would let pages of any address act"),
        ({"allow_remote": True, "behind_proxy": ["https://*.example.org"]}, "would let pages of any address act"),
        ({"allow_remote": True, "behind_proxy": ["http://lab.example.org"]}, "readable by others. Name the address at"),
        ({"allow_remote": True, "behind_proxy": ["lab.example.org"]}, "with http:// or https://"),
        ({"allow_remote": True, "behind_proxy": ["https://a@lab.example.org"]}, "with http:// or https://"),
        ({"allow_remote": True, "behind_proxy": ["https://lab.example.org:x"]}, "with http:// or https://"),
        ({"allow_remote": True, "behind_proxy": ["https://lab.example.org/?a=1"]}, "without ? and #"),
        ({"allow_remote": True, "behind_proxy": ["https://a.org/x", "https://a.org/y"]}, "One server has one path"),
        ({"allow_remote": True, "certfile": "none.pem"}, "needs both, a certificate and its key"),
        ({"allow_remote": True, "certfile": "none.pem", "keyfile": "none.key"}, "There is no file none.pem"),
        ({"allow_remote": True, "behind_proxy": ["https://a.org"], "host_names": ["*"]}, "has no port, path or *"),
    ],
)
def test_other_machines_are_served_only_where_what_is_sent_stays_secret(options, told):
    from pathlib import Path

    files = {name: Path(file) for name, file in options.items() if name in ("certfile", "keyfile")}
    with pytest.raises(SettingsError) as refused:
        open_doors("0.0.0.0", **{**options, **files})
    assert told in str(refused.value)


def test_behind_a_proxy_its_origin_passes_and_http_of_its_name_does_not():
    doors = open_doors("127.0.0.1", behind_proxy=["https://Lab.example.org/unitscope/"])
    assert (doors.prefix, doors.is_remote) == ("/unitscope", True)
    assert doors.takes_host("lab.example.org")
    assert doors.takes_host("localhost")
    assert not doors.takes_host("example.org")
    assert doors.takes_origin("https://lab.example.org", "lab.example.org")
    assert doors.takes_origin("https://lab.example.org", "127.0.0.1:5006")  # a proxy that does not pass the host on
    assert not doors.takes_origin("http://lab.example.org", "lab.example.org")
    assert doors.is_secure("lab.example.org")
    assert doors.websockets("lab.example.org") == ["ws://lab.example.org", "wss://lab.example.org"]


@pytest.mark.parametrize(
    ("address", "forwarded_for", "visitor"),
    [
        ("127.0.0.1", "192.0.2.7", "192.0.2.7"),
        ("::1", "2001:db8::7", "2001:db8::7"),
        ("127.0.0.1", "198.51.100.1, 192.0.2.7", "192.0.2.7"),  # what stands first the visitor wrote
        ("127.0.0.1", "fe80::7%anything", "fe80::7"),
        ("127.0.0.1", "", "127.0.0.1"),
        ("127.0.0.1", "somebody else", "127.0.0.1"),
        ("192.0.2.9", "192.0.2.7", "192.0.2.9"),  # no proxy on this machine: anybody may write this
    ],
)
def test_the_address_of_a_visitor_is_taken_from_a_proxy_on_this_machine_alone(address, forwarded_for, visitor):
    doors = open_doors("127.0.0.1", behind_proxy=["https://lab.example.org"])
    assert doors.visitor_at(address, forwarded_for) == visitor
    assert open_doors("127.0.0.1").visitor_at(address, forwarded_for) == address


def test_wrong_tokens_of_one_visitor_of_the_proxy_keep_no_other_waiting(tmp_path):
    with served(tmp_path, behind_proxy=["https://lab.example.org"]) as server:

        def status(token: str, visitor: str) -> int:
            connection = HTTPConnection("127.0.0.1", server.port, timeout=30)
            connection.request("GET", f"/?token={token}", headers={"X-Forwarded-For": visitor})
            answer = connection.getresponse().status
            connection.close()
            return answer

        assert [status("wrong", "192.0.2.7") for _ in range(N_FREE)] == [403] * N_FREE
        assert status(server.access.token, "192.0.2.7") == 429
        assert status(server.access.token, "192.0.2.8") == 303


def test_the_secret_of_an_installation_is_kept_for_its_user_alone(tmp_path):
    made = install_secret(tmp_path / "new")
    file = tmp_path / "new" / "server.key"
    assert file.stat().st_mode & 0o777 == 0o600
    assert install_secret(tmp_path / "new") == made
    file.chmod(0o644)
    assert install_secret(tmp_path / "new") != made
    assert file.stat().st_mode & 0o777 == 0o600
    file.write_bytes(b"short")
    assert len(install_secret(tmp_path / "new")) == 32


def test_a_secret_that_cannot_be_kept_serves_one_start(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    assert len(install_secret(tmp_path / "file")) == 32
    assert "cannot be kept" in caplog.text


def test_the_log_never_holds_the_token(server, ask, caplog):
    caplog.set_level("DEBUG")
    ask(f"/?token={server.access.token}")
    ask(f"/nothing?token={server.access.token}")
    logged = json.dumps([record.getMessage() for record in caplog.records])
    assert "303 GET /" in logged
    assert server.access.token not in logged


def test_a_page_that_is_closed_while_it_is_sent_to_is_no_error_and_others_are(server, caplog):
    loop, told = server.io_loop.asyncio_loop, threading.Event()

    def fail() -> None:
        for error in (WebSocketClosedError(), ValueError("something else")):
            loop.call_exception_handler({"message": "a task failed", "exception": error})
        told.set()

    loop.call_soon_threadsafe(fail)
    assert told.wait(10)
    assert [str(record.exc_info[1]) for record in caplog.records if record.exc_info] == ["something else"]


def test_a_connection_that_outlives_its_session_is_lost_once_and_quietly():
    handler = object.__new__(gate._kept(WSHandler))
    lost = []
    handler.connection = SimpleNamespace(_session=None)
    handler.application = SimpleNamespace(client_lost=lost.append)
    handler.on_close()
    handler.on_close()
    assert lost == [handler.connection]


def test_pages_count_from_when_they_are_asked_for(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(gate.time, "monotonic", lambda: now[0])
    keeper = gate.Gate(Access(secret=b"s" * 32), open_doors("127.0.0.1"))
    keeper._server = SimpleNamespace(get_sessions=list)
    mine, other = (SimpleNamespace(**{gate.PASS: gate.Pass(login)}) for login in ("me", "you"))
    refusals = [keeper._of_session(mine, DocHandler) for _ in range(gate.MOST_OPENING + 1)]
    assert refusals[:-1] == [None] * gate.MOST_OPENING
    assert refusals[-1].status == 503
    assert keeper._of_session(other, DocHandler) is None
    keeper.remember("made", "me")
    assert keeper._of_session(mine, DocHandler).status == 503
    now[0] = gate._FORGOTTEN_AFTER_S + 1
    assert [keeper._of_session(mine, DocHandler) for _ in range(gate.MOST_OPENING - 1)] == refusals[:-2]
    assert keeper._of_session(mine, DocHandler).status == 503
