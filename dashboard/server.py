"""How is the dashboard served? To whoever holds the token, on this machine only unless the caller says otherwise."""

import asyncio
import logging
import secrets
import signal
import socket
import ssl
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import panel as pn
from bokeh.server.server import Server
from tornado.websocket import WebSocketClosedError

from dashboard.access import Access
from dashboard.collecting import Collector
from dashboard.doors import Doors, host_of, open_doors, shown_host
from dashboard.figures import rendering
from dashboard.gate import MOST_MESSAGE_BYTES, MOST_SESSIONS, Gate, pass_of
from dashboard.results import Results
from dashboard.thumbnails import patterns
from dashboard.views import explorers
from dashboard.views.document import query_of, request_of
from dashboard.views.session import Session
from engine.errors import SettingsError

log = logging.getLogger(__name__)

PORT = 5006
_UNUSED_AFTER_MS = 60_000
"""So long a browser may take to load what the page needs, and to connect; the gate ends what was left earlier."""
_LOOK_EVERY_MS = 4_000
_WARM_DRAWING_AFTER_S = 10
"""Then the first page is likely to be there, and nobody has asked for a file yet."""
_CONNECTIONS = {
    "idle_connection_timeout": 30,
    "body_timeout": 10,
    "max_body_size": 1 << 16,
    "max_buffer_size": 4 * MOST_MESSAGE_BYTES,
}
"""What a connection may cost that does not ask for anything: seconds and bytes."""


def serve(
    store: Path | str | None = None,
    *,
    port: int = PORT,
    address: str = "127.0.0.1",
    show: bool = True,
    warm: bool = True,
    jobs: bool | None = None,
    how: Mapping[str, Any] | None = None,
    **reached: Any,
) -> None:
    """Serve the dashboard until it is interrupted, and print the address that lets a browser in.

    Parameters
    ----------
    store
        Folder of the store; by default as ``engine.store.store_root`` finds it.
    port
        0 takes a free one.
    address
        Of the interface to listen on.
    show
        Open the page in the browser.
    warm
        Build the page once before the first visitor comes, and have the process that draws files started soon after.
    jobs
        Let visitors have this machine match and analyse what it has; by default only where all of them are on it.
    how
        How matches are done, as ``engine.match`` takes it: ``device``, ``workers`` or ``scheduler``.
    reached
        How other machines may reach it, see ``dashboard.doors.open_doors``.

    Raises
    ------
    SettingsError
        If other machines could read what is sent, or the port is taken.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _interrupt)
    results = Results(store)
    try:
        _serve(results, show, port=port, address=address, warm=warm, jobs=jobs, how=how, **reached)
    finally:
        if results.jobs is not None:
            results.jobs.close()
        results.lane.close()
        results.drawing.close()


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt  # so that jobs end with the server, whoever ends it


def _serve(results: Results, show: bool, **options: Any) -> None:
    access = Access()
    server = make_server(results, access=access, **options)
    entry = f"?token={access.token}"
    for where in _places(server, **options):
        print(f"unitscope is at {where}{entry}", flush=True)
    print("The token lets a browser in until the server ends: Ctrl+C.", flush=True)
    if show:
        server.io_loop.add_callback(server.show, f"/{entry}")
    Collector(lambda: len(server.get_sessions()), lambda: results.used_at).start()
    try:
        server.io_loop.start()
    except KeyboardInterrupt:
        print("ended")
    finally:
        server.stop()


def _places(
    server: Server, *, address: str, certfile: Path | None = None, behind_proxy: Sequence[str] = (), **_: Any
) -> list[str]:
    scheme = "https" if certfile is not None else "http"
    own = f"{scheme}://{shown_host(address)}:{server.port}{server.prefix}/"
    return [f"{origin.rstrip('/')}/" for origin in behind_proxy] or [own]


def make_server(
    store: Results | Path | str | None = None,
    *,
    access: Access | None = None,
    port: int = PORT,
    address: str = "127.0.0.1",
    warm: bool = True,
    jobs: bool | None = False,
    how: Mapping[str, Any] | None = None,
    most_sessions: int = MOST_SESSIONS,
    certfile: Path | None = None,
    keyfile: Path | None = None,
    **reached: Any,
) -> Server:
    """Return the server, listening; it answers once its loop runs. See :func:`serve`.

    Whoever asks for jobs gives the ``Results``, and closes its jobs at the end. ``access`` holds the token that lets
    in; whoever gives none lets nobody in. ``most_sessions`` pages may be open at a time.
    """
    doors = open_doors(address, certfile=certfile, keyfile=keyfile, **reached)
    results = store if isinstance(store, Results) else Results(store)
    if jobs or (jobs is None and not doors.is_remote):
        results.compute_jobs(how)
    if doors.is_remote:
        results.tells_paths = False
    if warm:
        rendering.warm()
        Session(results)
        explorers.warm()
    gate = Gate(access or Access(), doors, most_sessions=most_sessions)
    tls = {"ssl_certfile": str(certfile), "ssl_keyfile": str(keyfile)} if certfile is not None else {}
    try:
        port = port or _free_port(address)
        server = _listening(results, gate, port, address, tls)
    except ssl.SSLError as error:
        raise SettingsError(f"{certfile} and {keyfile} are no certificate with its key, in PEM: {error}.") from error
    except socket.gaierror as error:
        raise SettingsError(f"{address!r} is no address of this machine. Leave out --address for 127.0.0.1.") from error
    except OSError as error:
        raise SettingsError(
            f"Port {port} of {address} cannot be used ({error.strerror}). Choose another: --port 0"
        ) from error
    gate.keep(server)
    server.io_loop.asyncio_loop.set_exception_handler(_without_closed_pages)  # type: ignore[attr-defined]
    if warm:
        server.io_loop.call_later(_WARM_DRAWING_AFTER_S, results.drawing.warm)
    server.start()  # without it nobody sweeps up the sessions that were left
    return server


def _without_closed_pages(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what went wrong in the loop, but not that a page was closed while something was sent to it."""
    if not isinstance(context.get("exception"), WebSocketClosedError):
        loop.default_exception_handler(context)


def _listening(results: Results, gate: Gate, port: int, address: str, tls: dict[str, str]) -> Server:
    def page() -> None:
        document = pn.state.curdoc
        assert document is not None
        assert document.session_context is not None
        let = pass_of(request_of(document))
        gate.remember(document.session_context.id, let.login)
        document.on_session_destroyed(lambda context: gate.forget(context.id))
        try:
            Session(results, query_of(document), in_turn=True).serve(document)
        except Exception:  # Panel would print it and send an empty page
            let.failed = secrets.token_hex(3)
            log.exception("error %s while the page was made", let.failed)

    return pn.io.server.get_server(
        {"/": page},  # type: ignore[dict-item]
        port=port,
        address=address,
        prefix=gate.doors.prefix,
        websocket_origin=_websocket_origins(gate.doors, port, address),
        start=False,
        show=False,
        location=False,
        admin=False,
        title="unitscope",
        extra_patterns=patterns(results),
        sign_sessions=True,
        secret_key=gate.access.secret,
        include_headers=[],  # what a browser sends would be readable in the page, cookies and all
        include_cookies=[],
        websocket_max_message_size=MOST_MESSAGE_BYTES,
        http_server_kwargs=dict(_CONNECTIONS),
        check_unused_sessions_milliseconds=_LOOK_EVERY_MS,
        unused_session_lifetime_milliseconds=_UNUSED_AFTER_MS,
        **tls,  # type: ignore[arg-type]
    )


def _websocket_origins(doors: Doors, port: int, address: str) -> list[str]:
    """Return what Bokeh's own list holds; the gate asks more of a request."""
    return [f"{host_of(address)}:{port}", *(origin.partition("//")[2] for origin in doors.origins)]


def _free_port(address: str) -> int:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])
