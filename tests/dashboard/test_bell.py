"""Whoever rings is stopped by nobody that listens."""

from threading import Event
from urllib.request import Request, urlopen

from dashboard.bell import Bell
from dashboard.results import Results
from tests.browsers import cookie_of, served
from tests.dashboard.stores import put


class Page:
    """Counts the rings; one that is gone cannot be told."""

    def __init__(self, *, is_gone: bool = False) -> None:
        self.n_rings, self.is_gone = 0, is_gone

    def rung(self, *, is_news: bool) -> None:
        self.n_rings += 1
        if self.is_gone:
            raise RuntimeError("the document was destroyed")


def test_a_page_that_is_gone_keeps_nobody_else_from_being_told():
    bell, pages = Bell(), [Page(), Page(is_gone=True), Page()]
    for page in pages:
        bell.listen(page)
    bell.ring()
    bell.ring(is_news=False)
    assert [page.n_rings for page in pages] == [2, 1, 2]


def test_a_page_that_has_closed_is_not_changed(tmp_path, run_datasets, caplog):
    put(tmp_path, run_datasets)
    results = Results(tmp_path)
    with served(results) as server:
        address = f"http://127.0.0.1:{server.port}/"
        urlopen(Request(address, headers={"Cookie": cookie_of(server)})).close()
        (session,) = server.get_sessions("/")
        done = Event()

        def close_and_ring() -> None:
            session.destroy()
            results.bell.ring()
            server.io_loop.call_later(0.1, done.set)

        server.io_loop.add_callback(close_and_ring)
        assert done.wait(10)
    assert not [told for told in caplog.records if told.levelname not in ("INFO", "DEBUG")]
