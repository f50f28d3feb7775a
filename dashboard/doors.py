"""Under which names may the server be reached, and from where? From this machine only, unless it is said how else."""

import ipaddress
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from engine.errors import SettingsError

_LOCAL = ("127.0.0.1", "localhost", "[::1]")


@dataclass(frozen=True)
class Doors:
    """What a request must name to be answered."""

    hosts: frozenset[str]
    """Names of the machine, without port: what ``Host`` may say."""
    origins: frozenset[str]
    """Addresses of pages beside those of the server itself, as ``Origin`` names them: those of a proxy."""
    scheme: str = "http"
    prefix: str = ""
    """What stands before every path, as the proxy passes it on."""
    is_remote: bool = False
    """Whether visitors may be on other machines."""

    def takes_host(self, host_name: str) -> bool:
        """Say whether a request may name that host, without its port: a tunnel has a port of its own."""
        return host_name.lower() in self.hosts

    def takes_origin(self, origin: str, host: str) -> bool:
        """Say whether a page of that origin may ask under that host: one of the server itself, or of the proxy."""
        if origin.lower() in self.origins:
            return True
        is_proxied = urlsplit(f"//{host}").hostname in {urlsplit(other).hostname for other in self.origins}
        return not is_proxied and origin.lower() == f"{self.scheme}://{host.lower()}"

    def visitor_at(self, address: str, forwarded_for: str) -> str:
        """Return where a visitor is: at the other end of the socket, or where the proxy on this machine says.

        A proxy puts the address that it saw last in ``X-Forwarded-For``; what stands before it anybody may write.
        """
        if self.origins and is_loopback(address):
            with suppress(ValueError):
                seen = ipaddress.ip_address(forwarded_for.rpartition(",")[2].strip())
                return str(seen).partition("%")[0]  # without a zone, which may be any text
        return address

    def websockets(self, host: str) -> list[str]:
        """Return the addresses of the page's websocket, as its policy names them."""
        own = f"{'wss' if self.scheme == 'https' else 'ws'}://{host.lower()}"
        return [own, *sorted(origin.replace("http", "ws", 1) for origin in self.origins)]

    def is_secure(self, host: str) -> bool:
        """Say whether the browser comes over TLS, as far as the name of the host tells."""
        return self.scheme == "https" or f"https://{host.lower()}" in self.origins


def open_doors(
    address: str,
    *,
    allow_remote: bool = False,
    certfile: Path | None = None,
    keyfile: Path | None = None,
    behind_proxy: Sequence[str] = (),
    host_names: Sequence[str] = (),
) -> Doors:
    """Return the doors of a server on that address.

    Parameters
    ----------
    address
        Of the interface to listen on.
    allow_remote
        Listen where other machines reach it; that takes TLS, here or at a proxy.
    certfile, keyfile
        Certificate and key of TLS, in PEM.
    behind_proxy
        Addresses of the page at the proxy that visitors go through, ``https://lab.example.org/unitscope``.
    host_names
        Names beside its own under which visitors reach this machine.

    Raises
    ------
    SettingsError
        If the address can be reached from other machines and nothing keeps what is sent secret, or an origin or a name
        is not one.
    """
    _require_secrecy(address, allow_remote, certfile, keyfile, behind_proxy)
    places = [_place(origin) for origin in behind_proxy]
    prefixes = {prefix for _, prefix in places}
    if len(prefixes) > 1:
        raise SettingsError(f"One server has one path: --behind-proxy names {', '.join(sorted(prefixes))}.")
    wrong = [name for name in host_names if not name or set(name) & set("*/:@ ")]
    if wrong:
        raise SettingsError(f"A name of this machine has no port, path or *, got {wrong[0]!r}, e.g. lab7.example.org")
    own = {*_LOCAL} if is_loopback(address) else {host_of(address), *_LOCAL, *_names_of_machine()}
    return Doors(
        frozenset(name.lower() for name in {*own, *host_names, *(str(urlsplit(o).hostname) for o, _ in places)}),
        frozenset(origin for origin, _ in places),
        "https" if certfile is not None else "http",
        prefixes.pop() if prefixes else "",
        is_remote=bool(places) or not is_loopback(address),
    )


def is_loopback(address: str) -> bool:
    """Say whether an address is of this machine alone."""
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def host_of(address: str) -> str:
    """Return an address as it stands in a URL."""
    return f"[{address}]" if ":" in address else address


def shown_host(address: str) -> str:
    """Return the host of the address that is printed: that of the machine where the server listens on all of its."""
    return socket.gethostname() if address in ("0.0.0.0", "::", "") else host_of(address)


def _require_secrecy(
    address: str, allow_remote: bool, certfile: Path | None, keyfile: Path | None, behind_proxy: Sequence[str]
) -> None:
    if (certfile is None) != (keyfile is None):
        raise SettingsError("TLS needs both, a certificate and its key: --certfile CERT.pem --keyfile KEY.pem")
    for file in (certfile, keyfile):
        if file is not None and not file.is_file():
            raise SettingsError(f"There is no file {file}: --certfile and --keyfile name files in PEM.")
    if is_loopback(address):
        return
    if not allow_remote:
        raise SettingsError(
            f"{address} can be reached from other machines. Serve on 127.0.0.1, e.g. for a tunnel "
            "(ssh -L 5006:localhost:5006 HOST); or say that you mean it with --allow-remote (allow_remote=True), and "
            "what keeps the traffic secret: --certfile and --keyfile, or --behind-proxy https://ITS.NAME."
        )
    open_ = [origin for origin in behind_proxy if urlsplit(origin).scheme == "http"]
    if certfile is None and open_:
        raise SettingsError(
            f"--behind-proxy {open_[0]} would send the token and all responses readable by others. Name the address at "
            "the proxy that has a certificate: --behind-proxy https://lab.example.org"
        )
    if certfile is None and not behind_proxy:
        raise SettingsError(
            f"On {address} the token and all responses would cross the network readable by others. Give the server a "
            "certificate, --certfile CERT.pem --keyfile KEY.pem, or name the address at the proxy that has one: "
            "--behind-proxy https://lab.example.org"
        )


def _place(origin: str) -> tuple[str, str]:
    """Split the address of the page at a proxy into its origin and its path."""
    if "*" in origin:
        raise SettingsError(
            f"--behind-proxy {origin} would let pages of any address act for a visitor. Name the address that visitors "
            "use, e.g. https://lab.example.org"
        )
    try:
        parts = urlsplit(origin)
        is_plain = parts.port is None or parts.port > 0
    except ValueError:
        is_plain = False
    if not is_plain or parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise SettingsError(f"--behind-proxy names an address with http:// or https://, got {origin!r}.")
    if parts.query or parts.fragment:
        raise SettingsError(f"--behind-proxy names an address without ? and #, got {origin!r}.")
    return f"{parts.scheme}://{parts.netloc}".lower(), parts.path.rstrip("/")


def _names_of_machine() -> set[str]:
    return {socket.gethostname(), socket.getfqdn()}
