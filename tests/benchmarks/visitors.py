"""Fifty visitors without fifty browsers: each speaks Bokeh's protocol with the server and acts every few seconds."""

import asyncio
import json
import re
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlencode

from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

_TOKEN = re.compile(r'"token":"([^"]+)"')
_ROOTS = re.compile(r'"root_ids":\["([^"]+)"')
_SITE = re.compile(r"site=([^&\"\\<\s]+)")


@dataclass
class Visitor:
    """One page that was opened at a site of its own; ``seconds`` from each step to the first answer."""

    connection: WebSocketClientConnection
    model: str
    site: str
    seconds: list[float] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    """Sites that answers named and this visitor did not choose."""

    async def choose(self, site: str) -> None:
        """Choose a site and wait until the address says so."""
        data = {"do": "select", "site": site}
        start = time.perf_counter()
        await send_event(self.connection, "data_event", {"model": {"id": self.model}, "data": _map(data)})
        while True:
            text = await self.connection.read_message()
            if text is None:
                raise ConnectionError("the server closed the connection")
            named = _SITE.findall(text) if isinstance(text, str) and '"query"' in text else []
            self.foreign += [other for other in named if other not in (quote(site), quote(self.site))]
            if quote(site) in named:
                break
        self.seconds.append(time.perf_counter() - start)
        self.site = site


async def let_in(address: str) -> dict[str, str]:
    """Exchange the token in the address for what a visitor's requests carry from then on."""
    asked = HTTPRequest(address, follow_redirects=False)
    answer = await AsyncHTTPClient().fetch(asked, raise_error=False)
    assert answer.code == 303
    return {"Cookie": answer.headers["Set-Cookie"].partition(";")[0]}


async def visit(address: str, carried: dict[str, str], **query: str) -> Visitor:
    """Open the page as a browser does: fetch it, then pull the document over its websocket."""
    address = address.partition("?")[0]
    asked = HTTPRequest(f"{address}?{urlencode(query)}", headers=carried, request_timeout=120)
    fetched = await AsyncHTTPClient().fetch(asked)
    html = fetched.body.decode()
    token, root = _TOKEN.search(html), _ROOTS.search(html)
    assert token is not None
    assert root is not None
    socket = HTTPRequest(address.replace("http://", "ws://") + "ws", headers=carried)
    connection = await websocket_connect(socket, subprotocols=["bokeh", token.group(1)])
    await _received(connection, "ACK")
    for part in ({"msgid": uuid.uuid4().hex, "msgtype": "PULL-DOC-REQ"}, {}, {}):
        await connection.write_message(json.dumps(part))
    await _received(connection, "PULL-DOC-REPLY")
    await connection.read_message()  # of three parts the second holds nothing
    document = json.loads(str(await connection.read_message()))
    await send_event(connection, "document_ready", {})
    for screen in _screens(document):  # each is drawn now, and the other figures of the page may come
        await send_event(connection, "data_event", {"model": {"id": screen}, "data": _map({"do": "ready"})})
    return Visitor(connection, root.group(1), query["site"])


def _screens(part: object) -> Iterator[str]:
    """Ids of the screens in a part of a document."""
    if isinstance(part, dict):
        if isinstance(part.get("attributes"), dict) and part["attributes"].get("class_name") == "Screen":
            yield part["id"]
        part = list(part.values())
    if isinstance(part, list):
        for inner in part:
            yield from _screens(inner)


async def _received(connection: WebSocketClientConnection, kind: str) -> None:
    while (text := await connection.read_message()) is not None:
        if kind in str(text):
            return
    raise ConnectionError(f"the server closed the connection before {kind}")


async def send_event(connection: WebSocketClientConnection, name: str, values: dict) -> None:
    """Send what a browser reports."""
    reported = {"type": "event", "name": name, "values": _map(values)}
    sent = {"kind": "MessageSent", "msg_type": "bokeh_event", "msg_data": reported}
    for part in ({"msgid": uuid.uuid4().hex, "msgtype": "PATCH-DOC"}, {}, {"events": [sent]}):
        await connection.write_message(json.dumps(part))


async def act(
    address: str,
    sites: list[str],
    n_visitors: int,
    every_s: float,
    for_s: float,
    *,
    when_here: Callable[[], None] = lambda: None,
) -> list[Visitor]:
    """Let visitors choose one site after the other, each on its own beat; ``when_here`` is called once all are here."""
    carried = await let_in(address)
    visitors = [await visit(address, carried, page="site", site=sites[k % len(sites)]) for k in range(n_visitors)]
    when_here()
    end = time.perf_counter() + for_s

    async def keep_choosing(visitor: Visitor, first: int) -> None:
        await asyncio.sleep(every_s * first / n_visitors)
        place = first
        while time.perf_counter() < end:
            started = time.perf_counter()
            place += 1
            await visitor.choose(sites[place % len(sites)])
            await asyncio.sleep(max(every_s - (time.perf_counter() - started), 0))

    await asyncio.gather(*(keep_choosing(visitor, k) for k, visitor in enumerate(visitors)))
    for visitor in visitors:
        visitor.connection.close()
    return visitors


def main(address: str, n_visitors: str, for_s: str, file: str) -> None:
    """Let so many act in a process of their own, and write what they waited and which foreign sites they saw."""
    sites = [f"site{k:02d}" for k in range(48)]
    told = lambda: print("all here", flush=True)  # noqa: E731
    visitors = asyncio.run(act(address, sites, int(n_visitors), 5, float(for_s), when_here=told))
    seen = [[s for visitor in visitors for s in visitor.seconds], [s for v in visitors for s in v.foreign]]
    Path(file).write_text(json.dumps(seen))


def _map(entries: dict) -> dict:
    return {"type": "map", "entries": [[name, value] for name, value in entries.items()]}


if __name__ == "__main__":
    main(*sys.argv[1:])
