"""Is a request answered? One gate for all of them: page, websocket, pictures, scripts.

Bokeh asks for the origin of websockets only, and not even there where it equals the host; so host, origin, cookie and
session are looked at here, before any handler is made. Every handler then gets our headers and our pages for errors.
"""

import logging
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final
from urllib.parse import urlencode

from bokeh.server.server import Server
from bokeh.server.session import ServerSession
from bokeh.server.views.doc_handler import DocHandler
from bokeh.server.views.session_handler import SessionHandler
from bokeh.server.views.ws import WSHandler
from bokeh.util.token import check_token_signature, get_session_id
from panel.io.server import ComponentResourceHandler
from tornado.httputil import HTTPServerRequest
from tornado.ioloop import IOLoop
from tornado.web import RequestHandler

from dashboard import headers
from dashboard.access import Access, Visitor, cookie_name
from dashboard.doors import Doors
from dashboard.troubles import tell_page
from dashboard.turns import own_turn
from dashboard.views.markup import tag

log = logging.getLogger(__name__)

MOST_SESSIONS: Final = 100
LEFT_AFTER_S = 8
"""How long a page whose connection was lost is kept for its browser to come back."""

MOST_OPENING = 10
"""Pages that one visitor may ask for before their websockets come: each costs the server's loop a moment."""
_FORGOTTEN_AFTER_S: Final = 60
"""When a page that was asked for and never made does not count any more."""
MOST_MESSAGE_BYTES: Final = 1 << 20
"""Of what a browser sends: its messages are some hundred bytes."""
_CLOSED: Final = (ComponentResourceHandler,)
"""Handlers that Panel adds and the page has no use for: this one imports whatever module an address names."""
PASS: Final = "unitscope_pass"
_READS = ("GET", "HEAD")


@dataclass(frozen=True)
class Refusal:
    """Why a request is not answered: status, and the page that says it."""

    status: int
    page: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Pass:
    """What is known of a request that the gate lets through."""

    login: str
    websockets: tuple[str, ...] = ()
    nonce: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    """Of the scripts of the page that answers it."""
    failed: str = ""
    """Name of the error that came in place of the page."""


def pass_of(request: Any) -> Pass:
    """Return what the gate told of a request; nothing outside a server of ours."""
    return getattr(request, PASS, None) or Pass("", nonce="")


class Gate:
    """Decides for each request, and remembers whose the sessions are.

    Parameters
    ----------
    access
        The key of this start.
    doors
        Names under which the server may be reached.
    most_sessions
        Pages that may be open at a time.
    """

    def __init__(self, access: Access, doors: Doors, *, most_sessions: int = MOST_SESSIONS) -> None:
        self.access, self.doors, self.most_sessions = access, doors, most_sessions
        self._server: Server | None = None
        self._logins: dict[str, str] = {}
        self._opened: set[str] = set()
        self._asked: dict[str, list[float]] = {}
        """When each visitor asked for the pages that are not made yet."""

    def keep(self, server: Server) -> None:
        """Stand before all handlers of a server."""
        application, make = server._tornado, server._tornado.get_handler_delegate
        self._server = server

        def make_kept(request: HTTPServerRequest, target: Any, *args: Any, **kwargs: Any) -> Any:
            refusal = self.refusal(request, target)
            if refusal is not None:
                return make(request, _Refusing, {"refusal": refusal})
            return make(request, _kept(target), *args, **kwargs)

        setattr(application, "get_handler_delegate", make_kept)  # noqa: B010
        application.settings["log_function"] = _log_without_query

    def remember(self, session_id: str, login: str) -> None:
        """Take note of whose session it is."""
        self._logins[session_id] = login
        if self._asked.get(login):
            self._asked[login].pop(0)

    def forget(self, session_id: str) -> None:
        """The session is over."""
        self._logins.pop(session_id, None)
        self._opened.discard(session_id)

    def refusal(self, request: HTTPServerRequest, target: type[RequestHandler]) -> Refusal | None:
        """Return why a request is not answered by ``target``; None if it is."""
        return (
            self._of_names(request)
            or self._of_token(request)
            or self._of_visitor(request)
            or self._of_session(request, target)
            or (_refused(404, "There is nothing here", "Go back to the page.") if target in _CLOSED else None)
        )

    def _of_names(self, request: HTTPServerRequest) -> Refusal | None:
        if not self.doors.takes_host(request.host_name):
            return _refused(403, "Unknown address", "This server is not reached under this name.")
        origins = request.headers.get_list("Origin")
        if any(not self.doors.takes_origin(origin, request.host) for origin in origins):
            return _refused(403, "Another page asked", "Only the page of this server itself may ask it.")
        if request.method not in _READS:
            return _refused(405, "Not possible", "The page is read; it takes no other requests.")
        if _names_session(request):
            return _refused(403, "Not possible", "The server itself chooses the name of a session.")
        return None

    def _of_token(self, request: HTTPServerRequest) -> Refusal | None:
        """Exchange the token in the address for a cookie; None if the address has none."""
        tokens = request.arguments.get("token")
        if not tokens:
            return None
        patience = self.access.patience
        forwarded_for = request.headers.get("X-Forwarded-For", "")
        peer = self.doors.visitor_at(_peer(request), forwarded_for)
        left = patience.left_s(peer)
        if left > 0:
            told = f"There were too many wrong tokens. Try again in {left:.0f} s."
            return _refused(429, "Wait a moment", told, retry_after=max(int(left), 1))
        if not self.access.is_right(tokens[-1].decode("utf-8", "replace")):
            patience.wrong(peer)
            return self._asks_for_token(request, "That is not the token of this start.")
        patience.right(peer)
        return self._let_in(request)

    def _let_in(self, request: HTTPServerRequest) -> Refusal:
        path = f"{self.doors.prefix}/"
        kept = urlencode([(key, value) for key, values in _kept_arguments(request).items() for value in values])
        there = {"Location": f"{path}?{kept}" if kept else path}
        if self._visitor(request).login:  # a page of this browser may be opening with the cookie that it has
            return Refusal(303, "", there)
        name = cookie_name(request.host)
        parts = [f"{name}={self.access.new_cookie(name)}", f"Path={path}", "HttpOnly", "SameSite=Strict"]
        if self.doors.is_secure(request.host):
            parts.append("Secure")
        return Refusal(303, "", {**there, "Set-Cookie": "; ".join(parts)})

    def _of_visitor(self, request: HTTPServerRequest) -> Refusal | None:
        visitor = self._visitor(request)
        if visitor.login:
            setattr(request, PASS, Pass(visitor.login, tuple(self.doors.websockets(request.host))))
            return None
        if visitor.was_here:
            return self._asks_for_token(request, "The server has been started anew since this browser was let in.")
        return self._asks_for_token(request, "This browser has not shown the token yet.")

    def _visitor(self, request: HTTPServerRequest) -> Visitor:
        name = cookie_name(request.host)
        cookie = request.cookies.get(name)
        return self.access.visitor(name, cookie.value if cookie is not None else "")

    def _asks_for_token(self, request: HTTPServerRequest, why: str) -> Refusal:
        """Ask for the token; a browser that came from elsewhere has kept its cookie back, and is sent once more."""
        site, mode = (request.headers.get(f"Sec-Fetch-{about}") for about in ("Site", "Mode"))
        if site == "cross-site" and mode == "navigate" and "token" not in request.arguments:
            return Refusal(403, headers.plain_page("One moment", reload=True))
        told = (
            tag("p", why),
            tag(
                "p", "Open the address that ", tag("code", "unitscope serve"), " printed when it was started, or enter "
            ),
        )
        kept = {key: values[-1].decode("utf-8", "replace") for key, values in _kept_arguments(request).items()}
        return Refusal(403, headers.plain_page("unitscope asks who you are", *told, headers.token_form(kept)))

    def _of_session(self, request: HTTPServerRequest, target: type[RequestHandler]) -> Refusal | None:
        if issubclass(target, WSHandler):
            return self._of_websocket(request)
        if not issubclass(target, SessionHandler):
            return None
        login = pass_of(request).login
        if self._n_opening(login) >= MOST_OPENING:
            told = f"{MOST_OPENING} pages of this browser are being opened. Try again when they are there."
            return _refused(503, "One moment", told, retry_after=5)
        if self._n_sessions() >= self.most_sessions:
            told = f"{self.most_sessions} pages of this server are open, and that is all it takes. Close some that you "
            return _refused(503, "Too many pages are open", told + "do not need, or try again later.", retry_after=30)
        self._asked.setdefault(login, []).append(time.monotonic())
        return None

    def _n_opening(self, login: str) -> int:
        """How many pages a visitor asked for whose websockets did not come yet; requests come faster than pages."""
        now = time.monotonic()
        self._asked[login] = [asked for asked in self._asked.get(login, []) if now - asked < _FORGOTTEN_AFTER_S]
        made = sum(one == login and name not in self._opened for name, one in self._logins.items())
        return made + len(self._asked[login])

    def _of_websocket(self, request: HTTPServerRequest) -> Refusal | None:
        """Let a page have the session that was made for it, once at a time, and nobody else's."""
        session = self._session_of(request)
        if session is None or self._logins.get(session.id) != pass_of(request).login:
            return _refused(403, "Not your session", "Reload the page.")
        if session.connection_count:
            return _refused(403, "This page is open already", "Reload the page.")
        self._opened.add(session.id)
        return None

    def _session_of(self, request: HTTPServerRequest) -> ServerSession | None:
        assert self._server is not None
        token = request.headers.get("Sec-WebSocket-Protocol", "").rpartition(",")[2].strip()
        tornado = self._server._tornado
        try:
            if not check_token_signature(token, secret_key=tornado.secret_key, signed=True):
                return None
            name = get_session_id(token)
        except Exception:  # whatever it was, it is no token of ours
            return None
        return next((session for session in self._server.get_sessions() if session.id == name), None)

    def _n_sessions(self) -> int:
        assert self._server is not None
        return len(self._server.get_sessions())


class Kept:
    """What every handler does our way; stands before its class."""

    request: HTTPServerRequest
    clear_header: Callable[[str], None]
    set_status: Callable[[int], None]
    finish: Callable[[str], Any]

    def set_header(self, name: str, value: Any) -> None:
        """Set a header; never one that lets other sites read."""
        if not name.lower().startswith("access-control-"):
            super().set_header(name, value)  # type: ignore[misc]

    def set_default_headers(self) -> None:
        """Set the headers of every answer."""
        super().set_default_headers()  # type: ignore[misc]
        for name, value in headers.ALWAYS.items():
            self.set_header(name, value)
        self.set_header("Content-Security-Policy", self.policy())

    def policy(self) -> str:
        """Return what the browser may do with the answer."""
        return headers.PLAIN_POLICY

    def write_error(self, status_code: int, **about: Any) -> None:
        """Say in a sentence what went wrong; the log has the rest, under the name that is told."""
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.set_header("Content-Security-Policy", headers.PLAIN_POLICY)
        if status_code < 500:
            self.finish(headers.plain_page("There is nothing here", tag("p", "Go back to the page.")))
            return
        name = secrets.token_hex(3)
        log.error("error %s while answering %s", name, self.request.path)
        self.finish(_failed(name))


class KeptPage(Kept):
    """The page: it runs its own scripts; one that could not be made says so, where Panel would send an empty one."""

    def policy(self) -> str:
        """Return what the page needs, and nothing else."""
        let = pass_of(self.request)
        return headers.page_policy(let.nonce, let.websockets)

    async def get_session(self) -> ServerSession:
        """Make the page, in a turn of its own."""
        await own_turn()
        return await super().get_session()  # type: ignore[misc]

    def write(self, chunk: Any) -> None:
        """Write the page, or what became of it."""
        failed = pass_of(self.request).failed
        if failed:
            self.set_status(500)
            self.set_header("Content-Security-Policy", headers.PLAIN_POLICY)
        super().write(_failed(failed) if failed else chunk)  # type: ignore[misc]


class KeptWebSocket(Kept):
    """The websocket of a page: no text of an exception leaves the server."""

    close: Callable[[int, str], None]
    ws_connection: Any
    _has_left = False
    application: Any
    connection: Any

    def check_origin(self, origin: str) -> bool:
        """The gate has looked at it."""
        return True

    async def _async_open(self, token: str) -> None:
        """Open the session; let go of it if the browser has left meanwhile, of which Bokeh would hear no more."""
        await super()._async_open(token)  # type: ignore[misc]
        if self.ws_connection is None:
            self.on_close()

    def on_close(self) -> None:
        """Let go of the session, once; it may have ended before its connection does."""
        if self.connection is None or self._has_left:
            return
        self._has_left, session = True, self.connection._session
        if session is None:
            self.application.client_lost(self.connection)
            return
        super().on_close()  # type: ignore[misc]
        IOLoop.current().call_later(LEFT_AFTER_S, _let_go, session)

    async def _handle(self, message: Any) -> Any:
        """Do what the browser asks for, in a turn of its own; nothing if its connection broke meanwhile."""
        await own_turn()
        if self.connection._session is None:
            return None
        return await super()._handle(message)  # type: ignore[misc]

    async def send_message(self, message: Any) -> None:
        """Send a message; of an error only its name, and the page says it in a sentence."""
        if message.msgtype == "ERROR":
            name = tell_page(self.connection.session.document)
            message = self.connection.protocol.create("ERROR", message.header["reqid"], f"error {name}")
            message.content["traceback"] = None
        await super().send_message(message)  # type: ignore[misc]

    def _internal_error(self, message: str) -> None:
        self._end(1011, message)

    def _protocol_error(self, message: str) -> None:
        self._end(1002, message)

    def _end(self, code: int, message: str) -> None:
        name = secrets.token_hex(3)
        log.error("error %s: %s; the connection is closed", name, message)
        self.close(code, f"error {name}")


def _let_go(session: ServerSession) -> None:
    """Have a session that nobody came back to end now, and not with those that wait for a slow browser."""
    if not session.connection_count:
        session.request_expiration()


class _Refusing(RequestHandler):
    """Answers with a refusal."""

    def initialize(self, refusal: Refusal) -> None:
        self.refusal = refusal

    def set_default_headers(self) -> None:
        for name, value in headers.ALWAYS.items():
            self.set_header(name, value)
        self.set_header("Content-Security-Policy", headers.PLAIN_POLICY)
        self.set_header("Cache-Control", "no-store")

    async def prepare(self) -> None:
        self.set_status(self.refusal.status)
        for name, value in self.refusal.headers.items():
            self.set_header(name, value)
        self.finish(self.refusal.page)


@cache
def _kept(target: Any) -> type[RequestHandler]:
    kinds = ((WSHandler, KeptWebSocket), (DocHandler, KeptPage), (RequestHandler, Kept))
    before = next(kept for kind, kept in kinds if issubclass(target, kind))
    return type(target.__name__, (before, target), {})


def _failed(name: str) -> str:
    told = tag("p", f"Error {name}; the server's log says more. Reload the page.")
    return headers.plain_page("That did not work", told)


def _refused(status: int, title: str, told: str, *, retry_after: int | None = None) -> Refusal:
    extra = {"Retry-After": str(retry_after)} if retry_after is not None else {}
    return Refusal(status, headers.plain_page(title, tag("p", told)), extra)


def _names_session(request: HTTPServerRequest) -> bool:
    names = ("bokeh-session-id", "bokeh-token")
    return any(name in request.arguments for name in names) or "Bokeh-Session-Id" in request.headers


def _peer(request: HTTPServerRequest) -> str:
    """Return the address at the other end of the socket: a header could say anything."""
    address = getattr(getattr(request.connection, "context", None), "address", None)
    return str(address[0]) if isinstance(address, tuple) else ""


def _kept_arguments(request: HTTPServerRequest) -> dict[str, list[bytes]]:
    return {name: values for name, values in request.query_arguments.items() if name != "token"}


def _log_without_query(handler: RequestHandler) -> None:
    """Log an answer as Tornado does, without the arguments of the address: one of them may be the token."""
    request, status = handler.request, handler.get_status()
    level = logging.INFO if status < 500 else logging.ERROR
    log.log(level, "%d %s %s %.0f ms", status, request.method, request.path, 1000 * request.request_time())
