"""How is the dashboard served? On this machine only, unless the caller says otherwise in so many words."""

import ipaddress
import secrets
import signal
import socket
import threading
from collections.abc import Collection
from pathlib import Path
from typing import Any

import panel as pn
from bokeh.server.server import Server
from tornado.httputil import HTTPServerRequest
from tornado.web import ErrorHandler

from dashboard.results import Results
from dashboard.thumbnails import patterns
from dashboard.views import explorers
from dashboard.views.document import query_of
from dashboard.views.session import Session
from engine.errors import SettingsError

PORT = 5006
_UNUSED_AFTER_MS = 8_000
_LOOK_EVERY_MS = 4_000


def serve(
    store: Path | str | None = None,
    *,
    port: int = PORT,
    address: str = "127.0.0.1",
    show: bool = True,
    warm: bool = True,
    allow_remote: bool = False,
    jobs: bool | None = None,
) -> None:
    """Serve the dashboard until it is interrupted.

    Parameters
    ----------
    store
        Folder of the store; by default as ``engine.store.store_root`` finds it.
    port
        0 takes a free one.
    address
        Of the interface to listen on. Anything but loopback needs ``allow_remote``: there is no password.
    show
        Open the page in the browser.
    warm
        Build the page once before the first visitor comes.
    allow_remote
        Let other machines connect.
    jobs
        Let visitors have this machine match and analyse what it has; by default only where all of them are on it.

    Raises
    ------
    SettingsError
        If the address is not of this machine alone and ``allow_remote`` was not given, or the port is taken.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _interrupt)
    results = Results(store)
    try:
        _serve(results, port, address, show, warm, allow_remote, jobs)
    finally:
        if results.jobs is not None:
            results.jobs.close()
        results.lane.close()


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt  # so that jobs end with the server, whoever ends it


def _serve(
    results: Results, port: int, address: str, show: bool, warm: bool, allow_remote: bool, jobs: bool | None
) -> None:
    options = {"port": port, "address": address, "warm": warm, "allow_remote": allow_remote, "jobs": jobs}
    server = make_server(results, **options)  # type: ignore[arg-type]
    where = f"http://{_host(address)}:{server.port}/"
    print(f"unitscope is at {where}  (Ctrl+C ends it)", flush=True)
    if show:
        server.io_loop.add_callback(server.show, "/")
    try:
        server.io_loop.start()
    except KeyboardInterrupt:
        print("ended")
    finally:
        server.stop()


def make_server(
    store: Results | Path | str | None = None,
    *,
    port: int = PORT,
    address: str = "127.0.0.1",
    warm: bool = True,
    allow_remote: bool = False,
    jobs: bool | None = False,
) -> Server:
    """Return the server, listening; it answers once its loop runs. See :func:`serve`.

    Whoever asks for jobs gives the ``Results``, and closes its jobs at the end.
    """
    if not allow_remote and not _is_loopback(address):
        raise SettingsError(
            f"{address} can be reached from other machines, and the dashboard has no password. "
            "Serve on 127.0.0.1, or say that you mean it: --allow-remote, in Python allow_remote=True."
        )
    results = store if isinstance(store, Results) else Results(store)
    if jobs or (jobs is None and _is_loopback(address) and not allow_remote):
        results.compute_jobs()

    def page() -> None:
        document = pn.state.curdoc
        Session(results, query_of(document)).serve(document)

    port = port or _free_port(address)
    origins = [f"{host}:{port}" for host in {_host(address), "localhost" if _is_loopback(address) else _host(address)}]
    if warm:
        Session(results)
        explorers.warm()
    try:
        server = pn.io.server.get_server(
            {"/": page},  # type: ignore[dict-item]
            port=port,
            address=address,
            websocket_origin=origins,
            start=False,
            show=False,
            location=False,
            admin=False,
            title="unitscope",
            extra_patterns=patterns(results),
            sign_sessions=True,
            secret_key=secrets.token_urlsafe(32).encode(),
            check_unused_sessions_milliseconds=_LOOK_EVERY_MS,
            unused_session_lifetime_milliseconds=_UNUSED_AFTER_MS,
        )
    except OSError as error:
        raise SettingsError(
            f"Port {port} of {address} cannot be used ({error.strerror}). Choose another: --port 0"
        ) from error
    if not allow_remote:
        _only_for(server, {_host(address), "localhost"})
    server.start()  # without it nobody sweeps up the sessions that were left
    return server


def _only_for(server: Server, hosts: Collection[str]) -> None:
    """Refuse every request under another host name: a page of that name would pass for this one.

    Tornado lets a websocket in whose Origin equals its Host before Bokeh's list of origins is asked (DNS rebinding).
    The port may be another one: a tunnel to this machine has its own.
    """
    application = server._tornado
    find = application.find_handler

    def find_for_us(request: HTTPServerRequest, **how: Any) -> Any:
        if request.host_name in hosts:
            return find(request, **how)
        return application.get_handler_delegate(request, ErrorHandler, {"status_code": 403})

    application.find_handler = find_for_us  # type: ignore[method-assign]


def _is_loopback(address: str) -> bool:
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _free_port(address: str) -> int:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])
