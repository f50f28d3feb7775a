"""Who may come in? Whoever shows the token of this start; from then on the browser's cookie says so.

The token is in the address that the server prints. It is exchanged for a cookie at once, so that no address of the page
holds it. The cookie is signed with the secret of this installation and names the start that gave it.
"""

import hmac
import logging
import os
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import platformdirs
from tornado.web import create_signed_value, decode_signed_value

log = logging.getLogger(__name__)

N_FREE: Final = 5
"""Wrong tokens that one address may show before it has to wait."""
_LONGEST_WAIT_S: Final = 60.0
_MOST_ADDRESSES: Final = 1000
_SECRET_BYTES: Final = 32
_VALID_DAYS: Final = 90


class Patience:
    """How long must an address wait before it may try the next token? Twice as long after each wrong one."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._wrong: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def left_s(self, address: str) -> float:
        """Return the seconds that an address must still wait; 0 if it may try."""
        return max(self._wrong.get(address, (0, 0.0))[1] - self._clock(), 0.0)

    def wrong(self, address: str) -> None:
        """Take note of a wrong token."""
        n_wrong = self._wrong.pop(address, (0, 0.0))[0] + 1
        wait = min(2.0 ** (n_wrong - N_FREE), _LONGEST_WAIT_S) if n_wrong >= N_FREE else 0.0
        self._wrong[address] = n_wrong, self._clock() + wait
        while len(self._wrong) > _MOST_ADDRESSES:
            self._wrong.popitem(last=False)

    def right(self, address: str) -> None:
        """Forget what an address did before."""
        self._wrong.pop(address, None)


@dataclass(frozen=True)
class Visitor:
    """Whom a cookie names."""

    login: str
    """Of the exchange that gave the cookie; empty where there is none that holds."""
    was_here: bool = False
    """Whether an earlier start of this installation gave the cookie."""


@dataclass
class Access:
    """The key of one start of the server."""

    token: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    secret: bytes = field(default_factory=lambda: install_secret(), repr=False)
    patience: Patience = field(default_factory=Patience)

    def __post_init__(self) -> None:
        self._start = secrets.token_hex(8)

    def is_right(self, token: str) -> bool:
        """Say whether that is the token of this start, in a time that tells nothing about it."""
        return hmac.compare_digest(token.encode(), self.token.encode())

    def new_cookie(self, name: str) -> str:
        """Return the value of a new visitor's cookie."""
        return create_signed_value(self.secret, name, f"{self._start}.{secrets.token_hex(8)}").decode()

    def visitor(self, name: str, cookie: str) -> Visitor:
        """Return whom a cookie names; nobody if it is not one of ours."""
        value = decode_signed_value(self.secret, name, cookie, max_age_days=_VALID_DAYS) if cookie else None
        start, _, login = (value or b"").decode("ascii", "replace").partition(".")
        return Visitor(login if start == self._start else "", was_here=bool(login) and start != self._start)


def cookie_name(host: str) -> str:
    """Return the cookie's name for a host with its port, ``unitscope-5006``: cookies do not tell ports apart."""
    port = host.rpartition(":")[2]
    return f"unitscope-{port}" if port.isascii() and port.isdigit() else "unitscope"


def install_secret(folder: Path | None = None) -> bytes:
    """Return the secret of this installation, which only its user can read; made when it is first asked for.

    Where it cannot be kept, or others could have read it, there is a new one.
    """
    file = (folder or platformdirs.user_data_path("unitscope")) / "server.key"
    try:
        return _kept(file) or _made(file)
    except OSError as error:
        log.warning("%s cannot be kept (%s); cookies are signed with a secret of this start", file, error.strerror)
        return secrets.token_bytes(_SECRET_BYTES)


def _kept(file: Path) -> bytes | None:
    try:
        descriptor = os.open(file, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor, "rb") as opened:
        is_private = os.name != "posix" or not os.fstat(opened.fileno()).st_mode & 0o077
        content = opened.read(_SECRET_BYTES + 1)
    return content if is_private and len(content) == _SECRET_BYTES else None


def _made(file: Path) -> bytes:
    content, beside = secrets.token_bytes(_SECRET_BYTES), file.with_name(f".{file.name}-{secrets.token_hex(4)}")
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as opened:
        opened.write(content)
    os.replace(beside, file)
    return content
