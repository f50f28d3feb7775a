"""The server's loop comes back to itself after the step of one page, however many are asked for at once."""

import asyncio
import time
from types import SimpleNamespace

import pytest
from bokeh.document import Document
from bokeh.server.views.ws import WSHandler

from dashboard import gate
from dashboard.turns import own_turn
from dashboard.views import document as document_module
from dashboard.views.document import change_soon
from dashboard.views.session import Session
from tests.benchmarks.visitors import Visitor, let_in, send_event, visit
from tests.browsers import served

N_PAGES = 6


async def any_turn() -> None:
    """What ``own_turn`` would be if it did nothing but wait."""
    await asyncio.sleep(0)


class Steps:
    """Notes each step, and each turn of the loop between two steps."""

    def __init__(self) -> None:
        self.noted = ""

    def step(self) -> None:
        self.noted += "s"
        asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self.noted += "-"

    @property
    def n(self) -> int:
        return self.noted.count("s")

    @property
    def most_in_a_turn(self) -> int:
        return max(map(len, self.noted.split("-")))


@pytest.mark.parametrize(("wait", "most"), [(own_turn, 1), (any_turn, N_PAGES)])
def test_who_comes_first_goes_first_and_each_in_a_turn_of_its_own(wait, most):
    steps, order = Steps(), []

    async def page(k: int) -> None:
        await wait()
        steps.step()
        order.append(k)

    async def all_at_once() -> None:
        await asyncio.gather(*map(page, range(N_PAGES)))
        await asyncio.sleep(0)

    asyncio.run(all_at_once())
    assert order == list(range(N_PAGES))
    assert steps.most_in_a_turn == most


@pytest.mark.parametrize(("wait", "most"), [(own_turn, 1), (any_turn, N_PAGES)])
def test_what_is_new_reaches_the_open_pages_one_by_one(monkeypatch, wait, most):
    monkeypatch.setattr(document_module, "own_turn", wait)
    monkeypatch.setattr(Document, "session_context", SimpleNamespace(destroyed=False))
    steps, documents = Steps(), [Document() for _ in range(N_PAGES)]
    monkeypatch.setattr(Document, "add_next_tick_callback", lambda *_: steps.step())

    async def ring() -> None:
        from tornado.ioloop import IOLoop

        for document in documents:
            change_soon(document, IOLoop.current(), lambda: None)
        while steps.n < N_PAGES:
            await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(ring(), 10))
    assert steps.most_in_a_turn == most


@pytest.mark.parametrize("is_kept", [True, False])
def test_steps_of_several_visitors_at_once_are_done_one_by_one(tmp_path, monkeypatch, is_kept):
    steps = Steps()
    monkeypatch.setattr("dashboard.server._LOOK_EVERY_MS", 50)
    monkeypatch.setattr(Session, "act", lambda *_: steps.step())
    if not is_kept:
        monkeypatch.setattr(gate, "own_turn", any_turn)

    async def act_at_once(server) -> None:
        address = f"http://127.0.0.1:{server.port}/"
        carried = await let_in(f"{address}?token={server.access.token}")
        visitors: list[Visitor] = [await visit(address, carried, page="runs", site="any") for _ in range(N_PAGES)]
        await asyncio.sleep(0.5)  # until nothing else is under way
        steps.noted = ""
        server.io_loop.add_callback(time.sleep, 0.5)  # the loop is held up once, and finds all of them waiting
        window = {"type": "map", "entries": [["do", "window"], ["width", 1440]]}
        for visitor in visitors:
            await send_event(visitor.connection, "data_event", {"model": {"id": visitor.model}, "data": window})
        while steps.n < N_PAGES:
            await asyncio.sleep(0.05)
        for visitor in visitors:
            visitor.connection.close()
        while left := server.get_sessions():  # none outlives the server
            for session in left:
                session.request_expiration()
            await asyncio.sleep(0.05)

    with served(tmp_path, most_sessions=N_PAGES) as server:
        asyncio.run(asyncio.wait_for(act_at_once(server), 60))
    assert (steps.most_in_a_turn == 1) == is_kept


@pytest.mark.parametrize("is_broken", [True, False])
def test_what_waits_for_its_turn_is_dropped_where_the_connection_breaks(monkeypatch, is_broken):
    handler, handled = object.__new__(gate._kept(WSHandler)), []

    async def handle(_, message: str) -> None:
        handled.append(message)

    async def broken_while_it_waits() -> None:
        handler.connection = SimpleNamespace(_session=object())
        waiting = asyncio.create_task(handler._handle("a step"))
        await asyncio.sleep(0)
        if is_broken:
            handler.connection._session = None
        await waiting

    monkeypatch.setattr(WSHandler, "_handle", handle)
    asyncio.run(broken_while_it_waits())
    assert handled == ([] if is_broken else ["a step"])
