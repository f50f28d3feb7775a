"""Chromium, a server of the page for it, and a visit: a fresh profile with everything that went wrong in it."""

import asyncio
import secrets
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from bokeh.io import doc as documents
from bokeh.server.server import Server

from dashboard.access import Access
from dashboard.results import Results
from dashboard.server import make_server

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next((found for name in BROWSERS if (found := shutil.which(name))), None)


@contextmanager
def served(store: Path | Results, *, warm: bool = False, **options: Any) -> Iterator[Server]:
    """Serve the page on a free port of the loopback interface, in a thread of this process; ``entry`` opens it."""
    started, box = threading.Event(), []
    access = Access(secret=secrets.token_bytes(32))

    def run() -> None:
        asyncio.set_event_loop(asyncio.new_event_loop())
        box.append(make_server(store, access=access, port=0, warm=warm, **options))
        box[0].access = access
        box[0].io_loop.add_callback(started.set)
        box[0].io_loop.start()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert started.wait(60)
    yield box[0]
    box[0].io_loop.add_callback(box[0].io_loop.stop)
    thread.join(10)
    left = len(documents._PATCHED_CURDOCS)
    documents._PATCHED_CURDOCS.clear()  # else every later test that makes a page takes a closed one for its own
    assert left == 0, f"{left} changes of a page ended with an error"


def entry(server: Server, query: str = "") -> str:
    """Return the address that lets a browser in and leads it to ``query``, which begins with ``?``."""
    return f"http://127.0.0.1:{server.port}/?token={server.access.token}&{query.removeprefix('?')}"


def cookie_of(server: Server) -> str:
    """Return the cookie of a visitor who was let in, as a header holds it."""
    connection = HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.request("GET", f"/?token={server.access.token}")
    answer = connection.getresponse()
    connection.close()
    assert answer.status == 303
    return answer.headers["Set-Cookie"].partition(";")[0]


WCAG = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"], "resultTypes": ["violations"]}
"""What axe-core judges by."""

SHOWN = """() => [...document.querySelectorAll('*')].flatMap(function walk(e) {
  const inside = e.shadowRoot ? [...e.shadowRoot.querySelectorAll('*')].flatMap(walk) : [];
  if (!e.matches('.page[data-page]') || !e.checkVisibility()) return inside;
  return [[e.dataset.page, e.getBoundingClientRect().top < innerHeight], ...inside];
})"""
"""Every page that is laid out, and whether it begins in the window: Playwright takes what is out of reach for seen."""


class Visit:
    """A fresh browser profile on the page, and everything that went wrong in it."""

    def __init__(self, chromium, server, query: str = "", **options) -> None:
        self.base = f"http://127.0.0.1:{server.port}/"
        self.context = chromium.new_context(viewport={"width": 1440, "height": 900}, **options)
        self.page = self.context.new_page()
        self.outside, self.errors, self.dialogs = [], [], []
        self.page.on(
            "request",
            lambda r: self.outside.append(r.url) if not r.url.startswith((self.base, "data:", "blob:")) else None,
        )
        self.page.on("console", lambda m: self.errors.append(m.text) if m.type == "error" else None)
        self.page.on("pageerror", lambda e: self.errors.append(str(e)))
        self.page.on("dialog", lambda d: (self.dialogs.append(d.message), d.dismiss()))
        self.page.goto(entry(server, query))
        self.page.wait_for_selector("canvas", timeout=60_000)
        self.page.wait_for_function("() => new URLSearchParams(location.search).get('site')", timeout=20_000)
        self.drawn()

    def drawn(self) -> None:
        """Wait until no figure is still to come."""
        self.page.locator("[aria-busy=true]").first.wait_for(state="detached", timeout=30_000)

    def chosen(self, name: str) -> str:
        return parse_qs(urlsplit(self.page.url).query).get(name, [""])[0]

    def until(self, **chosen: str) -> None:
        """Wait until the address says what is chosen."""
        for name, value in chosen.items():
            self.page.wait_for_function(
                "([name, value]) => (new URLSearchParams(location.search).get(name) ?? '') === value",
                arg=[name, value],
                timeout=15_000,
            )

    def sees(self, text: str, within: str = "body") -> None:
        self.page.locator(within).filter(has_text=text).first.wait_for(timeout=15_000)

    def shown_pages(self) -> list[list]:
        return self.page.evaluate(SHOWN)

    def close(self) -> None:
        self.context.close()
        assert self.outside == []
        assert self.errors == []
